"""Conversations: the gateway owns the turn, whoever watches."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tandem.schemas.events import ThreadEvent

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)


async def new_thread(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/threads", json={"title": "Test"})
    assert (answer.status_code, answer.json()["last_seq"]) == (201, -1)
    return answer.json()["id"]


async def say(client: httpx.AsyncClient, thread: str, text: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/threads/{thread}/messages", json={"content": text} | fields)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def events(client: httpx.AsyncClient, thread: str) -> list[dict[str, Any]]:
    return (await client.get(f"/v1/threads/{thread}/events", params={"limit": 1000})).json()["data"]


async def until(client: httpx.AsyncClient, thread: str, kind: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(50):
        while True:
            seen = await events(client, thread)
            if any(event["type"] == kind for event in seen):
                return seen
            await asyncio.sleep(0.01)


@both_databases
async def test_a_fast_turn_is_decided_told_stored_and_ended(house: Any) -> None:
    async with house.http() as client:
        thread = await new_thread(client)
        turn = await say(client, thread, "hi")
        seen = await until(client, thread, ThreadEvent.TURN_COMPLETED)
        page = (await client.get(f"/v1/threads/{thread}/messages")).json()
    kinds = [event["type"] for event in seen]
    assert kinds[:3] == [ThreadEvent.MESSAGE_CREATED, ThreadEvent.TURN_STARTED, ThreadEvent.TURN_DECIDED]
    assert kinds[-2:] == [ThreadEvent.MESSAGE_CREATED, ThreadEvent.TURN_COMPLETED]
    assert "".join(event["data"]["delta"] for event in seen if event["type"] == ThreadEvent.TEXT_DELTA) == "Hello there"
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    user, assistant = page["data"]
    assert (turn["status"], turn["message_id"], user["content"]) == ("running", user["id"], "hi")
    assert (assistant["content"], assistant["lane"], assistant["turn_id"]) == ("Hello there", "fast", turn["id"])
    assert assistant["decision_id"].startswith("dec_")
    assert page["live_after"] == len(seen) - 1


async def test_the_model_hears_the_conversation_so_far(house: Any) -> None:
    async with house.http() as client:
        thread = await new_thread(client)
        await say(client, thread, "first")
        await until(client, thread, ThreadEvent.TURN_COMPLETED)
        await say(client, thread, "second")
        async with asyncio.timeout(50):
            while len(house.model.asked) < 2:
                await asyncio.sleep(0.01)
    said = [message["content"] for message in house.model.asked[1].fields["messages"] if message["role"] != "system"]
    assert said == ["first", "Hello there", "second"]


async def test_a_slow_turn_hands_over_to_a_job_whose_result_comes_into_the_thread(house: Any) -> None:
    async with house.http() as client:
        thread = await new_thread(client)
        await say(client, thread, "/deep add 2 and 2")
        job_id = await house.next_job()
        await until(client, thread, ThreadEvent.TURN_COMPLETED)
        page = (await client.get(f"/v1/threads/{thread}/messages")).json()
        assert (page["data"][-1]["lane"], page["data"][-1]["job_id"]) == ("slow", job_id)
        assert "add 2 and 2" in page["data"][-1]["content"]
        assert page["running_jobs"] == [job_id]
        await house.work(text="It is 4.")
        page = (await client.get(f"/v1/threads/{thread}/messages")).json()
    assert (page["data"][-1]["content"], page["running_jobs"]) == ("It is 4.", [])


async def test_a_lane_that_is_chosen_is_the_lane(house: Any) -> None:
    async with house.http() as client:
        thread = await new_thread(client)
        await say(client, thread, "hi", lane="slow", effort="low")
        job = await house.storage.jobs.get(await house.next_job(), "acme")
    assert (job.effort, job.request.thread_id) == ("low", thread)


async def test_a_live_stream_tells_a_turn_as_it_goes(house: Any) -> None:
    kinds: list[str] = []
    async with house.http() as client:
        thread = await new_thread(client)
        async with client.stream("GET", f"/v1/threads/{thread}/events", headers={"accept": "text/event-stream"}) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            await say(client, thread, "hi")
            async for line in lines:
                if line.startswith("event: "):
                    kinds.append(line.removeprefix("event: "))
                if kinds[-1:] == [ThreadEvent.TURN_COMPLETED]:
                    break
    assert kinds[0] == ThreadEvent.MESSAGE_CREATED


async def test_words_are_stored_at_most_ten_times_a_second(house: Any) -> None:
    async def chatter(ask: Any) -> None:
        ask.begin_stream()
        for number in range(100):
            ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"%d "}}]}\n\n' % number)
            await ask.writer.drain()
            await asyncio.sleep(0.002)
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        ask.chunk(b"")

    house.model.answer = chatter
    async with house.http() as client:
        thread = await new_thread(client)
        await say(client, thread, "hi")
        seen = await until(client, thread, ThreadEvent.TURN_COMPLETED)
    deltas = [event["data"]["delta"] for event in seen if event["type"] == ThreadEvent.TEXT_DELTA]
    assert "".join(deltas) == "".join(f"{number} " for number in range(100))
    assert len(deltas) < 20


@both_databases
async def test_a_cancelled_turn_closes_the_upstream_and_stays_cancelled(house: Any) -> None:
    closed = asyncio.Event()

    async def hang(ask: Any) -> None:
        ask.begin_stream()
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\n')
        await ask.until_closed()
        closed.set()

    house.model.answer = hang
    async with house.http() as client:
        thread = await new_thread(client)
        turn = await say(client, thread, "hi")
        await until(client, thread, ThreadEvent.TEXT_DELTA)
        cancelled = await client.post(f"/v1/threads/{thread}/turns/{turn['id']}/cancel")
        async with asyncio.timeout(50):
            await closed.wait()
        again = await client.post(f"/v1/threads/{thread}/turns/{turn['id']}/cancel")
        kinds = [event["type"] for event in await events(client, thread)]
    assert cancelled.json()["status"] == again.json()["status"] == "cancelled"
    assert kinds.count(ThreadEvent.TURN_CANCELLED) == 1
    assert ThreadEvent.TURN_COMPLETED not in kinds


async def test_a_turn_cancelled_in_another_gateway_stops_here_too(house: Any) -> None:
    closed = asyncio.Event()

    async def hang(ask: Any) -> None:
        ask.begin_stream()
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\n')
        await ask.until_closed()
        closed.set()

    house.model.answer = hang
    async with house.http() as client:
        thread = await new_thread(client)
        turn = await say(client, thread, "hi")
        await until(client, thread, ThreadEvent.TEXT_DELTA)
        await house.storage.threads.cancel_turn(turn["id"], thread, "acme")
        async with asyncio.timeout(50):
            await closed.wait()


async def test_a_model_that_fails_fails_the_turn_and_the_thread_lives_on(house: Any) -> None:
    async def fail(ask: Any) -> None:
        ask.whole(b'{"error":{"message":"GPU on fire at /opt/secret"}}', status=500)

    healthy, house.model.answer = house.model.answer, fail
    async with house.http() as client:
        thread = await new_thread(client)
        await say(client, thread, "hi")
        seen = await until(client, thread, ThreadEvent.TURN_FAILED)
        house.model.answer = healthy
        await say(client, thread, "again")
        await until(client, thread, ThreadEvent.TURN_COMPLETED)
        page = (await client.get(f"/v1/threads/{thread}/messages")).json()
    error = next(event for event in seen if event["type"] == ThreadEvent.TURN_FAILED)["data"]["error"]
    assert error["code"].startswith("model_")
    assert page["data"][1]["error"]["code"] == error["code"]
    assert "secret" not in json.dumps(page)


async def test_a_gateway_that_stops_fails_its_turns_cleanly(open_house: Any) -> None:
    async def hang(ask: Any) -> None:
        ask.begin_stream()
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\n')
        await ask.until_closed()

    async with open_house() as house, house.http() as client:
        house.model.answer = hang
        thread = await new_thread(client)
        await say(client, thread, "hi")
        await until(client, thread, ThreadEvent.TEXT_DELTA)
    async with open_house() as house, house.http() as client:
        token = await house.new_token("acme")
        page = (await client.get(f"/v1/threads/{thread}/messages", headers={"authorization": f"Bearer {token}"})).json()
    assert page["data"][-1]["error"]["code"] == "turn_interrupted"


async def test_threads_are_listed_newest_first_and_page_by_page(house: Any) -> None:
    async with house.http() as client:
        made = [await new_thread(client) for _ in range(3)]
        first = (await client.get("/v1/threads", params={"limit": 2})).json()
        rest = (await client.get("/v1/threads", params={"limit": 2, "after": first["next_after"]})).json()
    assert [thread["id"] for thread in first["data"] + rest["data"]] == made[::-1]


async def test_a_message_sent_again_with_its_key_is_answered_once(house: Any) -> None:
    async with house.http() as client:
        thread = await new_thread(client)
        path, key = f"/v1/threads/{thread}/messages", {"idempotency-key": "k1"}
        first = await client.post(path, json={"content": "hi"}, headers=key)
        await until(client, thread, ThreadEvent.TURN_COMPLETED)
        again = await client.post(path, json={"content": "hi"}, headers=key)
        other = await client.post(path, json={"content": "bye"}, headers=key)
        messages = (await client.get(path)).json()["data"]
    assert (again.status_code, again.headers["idempotent-replayed"], again.headers["location"]) == (202, "true", first.headers["location"])
    assert again.json() == first.json() | {"status": "completed"}
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert (len(messages), len(house.model.asked)) == (2, 1)


async def test_a_thread_made_again_with_its_key_is_the_first_one(house: Any) -> None:
    async with house.http() as client:
        answers = [await client.post("/v1/threads", json={"title": "Sums"}, headers={"idempotency-key": "k1"}) for _ in range(2)]
        assert answers[0].json() == answers[1].json()
        assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]
        assert len((await client.get("/v1/threads")).json()["data"]) == 1
