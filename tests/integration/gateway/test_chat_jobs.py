"""What a job does while a chat request watches it: repeated requests, questions, pauses."""

import asyncio
from typing import Any

import openai
import pytest

from gateway.auth import Principal
from tandem.ids import KeyId, TenantId
from tandem.ports import NewEvent, Parking
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputAnswer, InputAsk
from tandem.schemas.jobs import JobStatus

pytestmark = pytest.mark.integration
HI: list[Any] = [{"role": "user", "content": "hi"}]
KEY = {"idempotency-key": "order-17"}
WHOEVER = Principal(TenantId("acme"), KeyId("key_1"), frozenset())


async def test_a_repeated_slow_request_watches_the_job_of_the_first(house: Any) -> None:
    async with house.openai() as client:
        first = asyncio.create_task(client.chat.completions.with_raw_response.create(model="slow", messages=HI, extra_headers=KEY))
        job_id = await house.next_job()
        stream = await client.chat.completions.with_raw_response.create(model="slow", messages=HI, stream=True, extra_headers=KEY)
        await house.work(text="once")
        words = [chunk.choices[0].delta.content or "" async for chunk in stream.parse() if chunk.choices]
        answer = await first
    assert (answer.headers["x-tandem-job"], stream.headers["x-tandem-job"]) == (job_id, job_id)
    assert ("idempotent-replayed" in answer.headers, stream.headers["idempotent-replayed"]) == (False, "true")
    assert (answer.parse().choices[0].message.content, "".join(words)) == ("once", "once")
    assert house.hints.count == 1


async def test_a_key_with_another_body_is_refused(house: Any) -> None:
    other = [{"role": "user", "content": "something else"}]
    async with house.http() as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json={"model": "slow", "messages": HI}, headers=KEY))
        await house.next_job()
        refused = await client.post("/v1/chat/completions", json={"model": "slow", "messages": other}, headers=KEY)
        await house.work()
        await asking
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_a_client_that_counts_its_retries_makes_one_job(house: Any) -> None:
    async with house.http() as client:
        first = asyncio.create_task(
            client.post("/v1/chat/completions", json={"model": "slow", "messages": HI}, headers={"x-stainless-retry-count": "0"})
        )
        job_id = await house.next_job()
        retry = asyncio.create_task(
            client.post("/v1/chat/completions", json={"model": "slow", "messages": HI}, headers={"x-stainless-retry-count": "1"})
        )
        await asyncio.sleep(0.1)
        await house.work()
        answers = await asyncio.gather(first, retry)
    assert [answer.headers["x-tandem-job"] for answer in answers] == [job_id, job_id]


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_job_that_asks_is_waited_for_and_the_stream_says_so(house: Any, is_stream: bool) -> None:
    async def ask() -> str:
        async with house.openai() as client:
            answer = await client.chat.completions.create(model="slow", messages=HI, stream=is_stream)
            if not is_stream:
                return str(answer.choices[0].message.content)
            deltas = [chunk.choices[0].delta async for chunk in answer if chunk.choices]
            return "".join((getattr(delta, "reasoning_content", None) or "") + (delta.content or "") for delta in deltas)

    asking = asyncio.create_task(ask())
    job_id = await house.next_job()
    claim = await house.claim(job_id)
    await house.park(claim, Parking(JobStatus.INPUT_REQUIRED, asks=[InputAsk(key="sure", kind="text", prompt="Are you sure?")], wait_s=60))
    waiting = await house.storage.jobs.get(job_id, "acme")
    await house.services.desk.answer(job_id, WHOEVER, waiting.inputs[0].id, InputAnswer(value="yes"), None)
    paused = await house.claim(job_id)
    await house.services.desk.pause(job_id, "acme")
    await house.park(paused, Parking(JobStatus.PAUSED))
    assert not asking.done()
    await house.services.desk.resume(job_id, "acme")
    await house.finish(await house.claim(job_id), "done")
    said = await asking
    assert said.endswith("done")
    if is_stream:
        assert f"/v1/jobs/{job_id}/inputs/{waiting.inputs[0].id}: Are you sure?" in said
        assert f"Paused; it goes on at POST /v1/jobs/{job_id}/resume." in said


async def test_a_job_that_is_cancelled_elsewhere_is_told(house: Any) -> None:
    async def cancel() -> None:
        await house.services.desk.cancel(await house.next_job(), "acme")

    cancelling = asyncio.create_task(cancel())
    async with house.openai() as client:
        with pytest.raises(openai.APIStatusError, match="was cancelled"):
            await client.chat.completions.create(model="slow", messages=HI)
    await cancelling


async def test_a_budget_warning_is_a_line_of_the_reasoning(house: Any) -> None:
    async with house.openai() as client:
        stream = await client.chat.completions.create(model="slow", messages=HI, stream=True)
        claim = await house.claim(await house.next_job())
        await house.tell(claim, NewEvent(JobEvent.BUDGET_WARNING, {"meter": "max_tokens", "spent": 80, "limit": 100}))
        await house.finish(claim)
        deltas = [chunk.choices[0].delta async for chunk in stream if chunk.choices]
    assert "Most of the budget is spent (max_tokens)." in "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
