"""The jobs door: accepted means stored; read, wait, follow, cancel, replay."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from tandem.ports import NewEvent, Parking
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import JobStatus
from tandem.sse import Frame, Parser

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)


async def submit(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/jobs", json={"input": "add 2 and 2"} | fields)
    assert answer.status_code == 202, answer.text
    return answer.json()


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


async def frames(answer: httpx.Response) -> list[Frame]:
    parser = Parser()
    return [frame async for chunk in answer.aiter_bytes() for frame in parser.feed(chunk)]


@both_databases
async def test_an_accepted_job_is_stored_hinted_and_found_again(house: Any) -> None:
    async with house.http() as client:
        answer = await client.post("/v1/jobs", json={"input": "add 2 and 2", "metadata": {"a": "b"}})
        job = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
        assert (job["status"], job["request"]["metadata"], job["view"]["title"]) == ("queued", {"a": "b"}, "add 2 and 2")
        assert job["effort"] in ("low", "medium", "high", "max")
        assert await house.next_job() == job["id"]
        assert (await client.get(f"/v1/jobs/{job['id']}")).json() == job
        assert [found["id"] for found in (await client.get("/v1/jobs", params={"status": "queued"})).json()["data"]] == [job["id"]]
        assert (await client.get("/v1/jobs", params={"status": "failed"})).json()["data"] == []


async def test_an_effort_that_is_asked_for_is_kept(house: Any) -> None:
    async with house.http() as client:
        assert (await submit(client, effort="max"))["effort"] == "max"


@both_databases
async def test_the_same_key_and_body_is_the_same_job(house: Any) -> None:
    async with house.http() as client:
        key = {"idempotency-key": "order 7"}
        first = await client.post("/v1/jobs", json={"input": "x"}, headers=key)
        again = await client.post("/v1/jobs", json={"priority": 5, "input": "x"}, headers=key)
        other = await client.post("/v1/jobs", json={"input": "y"}, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert house.hints.count == 1


@both_databases
async def test_one_key_sent_twice_at_once_makes_one_job(house: Any) -> None:
    async with house.http() as client:
        key = {"idempotency-key": "twice"}
        answers = await asyncio.gather(*[client.post("/v1/jobs", json={"input": "x"}, headers=key) for _ in range(6)])
        listed = (await client.get("/v1/jobs")).json()["data"]
    assert [answer.status_code for answer in answers] == [202] * 6
    assert {answer.json()["id"] for answer in answers} == {listed[0]["id"]}
    assert sorted("idempotent-replayed" in answer.headers for answer in answers) == [False] + [True] * 5
    assert len(listed) == house.hints.count == 1


async def test_a_client_that_counts_its_retries_makes_one_job(house: Any) -> None:
    async with house.http() as client:
        made = [
            (await client.post("/v1/jobs", json={"input": "x"}, headers={"x-stainless-retry-count": count})).json()["id"]
            for count in ("0", "1", "2", "0")
        ]
    assert made[0] == made[1] == made[2] != made[3]


@both_databases
async def test_a_listing_is_narrowed_by_all_that_is_given(house: Any) -> None:
    async with house.http() as client:
        thread = (await client.post("/v1/threads", json={})).json()["id"]
        both = await submit(client, metadata={"team": "a", "x y": "7&8"})
        one = await submit(client, metadata={"team": "a"})
        spoken = await submit(client, thread_id=thread)
        child = await submit(client, parent_id=one["id"])
        later = await submit(client, run_at=in_an_hour())

        async def listed(**where: str) -> list[str]:
            answer = await client.get("/v1/jobs", params=where)
            assert answer.status_code == 200, answer.text
            return [job["id"] for job in answer.json()["data"]]

        assert await listed(**{"metadata[team]": "a"}) == [one["id"], both["id"]]
        assert await listed(**{"metadata[team]": "a", "metadata[x y]": "7&8"}) == [both["id"]]
        assert await listed(**{"metadata[team]": "b"}) == []
        assert await listed(thread_id=thread) == [spoken["id"]]
        assert await listed(parent_id=one["id"]) == [child["id"]]
        assert await listed(status="scheduled") == [later["id"]]
        assert await listed(schedule_id="sch_00000000000000000000000000") == []


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("state=queued", 400, "state"),
        ("metadata=a", 400, "metadata"),
        ("metadata[]=a", 400, "metadata[]"),
        ("metadata[a]=1&metadata[a]=2", 400, "metadata[a]"),
        ("metadata[a]=%00", 400, "metadata[a]"),
        ("status=sleeping", 400, "status"),
        ("limit=0", 400, "limit"),
        ("thread_id=x", 404, "thread_id"),
        ("parent_id=thr_00000000000000000000000000", 404, "parent_id"),
        ("schedule_id=x", 404, "schedule_id"),
        ("after=job_00000000000000000000000000", 404, "after"),
    ],
)
async def test_a_listing_refuses_what_it_does_not_know(house: Any, query: str, status: int, param: str) -> None:
    async with house.http() as client:
        answer = await client.get(f"/v1/jobs?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


async def test_a_scheduled_job_wakes_nobody_yet(house: Any) -> None:
    async with house.http() as client:
        assert (await submit(client, run_at=in_an_hour()))["status"] == "scheduled"
        await submit(client)
    assert await house.next_job(1)
    assert house.hints.count == 1


async def test_a_page_ends_with_a_cursor_to_the_next(house: Any) -> None:
    async with house.http() as client:
        made = [(await submit(client))["id"] for _ in range(3)]
        first = (await client.get("/v1/jobs", params={"limit": 2})).json()
        rest = (await client.get("/v1/jobs", params={"limit": 2, "after": first["next_after"]})).json()
    assert [job["id"] for job in first["data"] + rest["data"]] == made[::-1]
    assert rest["next_after"] is None


async def test_more_unfinished_jobs_than_allowed_are_refused(open_house: Any) -> None:
    async with open_house(gateway={"max_queued_jobs": 1}) as house, house.http() as client:
        await submit(client)
        answer = await client.post("/v1/jobs", json={"input": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_requests")


@both_databases
async def test_a_waiting_reader_gets_the_end_as_it_happens(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        waiting = asyncio.create_task(client.get(f"/v1/jobs/{job['id']}", params={"wait": 30}))
        await house.work(text="4")
        ended = (await waiting).json()
    assert (ended["status"], ended["output_text"], ended["verification"]["level"]) == ("completed", "4", "V2")


PARKINGS = {
    "input_required": Parking(JobStatus.INPUT_REQUIRED, asks=[InputAsk(key="k", kind="text", prompt="Which one?")], wait_s=60),
    "budget_reached": Parking(JobStatus.BUDGET_REACHED, wait_s=60),
    "paused": Parking(JobStatus.PAUSED),
}


@pytest.mark.parametrize("status", PARKINGS)
async def test_a_waiting_reader_hears_at_once_of_a_job_that_needs_somebody(house: Any, status: str) -> None:
    async with house.http() as client, asyncio.timeout(50):
        job = await submit(client)
        claim = await house.claim(await house.next_job())
        waiting = asyncio.create_task(client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}))
        while not house.services.tails._feeds.open_feeds:
            await asyncio.sleep(0.005)
        if status == "paused":
            await client.post(f"/v1/jobs/{job['id']}/pause")
        await house.park(claim, PARKINGS[status])
        assert (await waiting).json()["status"] == status
        assert (await client.get(f"/v1/jobs/{job['id']}", params={"wait": 60})).json()["status"] == status


async def test_a_wait_that_is_over_shows_the_job_as_it_stands(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        assert (await client.get(f"/v1/jobs/{job['id']}", params={"wait": 0.05})).json()["status"] == "queued"


async def test_a_wait_on_an_ended_job_returns_at_once(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        await house.work()
        async with asyncio.timeout(50):
            assert (await client.get(f"/v1/jobs/{job['id']}", params={"wait": 60})).json()["status"] == "completed"


async def test_events_come_in_pages(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        await house.work()
        path = f"/v1/jobs/{job['id']}/events"
        first = (await client.get(path, params={"limit": 2})).json()
        rest = (await client.get(path, params={"after": first["next_after"]})).json()
        end = (await client.get(path, params={"after": rest["next_after"]})).json()
    numbers = [event["sequence_number"] for event in first["data"] + rest["data"]]
    assert numbers == list(range(len(numbers)))
    assert (first["is_final"], rest["is_final"], end["is_final"]) == (False, True, True)
    assert rest["data"][-1]["type"] == JobEvent.COMPLETED
    assert (end["data"], end["next_after"]) == ([], rest["next_after"])


@both_databases
async def test_a_stream_follows_a_job_to_its_end(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        headers = {"accept": "text/event-stream"}
        async with client.stream("GET", f"/v1/jobs/{job['id']}/events", headers=headers) as answer:
            claim = await house.claim(await house.next_job())
            await house.tell(claim, NewEvent(JobEvent.STEP_STARTED, {"step_id": "1", "title": "加"}))
            await house.finish(claim)
            seen = await frames(answer)
    assert [frame.id for frame in seen] == [str(number) for number in range(len(seen))]
    assert seen[0].event == JobEvent.CREATED
    assert seen[-1].event == JobEvent.COMPLETED
    assert json.loads(next(frame.data for frame in seen if frame.event == JobEvent.STEP_STARTED))["data"]["title"] == "加"
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_a_stream_resumes_after_the_larger_of_both_cursors(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        await house.work()
        path = f"/v1/jobs/{job['id']}/events"
        for after, last_event_id, first in [(0, "1", 2), (2, "0", 3), (1, None, 2)]:
            headers = {"accept": "text/event-stream"} | ({"last-event-id": last_event_id} if last_event_id else {})
            async with client.stream("GET", path, params={"after": after}, headers=headers) as answer:
                assert (await frames(answer))[0].id == str(first)


async def test_a_stream_that_has_nothing_left_says_so(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        last = (await client.get(f"/v1/jobs/{await house.work()}")).json()["last_seq"]
        answer = await client.get(f"/v1/jobs/{job['id']}/events", params={"after": last}, headers={"accept": "text/event-stream"})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_stream_is_kept_alive_and_closed_cleanly_in_the_end(open_house: Any) -> None:
    async with open_house(gateway={"heartbeat_s": 0.02, "stream_max_s": 0.2}) as house, house.http() as client:
        job = await submit(client)
        answer = await client.get(f"/v1/jobs/{job['id']}/events", headers={"accept": "text/event-stream"})
        assert answer.text.count(": ping") > 2
        assert (await client.get(f"/v1/jobs/{job['id']}")).json()["status"] == "queued"


async def test_a_garbled_last_event_id_is_refused(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        answer = await client.get(f"/v1/jobs/{job['id']}/events", headers={"accept": "text/event-stream", "last-event-id": "x"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Last-Event-ID")


@both_databases
async def test_a_queued_job_is_cancelled_at_once_and_twice_is_the_same(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        first = (await client.post(f"/v1/jobs/{job['id']}/cancel")).json()
        again = await client.post(f"/v1/jobs/{job['id']}/cancel")
    assert first["status"] == "cancelled"
    assert (again.status_code, again.json()) == (200, first)


async def test_a_running_job_is_told_to_cancel(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        claim = await house.claim(await house.next_job())
        assert (await client.post(f"/v1/jobs/{job['id']}/cancel")).json()["status"] == "cancelling"
        assert (await house.storage.work.heartbeat(claim.job_id, claim.epoch, 15)).is_cancel_requested


async def test_a_webhook_address_that_operators_allow_is_accepted(open_house: Any) -> None:
    async with open_house(egress={"allow": ["127.0.0.0/8"]}) as house, house.http() as client:
        job = await submit(client, webhook_url="http://127.0.0.1:9999/hook")
    assert job["request"]["webhook_url"] == "http://127.0.0.1:9999/hook"


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_database_that_is_away_is_503_and_nothing_is_hinted(house: Any, database_url: str) -> None:
    async with house.http() as client:
        await submit(client)
        base, _, name = database_url.rpartition("/")
        admin = await asyncpg.connect(f"{base}/postgres")
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()
        answer = await client.post("/v1/jobs", json={"input": "x"})
        ready = await client.get("/readyz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
    assert house.hints.count == 1
    assert (ready.status_code, ready.json()["state"]) == (503, "down")


async def test_a_large_schema_is_checked_without_making_other_callers_wait(house: Any) -> None:
    schema = {"properties": {f"p{number}": {"type": "string"} for number in range(1_800)}}
    async with house.http() as client:
        submitting = asyncio.create_task(client.post("/v1/jobs", json={"input": "fill it in", "answer": {"kind": "json", "schema": schema}}))
        others = 0
        while not submitting.done():
            assert (await client.get("/healthz")).status_code == 200
            others += 1
        assert (await submitting).status_code == 202
    assert others > 5
