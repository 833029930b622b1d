"""The client of decision models, against our own server-side codecs and against what other servers send."""

import json
from collections.abc import Callable

import httpx
import pytest
from pydantic import JsonValue

from tandem.errors import ModelBadResponse, ModelError, ModelTimeout, ModelUnavailable
from tandem.models.decision_model import DecisionDoor, DecisionEndpoint, RemoteDecisionModel
from tandem.models.question_codecs import read_decisions, read_systemone, write_decisions, write_systemone
from tandem.schemas.decisions import DecisionRequest
from tandem.schemas.questions import AnswerSet, Option, Question, QuestionAnswer, QuestionSet
from tandem.schemas.systemone import SystemOneRequest

Handler = Callable[[httpx.Request], httpx.Response]

BOOLEANS = [Option(value=True, description="it is"), Option(value="true"), Option(value=False)]
ASKED = QuestionSet(
    state={"ticket": "退款"},
    questions=[
        Question(name="urgent", kind="noul", instructions="Is it urgent?", options=[Option(value=True, description="today"), Option(value=False)]),
        Question(name="team", kind="choice", instructions="Which team?", options=BOOLEANS),
        Question(name="effort", kind="score", instructions="How much?", options=[Option(value="none"), Option(value="some", description="hours")]),
    ],
)
TOLD = [[0.9, 0.1], [0.5, 0.3, 0.2], [0.25, 0.75]]


def answered(asked: QuestionSet, told: list[list[float]]) -> AnswerSet:
    answers = [
        QuestionAnswer(name=question.name, kind=question.kind, probabilities=each, is_refused=not each)
        for question, each in zip(asked.questions, told, strict=True)
    ]
    return AnswerSet(model="answerer", calibration="none", answers=answers, input_tokens=5)


def our_server(told: list[list[float]], headers: dict[str, str] | None = None) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("systemone"):
            body = SystemOneRequest.model_validate_json(request.content)
            reply = write_systemone(body, answered(read_systemone(body), told)).model_dump_json()
        else:
            other = DecisionRequest.model_validate_json(request.content)
            reply = write_decisions(other, answered(read_decisions(other), told)).model_dump_json()
        return httpx.Response(200, content=reply, headers=headers)

    return handle


def client(handler: Handler, door: DecisionDoor = "systemone", api_key: str | None = None) -> RemoteDecisionModel:
    endpoint = DecisionEndpoint(url="http://decisions/v1", model="jev", door=door, api_key=api_key)
    return RemoteDecisionModel(endpoint, transport=httpx.MockTransport(handler))


@pytest.mark.parametrize("door", ["systemone", "decisions"])
async def test_answers_come_back_in_order_with_their_probabilities(door: DecisionDoor) -> None:
    model = client(our_server(TOLD, {"X-Tandem-Calibration": "readout-1"}), door)
    reply = await model.answer(ASKED)
    await model.close()
    assert [answer.probabilities for answer in reply.answers] == [pytest.approx(each) for each in TOLD]
    assert [answer.name for answer in reply.answers] == ["urgent", "team", "effort"]
    assert (reply.model, reply.calibration, reply.input_tokens) == ("answerer", "readout-1", 5)


@pytest.mark.parametrize("door", ["systemone", "decisions"])
async def test_a_refused_question_is_told_apart(door: DecisionDoor) -> None:
    reply = await client(our_server([TOLD[0], [], TOLD[2]]), door).answer(ASKED)
    assert [answer.is_refused for answer in reply.answers] == [False, True, False]


@pytest.mark.parametrize("names", [(None, None), ("a", "a"), ("a", "")])
async def test_questions_without_names_of_their_own_are_still_told_apart(names: tuple[str | None, ...]) -> None:
    asked = QuestionSet(state="Hi", questions=[Question(name=name, kind="noul", instructions="?") for name in names])
    reply = await client(our_server([[0.1, 0.9], [0.2, 0.8]])).answer(asked)
    assert [(answer.name, answer.probabilities[0]) for answer in reply.answers] == [(names[0], 0.1), (names[1], 0.2)]


async def test_the_bodies_are_those_of_the_protocols() -> None:
    bodies: dict[str, JsonValue] = {}

    def handle(request: httpx.Request) -> httpx.Response:
        bodies[request.url.path] = json.loads(request.content)
        assert request.headers["authorization"] == "Bearer secret"
        return our_server(TOLD)(request)

    await client(handle, "systemone", "secret").answer(ASKED)
    await client(handle, "decisions", "secret").answer(ASKED)
    assert bodies["/v1/systemone"] == {
        "model": "jev",
        "state": {"ticket": "退款"},
        "questions": {
            "urgent": {"type": "noul", "instructions": "Is it urgent?", "criteria": {"true": "today"}},
            "team": {"type": "choice", "instructions": "Which team?", "criteria": {"true (boolean)": "it is", "true": None, "false": None}},
            "effort": {"type": "score", "instructions": "How much?", "criteria": ["none", "some: hours"]},
        },
    }
    assert bodies["/v1/decisions"] == {
        "model": "jev",
        "input": '{"ticket":"退款"}',
        "questions": [
            {"type": "predicate", "name": "urgent", "instructions": "Is it urgent?\ntrue means: today"},
            {
                "type": "choice",
                "name": "team",
                "instructions": "Which team?",
                "choices": [{"value": True, "description": "it is"}, {"value": "true"}, {"value": False}],
            },
            {
                "type": "score",
                "name": "effort",
                "instructions": "How much?",
                "levels": [{"label": "none"}, {"label": "some", "description": "hours"}],
            },
        ],
    }


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (501, ModelUnavailable, "load a decision model there"),
        (404, ModelUnavailable, "router.decision_model_url"),
        (405, ModelUnavailable, "router.decision_model_door"),
        (503, ModelUnavailable, "503"),
        (401, ModelUnavailable, "api_key"),
        (504, ModelTimeout, "504"),
        (302, ModelBadResponse, "302"),
    ],
)
async def test_a_server_that_does_not_answer_is_an_error_that_says_what_to_do(status: int, kind: type[ModelError], words: str) -> None:
    model = client(lambda _: httpx.Response(status, json={"error": {"message": "no decision model"}}, headers={"location": "http://elsewhere"}))
    with pytest.raises(kind, match=words):
        await model.answer(ASKED)


async def test_a_server_that_is_away_or_silent_is_told_apart() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request)

    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("no", request=request)

    with pytest.raises(ModelUnavailable, match="refuses connections"):
        await client(away).answer(ASKED)
    with pytest.raises(ModelTimeout):
        await client(silent).answer(ASKED)


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "noul"},
        {"type": "noul", "noul": "0.5"},
        {"type": "noul", "noul": 1.5},
        {"type": "noul", "noul": True},
    ],
)
async def test_an_answer_without_a_probability_is_refused(answer: JsonValue) -> None:
    asked = QuestionSet(state="Hi", questions=[Question(name="a", kind="noul", instructions="?")])
    with pytest.raises(ModelBadResponse, match="'a'"):
        await client(lambda _: httpx.Response(200, json={"model": "m", "answers": {"a": answer}})).answer(asked)


@pytest.mark.parametrize("probabilities", [{"x": 1.0}, {"x": 0.9, "y": 0.9}, {"x": 0.5, "z": 0.5}, None, [0.5, 0.5]])
async def test_probabilities_that_are_no_distribution_over_the_options_are_refused(probabilities: JsonValue) -> None:
    asked = QuestionSet(state="Hi", questions=[Question(name="a", kind="choice", instructions="?", options=[Option(value="x"), Option(value="y")])])
    body = {"model": "m", "answers": {"a": {"type": "choice", "choice": "x", "probabilities": probabilities, "confidence": 1}}}
    with pytest.raises(ModelBadResponse, match="do not sum to 1"):
        await client(lambda _: httpx.Response(200, json=body)).answer(asked)


async def test_rounded_probabilities_are_made_to_sum_to_1_and_extra_fields_do_no_harm() -> None:
    asked = QuestionSet(state="Hi", questions=[Question(name="a", kind="choice", instructions="?", options=[Option(value="x"), Option(value="y")])])
    answer = {"type": "choice", "choice": "x", "probabilities": {"y": 0.33, "x": 0.66}, "latency_ms": 3}
    body = {"model": "m", "answers": {"a": answer}, "usage": {"input_tokens": None}, "id": "x"}
    reply = await client(lambda _: httpx.Response(200, json=body)).answer(asked)
    assert reply.answers[0].probabilities == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "m", "answers": []}', b'{"answers": {}}'])
async def test_another_protocol_is_refused(body: bytes) -> None:
    with pytest.raises(ModelBadResponse):
        await client(lambda _: httpx.Response(200, content=body)).answer(ASKED)
    with pytest.raises(ModelBadResponse):
        await client(lambda _: httpx.Response(200, content=body), "decisions").answer(ASKED)


async def test_the_probe_asks_one_small_question_and_names_who_answers() -> None:
    assert await client(our_server([[0.5, 0.5]])).check() == "answerer"
