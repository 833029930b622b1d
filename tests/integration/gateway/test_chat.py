"""The chat door with the stock client: both lanes, streamed and whole."""

import asyncio
import json
from typing import Any

import openai
import pytest

from tandem.ports import NewEvent
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobFailure, JobStatus

pytestmark = pytest.mark.integration
HI: list[Any] = [{"role": "user", "content": "hi"}]


async def test_a_fast_answer_comes_whole(house: Any) -> None:
    async with house.openai() as client:
        answer = await client.chat.completions.with_raw_response.create(model="auto", messages=HI)
    assert answer.parse().choices[0].message.content == "Hello there"
    assert answer.headers["x-tandem-lane"] == "fast"
    assert answer.headers["x-tandem-decision"].startswith("dec_")
    assert len(answer.headers["x-request-id"]) == 16


async def test_the_upstream_gets_its_own_model_name_and_a_system_prompt(house: Any) -> None:
    async with house.openai() as client:
        await client.chat.completions.create(model="fast", messages=HI, seed=7, extra_body={"top_k": 3})
        await client.chat.completions.create(model="m-fast", messages=[{"role": "system", "content": "be rude"}, *HI])
    first, second = (ask.fields for ask in house.model.asked)
    assert first["model"] == "m-fast"
    assert (first["seed"], first["top_k"]) == (7, 3)
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert second["messages"][0] == {"role": "system", "content": "be rude"}


async def test_a_fast_answer_streams(house: Any) -> None:
    async with house.openai() as client:
        stream = await client.chat.completions.create(model="auto", messages=HI, stream=True)
        words = [chunk.choices[0].delta.content async for chunk in stream]
    assert words == ["Hello", " there", None]


async def test_a_slow_answer_is_a_job_that_is_waited_for(house: Any) -> None:
    async with house.openai() as client:
        asking = asyncio.create_task(client.chat.completions.with_raw_response.create(model="slow", messages=HI, metadata={"ticket": "7"}))
        job_id = await house.work(text="the answer")
        answer = await asking
    parsed = answer.parse()
    assert parsed.choices[0].message.content == "the answer"
    assert parsed.choices[0].finish_reason == "stop"
    assert parsed.usage.total_tokens == 15
    assert parsed.metadata["job_id"] == answer.headers["x-tandem-job"] == job_id
    job = await house.storage.jobs.get(job_id, "acme")
    assert (job.request.input, job.request.metadata) == ("hi", {"ticket": "7"})


async def test_a_slow_answer_streams_its_progress_through_keepalives(open_house: Any) -> None:
    async with open_house(gateway={"heartbeat_s": 0.02}) as house, house.openai() as client:
        stream = await client.chat.completions.create(model="slow", messages=HI, stream=True, stream_options={"include_usage": True})
        claim = await house.claim(await house.next_job())
        await house.tell(claim, NewEvent(JobEvent.PLAN_CREATED, {"steps": [{"id": "1", "title": "Add"}]}))
        await asyncio.sleep(0.1)
        await house.finish(claim, "the answer")
        chunks = [chunk async for chunk in stream]
    reasoning = "".join(getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks if chunk.choices)
    content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Plan: 1. Add\n" in reasoning
    assert content == "the answer"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 15


async def test_keepalives_on_the_wire_have_no_blank_line(open_house: Any) -> None:
    async with open_house(gateway={"heartbeat_s": 0.02}) as house, house.http() as client:
        request = {"model": "slow", "messages": HI, "stream": True}
        async with client.stream("POST", "/v1/chat/completions", json=request) as answer:
            await asyncio.sleep(0.1)
            await house.work()
            text = (await answer.aread()).decode()
    assert "\n: ping\n" in text
    assert ": ping\n\n" not in text
    assert "id:" not in text
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_failed_job_is_an_error_of_the_one_shape(house: Any, is_stream: bool) -> None:
    async def fail() -> None:
        claim = await house.claim(await house.next_job())
        await house.finish(claim, status=JobStatus.FAILED, error=JobFailure(code="model_timeout", message="the slow model was silent"))

    async def ask() -> None:
        async with house.openai() as client:
            answer = await client.chat.completions.create(model="slow", messages=HI, stream=is_stream)
            async for _ in answer:
                pass

    failing = asyncio.create_task(fail())
    with pytest.raises(openai.APIError) as caught:
        await ask()
    await failing
    assert "the slow model was silent (model_timeout)" in caught.value.message
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == "job_failed"


async def test_a_client_that_leaves_a_slow_stream_cancels_nothing(house: Any) -> None:
    async with house.http() as client, client.stream("POST", "/v1/chat/completions", json={"model": "slow", "messages": HI, "stream": True}):
        job_id = await house.next_job()
    await asyncio.sleep(0.05)
    assert (await house.storage.jobs.get(job_id, "acme")).status is JobStatus.QUEUED


async def test_what_only_a_model_server_can_do_keeps_auto_fast_and_is_refused_by_slow(house: Any) -> None:
    tools: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    hard = [{"role": "user", "content": "/deep prove it"}]
    async with house.http() as client:
        fast = await client.post("/v1/chat/completions", json={"model": "auto", "messages": hard, "tools": tools})
        slow = await client.post("/v1/chat/completions", json={"model": "slow", "messages": hard, "tools": tools})
    assert (fast.status_code, fast.headers["x-tandem-lane"]) == (200, "fast")
    assert (slow.status_code, slow.json()["error"]["param"]) == (400, "tools")


async def test_words_can_force_the_slow_lane_and_are_not_part_of_the_task(house: Any) -> None:
    async with house.http() as client:
        asking = asyncio.create_task(
            client.post("/v1/chat/completions", json={"model": "auto", "messages": [{"role": "user", "content": "/deep add up"}]})
        )
        job_id = await house.work()
        answer = await asking
    assert answer.headers["x-tandem-job"] == job_id
    assert (await house.storage.jobs.get(job_id, "acme")).request.input == "add up"


async def test_decisions_are_logged_after_the_answer(house: Any) -> None:
    async with house.http() as client:
        answer = await client.post("/v1/chat/completions", json={"model": "auto", "messages": HI})
    await house.services.recorder.flush()
    logged = await house.storage.decisions.recent("acme", 10)
    assert [decision.id for decision in logged] == [answer.headers["x-tandem-decision"]]
    assert (logged[0].door, logged[0].text_chars) == ("chat", 2)


async def test_the_request_beyond_the_cap_is_told_to_come_back(open_house: Any) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def hold(ask: Any) -> None:
        arrived.set()
        await release.wait()
        ask.whole(b'{"choices":[]}')

    async with open_house(gateway={"max_in_flight": 1}) as house, house.http() as client:
        house.model.answer = hold
        first = asyncio.create_task(client.post("/v1/chat/completions", json={"model": "fast", "messages": HI}))
        await arrived.wait()
        second = await client.post("/v1/chat/completions", json={"model": "fast", "messages": HI})
        release.set()
        assert (await first).status_code == 200
    assert (second.status_code, second.headers["retry-after"]) == (429, "1")
    assert second.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_client_that_leaves_closes_the_upstream(house: Any, is_stream: bool) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def hang(ask: Any) -> None:
        if is_stream:
            ask.begin_stream()
            ask.chunk(b'data: {"choices":[]}\n\n')
        arrived.set()
        await ask.until_closed()
        closed.set()

    house.model.answer = hang
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
    body = json.dumps({"model": "fast", "messages": HI, "stream": is_stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house.token}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await arrived.wait()
    if is_stream:
        await reader.readuntil(b"choices")
    writer.close()
    async with asyncio.timeout(50):
        await closed.wait()
        while house.services.in_flight.count:
            await asyncio.sleep(0.005)


async def test_pieces_pass_as_they_come(house: Any) -> None:
    go_on = asyncio.Event()

    async def slowly(ask: Any) -> None:
        ask.begin_stream()
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"first"}}]}\n\n')
        await ask.writer.drain()
        await go_on.wait()
        ask.chunk(b"data: [DONE]\n\n")
        ask.chunk(b"")

    house.model.answer = slowly
    async with (
        house.http() as client,
        client.stream("POST", "/v1/chat/completions", json={"model": "fast", "messages": HI, "stream": True}) as answer,
    ):
        pieces = answer.aiter_bytes()
        assert b"first" in await anext(pieces)
        go_on.set()
        assert await anext(pieces) == b"data: [DONE]\n\n"
