"""The check band at the responses door, with the stock client."""

import asyncio
import json
from typing import Any

import pytest
from openai.types.responses import Response

from tandem.ids import TenantId
from tandem.ports import NewEvent
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobFailure, JobStatus

pytestmark = pytest.mark.integration
QUESTION = "How many legs do three spiders have?"
KEY = {"idempotency-key": "spiders-1"}


async def test_an_answer_that_passes_is_the_fast_one_with_its_verdict(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 24 legs.")
    async with check_house.openai() as client:
        raw = await client.responses.with_raw_response.create(model="auto", input=QUESTION)
        answer = raw.parse()
        again = await client.responses.retrieve(answer.id)
    assert (answer.output_text, answer.status, answer.error, answer.incomplete_details) == ("They have 24 legs.", "completed", None, None)
    assert (raw.headers["x-tandem-lane"], raw.headers["x-tandem-band"], "x-tandem-job" in raw.headers) == ("fast", "check", False)
    assert answer.tandem["check"] == {"passed": True, "confidence": 0.95, "reasons": [], "job_id": None}
    assert again.tandem["check"] == answer.tandem["check"]


async def test_a_failed_answer_is_replaced_by_the_jobs(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.openai() as client:
        asking = asyncio.create_task(client.responses.with_raw_response.create(model="auto", input=QUESTION))
        job_id = await check_house.work(text="24 legs.")
        raw = await asking
        answer = raw.parse()
        again = await client.responses.retrieve(answer.id)
    assert (answer.output_text, answer.status, raw.headers["x-tandem-job"]) == ("24 legs.", "completed", job_id)
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert (answer.tandem["check"]["passed"], answer.tandem["job_id"]) == (False, job_id)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (13, 9)
    assert again.output_text == "24 legs."
    Response.model_validate(answer.model_dump(), strict=False)


async def test_a_failed_stream_voids_the_first_message_and_brings_the_second(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.openai() as client, client.responses.stream(model="auto", input=QUESTION) as stream:
        claim = await check_house.claim(await check_house.next_job())
        await check_house.tell(claim, NewEvent(JobEvent.PLAN_CREATED, {"steps": [{"id": "1", "title": "Multiply"}]}))
        await check_house.finish(claim, "24 legs.")
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [(item.type, item.status) for item in done] == [("message", "incomplete"), ("reasoning", "completed"), ("message", "completed")]
    assert "I am not sure about this answer" in done[0].content[0].text
    assert "Plan: 1. Multiply\n" in done[1].summary[0].text
    assert [event.output_index for event in events if event.type == "response.output_item.added"] == [0, 1, 2]
    assert (final.output_text, [item.id for item in final.output]) == ("24 legs.", [done[1].id, done[2].id])
    assert final.tandem["check"]["reasons"] == ["low_confidence"]


async def test_a_passed_stream_is_that_of_the_fast_lane(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 24 legs.")
    async with check_house.openai() as client, client.responses.stream(model="auto", input=QUESTION) as stream:
        kinds = [event.type async for event in stream if event.type != "response.output_text.delta"]
        final = await stream.get_final_response()
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert final.output_text == "They have 24 legs."


@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_fast_answer_stands_when_its_job_brings_none(check_house: Any, speaking: Any, is_stream: bool) -> None:
    async def fail() -> None:
        claim = await check_house.claim(await check_house.next_job())
        await check_house.finish(claim, status=JobStatus.FAILED, error=JobFailure(code="model_timeout", message="silent"))

    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    failing = asyncio.create_task(fail())
    async with check_house.openai() as client:
        if is_stream:
            async with client.responses.stream(model="auto", input=QUESTION) as stream:
                async for _ in stream:
                    pass
                answer = await stream.get_final_response()
        else:
            answer = await client.responses.create(model="auto", input=QUESTION)
    await failing
    assert (answer.output_text, answer.status, answer.tandem["check"]["passed"]) == ("They have 18 legs.", "completed", False)


async def test_a_job_that_takes_too_long_is_not_waited_for(open_house: Any, speaking: Any) -> None:
    sections = {"router": {"check_at": 0.0, "threshold": 1.0}, "fast": {"read_timeout_s": 0.2}, "gateway": {"heartbeat_s": 0.05}}
    async with open_house(**sections) as house, house.openai() as client:
        house.model.answer = speaking("They have 18 legs.", probability=0.2)
        answer = await client.responses.create(model="auto", input=QUESTION)
        job = await house.storage.jobs.get(await house.next_job(), TenantId("acme"))
    assert (answer.output_text, answer.tandem["job_id"], job.status) == ("They have 18 legs.", job.id, JobStatus.QUEUED)


async def test_a_repeated_request_gets_the_corrected_answer(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.openai() as client:
        asking = asyncio.create_task(client.responses.create(model="auto", input=QUESTION, extra_headers=KEY))
        await check_house.work(text="24 legs.")
        first = await asking
        second = await client.responses.create(model="auto", input=QUESTION, extra_headers=KEY)
    assert (second.model_dump(), check_house.hints.count) == (first.model_dump(), 1)


async def test_a_repeated_stream_tells_the_corrected_answer_with_its_progress(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)

    async def ask() -> list[Any]:
        async with check_house.openai() as client:
            stream = await client.responses.create(model="auto", input=QUESTION, extra_headers=KEY, stream=True)
            return [event async for event in stream]

    first = asyncio.create_task(ask())
    await check_house.work(text="24 legs.")
    final = (await first)[-1].response
    again = await ask()
    assert [event.item.id for event in again if event.type == "response.output_item.done"] == [item.id for item in final.output]
    assert "".join(event.delta for event in again if event.type == "response.output_text.delta") == "24 legs."
    assert [event.sequence_number for event in again] == list(range(len(again)))
    assert (again[-1].response.model_dump(), check_house.hints.count) == (final.model_dump(), 1)


async def test_a_client_that_leaves_while_the_job_runs_finds_the_fast_answer_kept(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    body = {"model": "auto", "input": QUESTION, "stream": True}
    async with check_house.http() as client:
        async with client.stream("POST", "/v1/responses", json=body) as answer:
            lines = answer.aiter_lines()
            created = [await anext(lines), await anext(lines)][1]
            response_id = json.loads(created.removeprefix("data: "))["response"]["id"]
            job_id = await check_house.next_job()
        async with asyncio.timeout(5):
            while (kept := (await client.get(f"/v1/responses/{response_id}")).json())["status"] == "in_progress":
                await asyncio.sleep(0.01)
    job = await check_house.storage.jobs.get(job_id, TenantId("acme"))
    assert (kept["status"], kept["output"][0]["content"][0]["text"]) == ("completed", "They have 18 legs.")
    assert (kept["tandem"]["check"]["passed"], kept["tandem"]["job_id"], job.status) == (False, job_id, JobStatus.QUEUED)


async def test_a_conversation_goes_on_from_the_corrected_answer(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.openai() as client:
        asking = asyncio.create_task(client.responses.create(model="auto", input=QUESTION))
        await check_house.work(text="24 legs.")
        first = await asking
        check_house.model.answer = speaking("Yes, surely.")
        await client.responses.create(model="fast", input="Sure?", previous_response_id=first.id)
    said = [message["content"] for message in check_house.model.asked[-1].fields["messages"] if message["role"] != "system"]
    assert said == [QUESTION, "24 legs.", "Sure?"]


async def test_an_answer_of_a_given_form_is_never_checked(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking('{"legs": 18}', probability=0.2)
    async with check_house.openai() as client:
        answer = await client.responses.create(model="auto", input=QUESTION, text={"format": {"type": "json_object"}})
    assert "check" not in answer.tandem


@pytest.mark.parametrize("limit", [16, None])
async def test_only_an_answer_that_the_caller_did_not_limit_is_cut(check_house: Any, speaking: Any, limit: int | None) -> None:
    check_house.model.answer = speaking("They have", finish="length")
    body = {"model": "auto", "input": QUESTION} | ({} if limit is None else {"max_output_tokens": limit})
    async with check_house.http() as client:
        asking = asyncio.create_task(client.post("/v1/responses", json=body))
        if limit is None:
            await check_house.work(text="24 legs.")
        told = (await asking).json()["tandem"]["check"]
    assert told["reasons"] == ([] if limit else ["cut"])
