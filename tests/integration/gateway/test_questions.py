"""The doors of typed questions, over a model server whose next-token probabilities the test decides, or over a decision model."""

import json
import math
from collections.abc import AsyncGenerator
from typing import Any, cast

import httpx
import pytest
from openai import NotFoundError

from tandem.errors import ModelUnavailable
from tandem.models.decision_model import DecisionEndpoint, RemoteDecisionModel
from tandem.ports import Turns
from tandem.schemas.questions import Question, QuestionSet

LANE = {"type": "choice", "instructions": "Which lane?", "criteria": {"slow": "hard work", "fast": None}}
SYSTEMONE = {"model": "auto", "state": "Hi", "questions": {"is_short": {"type": "noul", "instructions": "Is it short?"}, "lane": LANE}}


def letters(**probabilities: float) -> Any:
    """A healthy model server that would say these letters."""

    async def answer(ask: Any) -> None:
        ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
        top = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in ranked]
        choice = {"index": 0, "delta": {"content": ranked[0][0]}, "finish_reason": None, "logprobs": {"content": [{**top[0], "top_logprobs": top}]}}
        end: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": "length"}
        usage = {"prompt_tokens": 20, "completion_tokens": 1}
        ask.begin_stream()
        chunks: list[dict[str, Any]] = [{"choices": [choice]}, {"choices": [end]}, {"choices": [], "usage": usage}]
        for chunk in chunks:
            ask.chunk(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        ask.chunk(b"data: [DONE]\n\n")
        ask.chunk(b"")

    return answer


async def deciding(ask: Any) -> None:
    """A decision model behind ``/v1/systemone``: it is sure of every first option."""
    answers: dict[str, Any] = {}
    for name, question in ask.fields["questions"].items():
        options = list(question.get("criteria") or ())
        probabilities = {option: 1.0 if at == 0 else 0.0 for at, option in enumerate(options)}
        told = {"choice": options[0], "probabilities": probabilities, "confidence": 1.0} if question["type"] == "choice" else {"noul": 0.9}
        answers[name] = {"type": question["type"], **told}
    ask.whole(json.dumps({"model": "jev-1", "answers": answers, "usage": {"input_tokens": 3, "output_tokens": 0}}).encode())


@pytest.fixture
async def client(house: Any) -> AsyncGenerator[httpx.AsyncClient]:
    async with house.http() as http:
        yield http


async def test_systemone_answers_under_the_questions_names_and_tells_who_answered(house: Any, client: httpx.AsyncClient) -> None:
    house.model.answer = letters(A=0.6, B=0.2, Yes=0.2)
    reply = await client.post("/v1/systemone", json=SYSTEMONE)
    assert reply.status_code == 200
    body = reply.json()
    assert list(body["answers"]) == ["is_short", "lane"]
    assert body["answers"]["is_short"] == {"type": "noul", "noul": pytest.approx(0.75)}
    assert body["answers"]["lane"]["probabilities"] == pytest.approx({"slow": 0.75, "fast": 0.25})
    assert (body["answers"]["lane"]["choice"], body["model"]) == ("slow", "m-fast")
    assert body["usage"] == {"input_tokens": 40, "output_tokens": 2}
    assert (reply.headers["x-tandem-answered-by"], reply.headers["x-tandem-calibration"]) == ("readout", "none")
    asked = house.model.asked[0].fields
    assert (asked["max_tokens"], asked["logprobs"], asked["top_logprobs"]) == (1, True, 20)


async def test_the_stock_client_gets_typed_answers_in_order(house: Any) -> None:
    house.model.answer = letters(A=0.5, B=0.3, C=0.2)
    async with house.openai() as openai:
        decision = await openai.decisions.create(
            model="fast",
            input=[{"role": "user", "content": [{"type": "input_text", "text": "Refund me!"}]}],
            questions=[
                {"type": "predicate", "instructions": "Is it a complaint?"},
                {"type": "choice", "name": "ok", "instructions": "Pay?", "choices": [{"value": True}, {"value": "true"}, {"value": False}]},
                {
                    "type": "score",
                    "name": "anger",
                    "instructions": "How angry?",
                    "levels": [{"label": "calm"}, {"label": "cross", "description": "!"}],
                },
            ],
        )
    predicate, choice, score = decision.answers
    assert (predicate.type, predicate.name) == ("predicate", None)
    assert predicate.probability == pytest.approx(0.625)
    assert choice.type == "choice"
    assert choice.choice is True
    assert [type(pair.value) for pair in choice.probabilities] == [bool, str, bool]
    assert score.type == "score"
    assert score.score == pytest.approx(0.375)
    assert [level.label for level in score.probabilities] == ["calm", "cross"]
    assert decision.usage.total_tokens == 63


async def test_a_question_the_model_has_no_word_on_is_a_refusal_in_one_protocol_and_missing_in_the_other(
    house: Any, client: httpx.AsyncClient
) -> None:
    house.model.answer = letters(Well=1.0)
    body = {"model": "fast", "input": "Hi", "questions": [{"type": "predicate", "name": "a", "instructions": "?"}]}
    assert (await client.post("/v1/decisions", json=body)).json()["answers"] == [{"type": "refusal", "name": "a"}]
    assert (await client.post("/v1/systemone", json=SYSTEMONE)).json()["answers"] == {}


async def test_a_state_too_long_to_be_read_whole_is_said_in_a_header(house: Any, client: httpx.AsyncClient) -> None:
    house.model.answer = letters(A=1.0)
    reply = await client.post("/v1/systemone", json=SYSTEMONE | {"state": {"log": "line " * 5_000}})
    assert int(reply.headers["x-tandem-left-out"]) > 10_000
    assert "x-tandem-left-out" not in (await client.post("/v1/systemone", json=SYSTEMONE)).headers


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": "slow"}, 404, "unknown_model", "model"),
        ({"model": "jev-latest"}, 404, "unknown_model", "model"),
        ({"state": None}, 400, "invalid_request", "state"),
        ({"questions": {}}, 400, "invalid_request", "questions"),
        ({"questions": {"lane": {**LANE, "criteria": {"a": None}}}}, 400, "invalid_request", "questions.lane.criteria"),
        ({"questions": {"lane": {**LANE, "type": "box"}}}, 400, "invalid_request", "questions.lane.type"),
        ({"questions": {"lane": {"type": "noul"}}}, 400, "invalid_request", "questions.lane.instructions"),
        ({"questions": {"lane": {**LANE, "options": []}}}, 400, "invalid_request", "questions.lane.options"),
        ({"state": "x" * 100_001}, 400, "input_too_long", "state"),
        ({"questions": {"lane": {"type": "noul", "instructions": "x" * 100_001}}}, 400, "input_too_long", "questions"),
        ({"questions": {"lane": {"type": "noul", "instructions": "x " * 20_000}}}, 400, "context_length_exceeded", "questions"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_field(
    house: Any, client: httpx.AsyncClient, change: dict[str, Any], status: int, code: str, param: str
) -> None:
    reply = await client.post("/v1/systemone", json=SYSTEMONE | change)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (status, code, param)
    assert not house.model.asked


async def test_half_a_surrogate_pair_is_refused_wherever_it_stands(client: httpx.AsyncClient) -> None:
    body = json.dumps(SYSTEMONE | {"questions": {"\ud800": LANE}})
    reply = await client.post("/v1/systemone", content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "questions")


async def test_the_doors_need_the_chat_scope(house: Any) -> None:
    async with house.http(await house.new_token("acme", ["jobs:read"])) as http:
        assert (await http.post("/v1/systemone", json=SYSTEMONE)).status_code == 403
    async with house.http("") as http:
        assert (await http.post("/v1/decisions", json={})).status_code == 401


async def test_an_unknown_model_is_the_stock_clients_not_found(house: Any) -> None:
    async with house.openai() as openai:
        with pytest.raises(NotFoundError, match="gpt-6-luna"):
            await openai.decisions.create(model="gpt-6-luna", input="Hi", questions=[{"type": "predicate", "instructions": "?"}])


async def test_a_configured_decision_model_answers_both_doors_and_its_own_name(open_house: Any, model: Any) -> None:
    model.answer = deciding
    async with open_house(router={"decision_model_url": model.url, "decision_model": "jev", "decision_model_api_key": "k"}) as house:
        async with house.http() as http:
            reply = await http.post("/v1/systemone", json=SYSTEMONE | {"model": "jev"})
            assert reply.json()["answers"]["lane"]["probabilities"] == {"slow": 1.0, "fast": 0.0}
            assert (reply.json()["model"], reply.headers["x-tandem-answered-by"]) == ("jev-1", "decision_model")
            other = await http.post("/v1/systemone", json=SYSTEMONE | {"model": "fast"})
            assert (other.status_code, other.json()["error"]["code"]) == (404, "unknown_model")
            choices = [{"value": False}, {"value": "x"}]
            question = {"type": "choice", "instructions": "?", "choices": choices}
            decisions = await http.post("/v1/decisions", json={"model": "auto", "input": "Hi", "questions": [question]})
            assert decisions.json()["answers"][0]["choice"] is False
        assert {ask.path for ask in model.asked} == {"/v1/systemone"}
        score = await house.dependencies.scorers["decision_model"].score(Turns(text="Hi"))
        assert (score.p_slow, score.intent) == (pytest.approx(0.9), "chat")


async def test_a_server_without_a_decision_model_is_said_with_the_remedy(open_house: Any, model: Any) -> None:
    async def not_offered(ask: Any) -> None:
        ask.whole(b'{"error": {"message": "this model does not support decisions"}}', status=501)

    model.answer = not_offered
    async with open_house(router={"decision_model_url": model.url}) as house, house.http() as http:
        reply = await http.post("/v1/systemone", json=SYSTEMONE)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "model_unavailable")
        assert "load a decision model there" in reply.json()["error"]["message"]


async def test_the_readout_scores_for_the_router(house: Any) -> None:
    house.model.answer = letters(A=0.6, B=0.2)
    scorer = house.dependencies.scorers["readout"]
    score = await scorer.score(Turns(text="Hi"))
    assert (score.p_slow, scorer.version) == (pytest.approx(0.75), "m-fast/none")


async def test_one_tandem_can_be_the_decision_model_of_another(house: Any) -> None:
    house.model.answer = letters(A=0.6, B=0.2)
    remote = RemoteDecisionModel(DecisionEndpoint(url=f"{house.url}/v1", model="fast", api_key=house.token, door="decisions"))
    reply = await remote.answer(QuestionSet(state="Hi", questions=[Question(name="a", kind="noul", instructions="?")]))
    assert (reply.answers[0].probabilities[0], reply.calibration, reply.model) == (pytest.approx(0.75), "none", "m-fast")
    await remote.close()
    wrong = RemoteDecisionModel(DecisionEndpoint(url=f"{house.url}/v2", model="fast", api_key=house.token))
    with pytest.raises(ModelUnavailable, match="load a decision model"):
        await wrong.check()
    await wrong.close()


async def test_the_document_describes_both_doors(client: httpx.AsyncClient) -> None:
    paths = cast("dict[str, Any]", (await client.get("/openapi.json")).json()["paths"])
    for door, reply in (("systemone", "SystemOneReply"), ("decisions", "DecisionReply")):
        answer = paths[f"/v1/{door}"]["post"]["responses"]["200"]
        assert answer["content"]["application/json"]["schema"]["$ref"].endswith(reply)
        assert "X-Tandem-Calibration" in answer["headers"]
