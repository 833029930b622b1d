"""The check band at the chat door, with the stock client: the fast answer at once, and the corrected one where its check failed."""

import asyncio
import json
from typing import Any

import pytest

from tandem.ids import TenantId
from tandem.ports import NewEvent
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobFailure, JobStatus
from tandem.schemas.outcomes import Outcome
from tandem.schemas.policies import Bands, CheckRules, RoutingPolicy

pytestmark = pytest.mark.integration
EVERYTHING = Bands(check_at=0.0, slow_at=1.0)
ASKED: list[Any] = [{"role": "user", "content": "How many legs do three spiders have?"}]


async def outcomes(house: Any) -> list[Outcome]:
    await house.services.recorder.flush()
    return list(await house.storage.outcomes.list(status=None, kind=None, after=None, limit=10))


async def test_an_answer_that_passes_streams_as_from_the_fast_lane(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 24 legs.")
    async with check_house.openai() as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="auto", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in raw.parse()]
    assert (raw.headers["x-tandem-lane"], raw.headers["x-tandem-band"], "x-tandem-job" in raw.headers) == ("fast", "check", False)
    assert [chunk.choices[0].delta.content for chunk in chunks if chunk.choices] == ["They", " have", " 24", " legs.", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 7)
    assert all(chunk.choices[0].logprobs is None for chunk in chunks if chunk.choices)
    (learnt,) = await outcomes(check_house)
    assert (learnt.kind, learnt.source, learnt.decision_id) == ("check_passed", "gateway", raw.headers["x-tandem-decision"])
    assert check_house.hints.count == 0


async def test_a_failed_answer_goes_on_in_the_same_stream_with_the_corrected_one(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.openai() as client:
        stream = await client.chat.completions.create(model="auto", messages=ASKED, stream=True, stream_options={"include_usage": True})
        job_id = await check_house.next_job()
        claim = await check_house.claim(job_id)
        await check_house.tell(claim, NewEvent(JobEvent.PLAN_CREATED, {"steps": [{"id": "1", "title": "Multiply"}]}))
        await check_house.finish(claim, "24 legs.")
        chunks = [chunk async for chunk in stream]
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    content = "".join(choice.delta.content or "" for choice in choices)
    assert content == "They have 18 legs.\n\nI am not sure about this answer; it is being checked carefully.\n\n24 legs."
    assert "Plan: 1. Multiply\n" in "".join(getattr(choice.delta, "reasoning_content", None) or "" for choice in choices)
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert chunks[-1].usage.model_dump(include={"prompt_tokens", "completion_tokens", "total_tokens"}) == {
        "prompt_tokens": 13,
        "completion_tokens": 9,
        "total_tokens": 22,
    }
    (told,) = [chunk.tandem["check"] for chunk in chunks if getattr(chunk, "tandem", None)]
    assert (told["passed"], told["confidence"], told["reasons"], told["job_id"]) == (False, 0.2, ["low_confidence"], job_id)
    assert len({chunk.id for chunk in chunks}) == 1
    (learnt,) = await outcomes(check_house)
    assert (learnt.kind, learnt.wanted_lane, learnt.comment) == ("check_failed", "slow", "low_confidence")


async def test_the_job_is_told_the_task_and_the_answer_it_is_to_confirm_or_correct(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.openai() as client:
        asking = asyncio.create_task(client.chat.completions.create(model="auto", messages=ASKED, metadata={"ticket": "7"}))
        job = await check_house.storage.jobs.get(await check_house.work(text="24"), TenantId("acme"))
        await asking
    task, answer, again = job.request.input
    assert (task.content, answer.role, answer.content) == (ASKED[0]["content"], "assistant", "They have 18 legs.")
    assert again.content.startswith(ASKED[0]["content"])
    assert "confirm or correct" in again.content
    assert (job.view.title, job.request.metadata) == ("Check: How many legs do three spiders have?", {"ticket": "7"})
    assert job.effort == "medium"  # low is what the doubtful answer had


async def test_a_whole_answer_is_the_jobs_when_the_fast_one_fails(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.openai() as client:
        asking = asyncio.create_task(client.chat.completions.with_raw_response.create(model="auto", messages=ASKED))
        job_id = await check_house.work(text="24 legs.")
        raw = await asking
    assert raw.parse().choices[0].message.content == "24 legs."
    assert (raw.headers["x-tandem-job"], raw.headers["x-tandem-band"]) == (job_id, "check")
    assert raw.parse().tandem["check"]["reasons"] == ["low_confidence"]


async def test_a_whole_answer_that_passes_is_told_without_its_logprobs(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 24 legs.")
    async with check_house.http() as client:
        answer = await client.post("/v1/chat/completions", json={"model": "auto", "messages": ASKED})
    choice = answer.json()["choices"][0]
    assert (choice["message"]["content"], "logprobs" in choice) == ("They have 24 legs.", False)
    assert (answer.json()["tandem"]["check"]["passed"], "x-tandem-job" in answer.headers) == (True, False)
    assert check_house.model.asked[0].fields["logprobs"] is True


@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_fast_answer_stands_when_its_job_brings_none(check_house: Any, speaking: Any, is_stream: bool) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)

    async def fail() -> None:
        claim = await check_house.claim(await check_house.next_job())
        await check_house.finish(claim, status=JobStatus.FAILED, error=JobFailure(code="model_timeout", message="silent"))

    failing = asyncio.create_task(fail())
    async with check_house.http() as client:
        answer = await client.post("/v1/chat/completions", json={"model": "auto", "messages": ASKED, "stream": is_stream})
    await failing
    assert answer.status_code == 200
    assert "could not be checked" in answer.text if is_stream else answer.json()["choices"][0]["message"]["content"] == "They have 18 legs."
    assert answer.text.count('"finish_reason":"stop"') == 1


async def test_no_more_jobs_are_started_than_may_be_pending(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.http() as client:
        body = {"model": "auto", "messages": ASKED, "stream": True}
        waiting = [asyncio.create_task(client.post("/v1/chat/completions", json=body)) for _ in range(4)]
        await check_house.next_job(4)
        answer = await client.post("/v1/chat/completions", json=body)
        assert (check_house.hints.count, '"job_id":null' in answer.text, "could not be checked" in answer.text) == (4, True, True)
        assert answer.text.endswith("data: [DONE]\n\n")
        await check_house.work()
        again = asyncio.create_task(client.post("/v1/chat/completions", json=body))
        await check_house.next_job(5)
        for task in [*waiting, again]:
            task.cancel()


async def test_a_client_that_leaves_while_the_job_runs_cancels_nothing(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    body = {"model": "auto", "messages": ASKED, "stream": True}
    async with check_house.http() as client, client.stream("POST", "/v1/chat/completions", json=body):
        job_id = await check_house.next_job()
    await asyncio.sleep(0.05)
    assert (await check_house.storage.jobs.get(job_id, TenantId("acme"))).status is JobStatus.QUEUED


async def test_a_client_that_leaves_during_the_fast_answer_stops_the_model_and_starts_nothing(check_house: Any) -> None:
    left = asyncio.Event()

    async def endless(ask: Any) -> None:
        ask.begin_stream()
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"Well"}}]}\n\n')
        await ask.writer.drain()
        await ask.until_closed()
        left.set()

    check_house.model.answer = endless
    body = {"model": "auto", "messages": ASKED, "stream": True}
    async with check_house.http() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        await anext(answer.aiter_bytes())
    async with asyncio.timeout(5):
        await left.wait()
    assert (await outcomes(check_house), check_house.hints.count) == ([], 0)


async def test_a_server_without_logprobs_is_judged_by_its_words_alone(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 24 legs.", probability=0.2, tells=False)
    async with check_house.http() as client:
        answer = (await client.post("/v1/chat/completions", json={"model": "auto", "messages": ASKED})).json()
    assert answer["tandem"]["check"] == {"passed": True, "confidence": None, "reasons": [], "job_id": None}


async def test_a_server_that_refuses_logprobs_is_asked_once_for_them(check_house: Any, speaking: Any) -> None:
    async def refuse(ask: Any) -> None:
        if "logprobs" in ask.fields:
            ask.whole(b'{"error":{"message":"logprobs are not supported"}}', status=400)
        else:
            await speaking("They have 24 legs.")(ask)

    check_house.model.answer = refuse
    async with check_house.http() as client:
        for _ in range(2):
            answer = await client.post("/v1/chat/completions", json={"model": "auto", "messages": ASKED})
            assert answer.json()["choices"][0]["message"]["content"] == "They have 24 legs."
    assert ["logprobs" in ask.fields for ask in check_house.model.asked] == [True, False, False]


@pytest.mark.parametrize(
    "more",
    list[dict[str, Any]]([
        {"model": "fast"},
        {"n": 2},
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"messages": [*ASKED, {"role": "assistant", "content": "They have"}]},
    ]),
)
async def test_what_a_job_could_not_do_again_is_never_checked(check_house: Any, speaking: Any, more: dict[str, Any]) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.http() as client:
        answer = await client.post("/v1/chat/completions", json={"model": "auto", "messages": ASKED} | more)
    assert (answer.status_code, "tandem" in answer.json(), await outcomes(check_house)) == (200, False, [])
    assert ("logprobs" in check_house.model.asked[0].fields) == ("logprobs" in more)


async def test_a_fault_in_the_middle_of_a_checked_answer_is_an_error_event(check_house: Any) -> None:
    async def break_off(ask: Any) -> None:
        ask.begin_stream()
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"Well"}}]}\n\n')
        ask.chunk(b"")

    check_house.model.answer = break_off
    async with check_house.http() as client:
        answer = await client.post("/v1/chat/completions", json={"model": "auto", "messages": ASKED, "stream": True})
    last = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))
    assert last["error"]["code"] == "model_bad_response"
    assert await outcomes(check_house) == []


async def test_a_second_draft_that_disagrees_fails_an_answer(house: Any, speaking: Any) -> None:
    drafts = iter(["They have 24 legs.", "They have 18 legs."])

    async def waver(ask: Any) -> None:
        await speaking(next(drafts))(ask)

    await house.publish(RoutingPolicy(bands=EVERYTHING, check=CheckRules(second_draft=True)))
    house.model.answer = waver
    async with house.openai() as client:
        asking: asyncio.Task[Any] = asyncio.create_task(client.chat.completions.create(model="auto", messages=ASKED))
        await house.work(text="24 legs.")
        answer = await asking
    assert answer.tandem["check"]["reasons"] == ["drafts_differ"]
    assert len(house.model.asked) == 2


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_answer_as_short_as_the_caller_wants_it_passes(check_house: Any, speaking: Any, limit: str, *, is_stream: bool) -> None:
    check_house.model.answer = speaking("Yes", finish="length")
    async with check_house.http() as client:
        answer = await client.post("/v1/chat/completions", json={"model": "auto", "messages": ASKED, limit: 1, "stream": is_stream})
    assert answer.headers["x-tandem-band"] == "check"
    (learnt,) = await outcomes(check_house)
    assert (learnt.kind, check_house.hints.count) == ("check_passed", 0)


@pytest.mark.parametrize("metadata", [{"": "x"}, {"a": "x" * 600}, {"a": "\0"}, {"\0": "a"}, {str(number): "" for number in range(20)}])
async def test_metadata_that_a_job_cannot_keep_leaves_the_answer_unchecked(check_house: Any, speaking: Any, metadata: dict[str, str]) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    body: dict[str, Any] = {"messages": ASKED, "metadata": metadata}
    async with check_house.http() as client:
        fast = await client.post("/v1/chat/completions", json=body | {"model": "auto"})
        slow = await client.post("/v1/chat/completions", json=body | {"model": "slow"})
    assert (fast.status_code, fast.json()["choices"][0]["message"]["content"]) == (200, "They have 18 legs.")
    assert (slow.status_code, slow.json()["error"]["param"], check_house.hints.count) == (400, "metadata", 0)


async def test_a_doubtful_answer_with_a_character_that_no_database_keeps_is_worked_out_anew(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They\0 have 18 legs.", probability=0.2)
    async with check_house.openai() as client:
        asking = asyncio.create_task(client.chat.completions.create(model="auto", messages=ASKED))
        await check_house.work(text="24 legs.")
        assert (await asking).choices[0].message.content == "24 legs."
