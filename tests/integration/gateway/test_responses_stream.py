"""The streams of the responses door, read by the stock client, synchronous and not; and what its bytes must not hold."""

import asyncio
import json
from typing import Any

import pytest
from openai import OpenAI
from openai.types.responses import Response
from pydantic import BaseModel

from tandem.ports import Claim, NewEvent, Outcome, Parking
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import JobResult, JobStatus, JobView, PlanStep

pytestmark = pytest.mark.integration
PLAN = NewEvent(JobEvent.PLAN_CREATED, {"steps": [{"id": "1", "title": "Add"}]})


class Sum(BaseModel):
    sum: int


def reasoning(claim: Claim) -> dict[str, Any]:
    return {"item_id": f"rs_{claim.job_id[4:]}", "output_index": 0, "item_type": "reasoning"}


def place(claim: Claim, index: int) -> dict[str, Any]:
    return {"item_id": f"msg_{claim.job_id[4:]}_{index}", "output_index": index, "content_index": 0}


def item(claim: Claim, index: int) -> dict[str, Any]:
    return {"item_id": f"msg_{claim.job_id[4:]}_{index}", "output_index": index, "item_type": "message"}


def opening(claim: Claim, index: int) -> list[NewEvent]:
    return [NewEvent(JobEvent.ITEM_ADDED, item(claim, index)), NewEvent(JobEvent.PART_ADDED, place(claim, index))]


def closing(claim: Claim, index: int, text: str) -> list[NewEvent]:
    here = place(claim, index)
    return [
        NewEvent(JobEvent.TEXT_DONE, {"text": text, **here}),
        NewEvent(JobEvent.PART_DONE, here),
        NewEvent(JobEvent.ITEM_DONE, item(claim, index)),
    ]


def delta(claim: Claim, index: int, text: str) -> NewEvent:
    return NewEvent(JobEvent.TEXT_DELTA, {"delta": text, **place(claim, index)})


async def think(house: Any, claim: Claim) -> None:
    """What a worker writes before its answer."""
    view = JobView(title="A sum", plan=[PlanStep(id="1", title="Add")])
    await house.tell(claim, NewEvent(JobEvent.ITEM_ADDED, reasoning(claim)), PLAN, view=view)


async def write(house: Any, claim: Claim, *pieces: str, index: int = 1) -> None:
    """A whole answer in pieces, and the end of the job."""
    text = "".join(pieces)
    done = [NewEvent(JobEvent.ITEM_DONE, reasoning(claim))] if index == 1 else []
    await house.tell(claim, *done, *opening(claim, index))
    for piece in pieces:
        await house.tell(claim, delta(claim, index, piece))
    await house.tell(claim, *closing(claim, index, text))
    await house.storage.work.finish(claim.job_id, claim.epoch, Outcome(JobStatus.COMPLETED, result=JobResult(output_text=text)))


async def collect(stream: Any) -> list[Any]:
    return [event async for event in stream]


def numbers(events: list[Any]) -> list[int]:
    return [event.sequence_number for event in events]


async def test_a_slow_stream_has_one_event_for_each_of_the_log(house: Any) -> None:
    async with house.openai() as client:
        stream = await client.responses.create(model="slow", input="add 2 and 3", stream=True)
        claim = await house.claim(await house.next_job())
        await think(house, claim)
        await write(house, claim, "It ", "is 5.")
        events = await collect(stream)
        stored = await client.responses.retrieve(events[0].response.id)
    log = await house.storage.events.read(claim.job_id, -1, 100)
    assert numbers(events) == [event.sequence_number for event in log] == list(range(len(log)))
    assert [event.type for event in events] == [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.tandem.attempt.started",
        "response.output_item.added",
        "response.reasoning_summary_text.delta",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    for event in events:
        if not event.type.startswith("response.tandem."):
            type(event).model_validate(event.model_dump(mode="json", by_alias=True))
    assert events[5].delta == "Plan: 1. Add\n"
    assert (events[5].item_id, events[5].tandem["type"]) == (events[4].item.id, JobEvent.PLAN_CREATED)
    assert events[6].item.summary[0].text == "Plan: 1. Add\n"
    assert [event.response.status for event in events if hasattr(event, "response")] == ["queued", "queued", "in_progress", "completed"]
    assert [event.response.output for event in events[:3]] == [[], [], []]
    assert events[-1].response.output == [events[6].item, events[-2].item] == stored.output
    assert events[-1].response.model_dump() == stored.model_dump()


@pytest.mark.parametrize("is_background", [False, True])
async def test_the_clients_own_accumulator_reads_a_job_with_a_lost_attempt(house: Any, is_background: bool) -> None:
    async with (
        house.openai() as client,
        client.responses.stream(model="slow", input="add 2 and 3", text_format=Sum, background=is_background) as stream,
    ):
        following = asyncio.create_task(collect(stream))
        job_id = await house.next_job()
        lost = await house.storage.work.claim("mortal", 0.05, 5, job_id=job_id)
        await think(house, lost)
        await house.tell(lost, NewEvent(JobEvent.ITEM_DONE, reasoning(lost)), *opening(lost, 1), delta(lost, 1, '{"sum": 4'))
        await asyncio.sleep(0.1)
        await write(house, await house.claim(job_id), '{"sum"', ": 5}", index=2)
        events = await following
        final = await stream.get_final_response()
    assert final.output_parsed == Sum(sum=5)
    assert [output.id for output in final.output] == [f"rs_{job_id[4:]}", f"msg_{job_id[4:]}_2"]
    voided = next(event for event in events if event.type == "response.output_item.done" and event.item.id == f"msg_{job_id[4:]}_1")
    assert (voided.item.status, voided.item.content[0].text) == ("incomplete", '{"sum": 4')
    assert voided.tandem["type"] == JobEvent.TEXT_RESET
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta" and event.output_index == 2) == '{"sum": 5}'
    assert numbers(events) == list(range(len(events)))


async def test_a_cut_stream_goes_on_where_it_was_cut(house: Any) -> None:
    async with house.openai() as client:
        stream = await client.responses.create(model="slow", input="add", background=True, stream=True)
        claim = await house.claim(await house.next_job())
        await think(house, claim)
        seen: list[Any] = []
        async for event in stream:
            seen.append(event)
            if event.sequence_number == 4:
                await stream.close()
                break
        await write(house, claim, "It ", "is 5.")
        response_id = seen[0].response.id
        rest = await collect(await client.responses.retrieve(response_id, stream=True, starting_after=4))
        whole = await collect(await client.responses.retrieve(response_id, stream=True))
        nothing = await collect(await client.responses.retrieve(response_id, stream=True, starting_after=whole[-1].sequence_number))
        async with client.responses.stream(response_id=response_id, starting_after=9) as replayed:
            tail = await collect(replayed)
            final = await replayed.get_final_response()
    assert [*seen, *rest] == whole
    assert nothing == []
    assert numbers(tail) == numbers(whole)[10:]
    assert final.output_text == "It is 5."
    assert next(event for event in rest if event.type == "response.output_item.done").item.summary[0].text == "Plan: 1. Add\n"


@pytest.mark.parametrize("cursor", [None, 3, 900])
async def test_a_lost_cursor_gets_the_response_as_it_stands(open_house: Any, cursor: int | None) -> None:
    async with open_house(retention={"events_days": 1e-9}) as house, house.openai() as client:
        created = await client.responses.create(model="slow", input="add", background=True)
        claim = await house.claim(await house.next_job())
        await write(house, claim, "It is 5.")
        if cursor != 900:
            await house.storage.retention.sweep()
            assert await house.storage.events.first_seq(claim.job_id) == 11
        query: Any = {} if cursor is None else {"starting_after": cursor}
        events = await collect(await client.responses.retrieve(created.id, stream=True, **query))
        if cursor is None:
            async with client.responses.stream(response_id=created.id) as stream:
                assert (await stream.get_final_response()).output_text == "It is 5."
        last_seq = (await house.storage.jobs.get(claim.job_id, "acme")).last_seq
    assert [event.type for event in events] == (["response.created"] if cursor is None else []) + ["response.completed"]
    assert events[-1].sequence_number == last_seq
    assert events[-1].response.output_text == "It is 5."


async def test_a_cursor_ahead_of_a_running_jobs_log_gets_its_state_and_then_what_comes(house: Any) -> None:
    async with house.openai() as client:
        created = await client.responses.create(model="slow", input="add", background=True)
        claim = await house.claim(await house.next_job())
        stream = await client.responses.retrieve(created.id, stream=True, starting_after=900)
        following = asyncio.create_task(collect(stream))
        await write(house, claim, "It is 5.")
        events = await following
    assert (events[0].type, events[0].response.status, events[0].sequence_number) == ("response.in_progress", "in_progress", 3)
    assert (events[1].sequence_number, events[-1].type) == (4, "response.completed")


async def test_a_fast_answer_streams_openais_events(house: Any) -> None:
    async with house.openai() as client, client.responses.stream(model="fast", input="hi") as stream:
        events = await collect(stream)
        final = await stream.get_final_response()
        stored = await client.responses.retrieve(final.id)
    assert numbers(events) == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds == ["created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
                     "output_text.done", "content_part.done", "output_item.done", "completed"]  # fmt: skip
    assert (final.output_text, final.output[0].id) == ("Hello there", events[2].item.id)
    assert stored.output_text == "Hello there"
    assert stored.usage == final.usage


@pytest.mark.parametrize("lane", ["slow", "fast"])
@pytest.mark.parametrize("is_stream", [True, False])
async def test_the_stock_client_survives_silence_and_no_id_or_retry_line_is_sent(open_house: Any, lane: str, is_stream: bool) -> None:
    async def dawdle(ask: Any) -> None:
        ask.begin_stream()
        await asyncio.sleep(0.15)
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"42"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        ask.chunk(b"")

    async with open_house(gateway={"heartbeat_s": 0.02}) as house, house.http() as http:
        house.model.answer = dawdle

        def ask() -> str:
            with OpenAI(base_url=f"{house.url}/v1", api_key=house.token, max_retries=0, timeout=20) as client:
                if not is_stream:
                    return client.responses.create(model=lane, input="hi").output_text
                with client.responses.stream(model=lane, input="hi") as stream:
                    return stream.get_final_response().output_text

        asking = asyncio.create_task(asyncio.to_thread(ask))
        bare = asyncio.create_task(http.post("/v1/responses", json={"model": lane, "input": "hi", "stream": is_stream}))
        if lane == "slow":
            await house.next_job(2)
            await asyncio.sleep(0.15)
            await house.work(1)
            await house.work(2)
        assert await asking == "42"
        body = (await bare).content
    if is_stream:
        assert b"\n: ping\n" in body
        assert b": ping\n\n" not in body
        assert not any(line.startswith((b"id:", b"retry:", b"id ", b"retry ")) for line in body.splitlines())
        assert {line.split(b":")[0] for line in body.splitlines() if line} == {b"event", b"data", b""}


async def test_a_question_is_told_in_the_stream(house: Any) -> None:
    async with house.openai() as client:
        stream = await client.responses.create(model="slow", input="hi", stream=True, background=True)
        claim = await house.claim(await house.next_job())
        await house.park(claim, Parking(JobStatus.INPUT_REQUIRED, asks=[InputAsk(key="sure", kind="text", prompt="Sure?")], wait_s=60))
        async for event in stream:
            if event.type == JobEvent.INPUT_REQUIRED:
                assert event.tandem["data"]["prompt"] == "Sure?"
                break
        await stream.close()


async def test_a_cancelled_job_ends_its_stream(house: Any) -> None:
    async with house.openai() as client:
        stream = await client.responses.create(model="slow", input="hi", stream=True, background=True)
        job = await house.storage.jobs.get(await house.next_job(), "acme")
        await client.responses.cancel(job.response_id)
        events = await collect(stream)
    assert events[-1].type == "response.cancelled"
    assert json.loads(events[-1].to_json())["response"]["status"] == "cancelled"
    assert Response.model_validate(json.loads(events[-1].to_json())["response"]).status == "cancelled"
