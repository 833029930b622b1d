"""What callers may do to a job under way: pause, change, steer, cancel with its family, try again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tandem.ids import JobId
from tandem.ports import NewEvent, Parking
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobFailure, JobResult, JobStatus

pytestmark = pytest.mark.integration
SOON = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)


async def submit(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/jobs", json={"input": "add 2 and 2"} | fields)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def until_hinted(house: Any, count: int) -> None:
    async with asyncio.timeout(50):
        while house.hints.count < count:
            await asyncio.sleep(0.005)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@both_databases
async def test_a_queued_job_is_paused_and_resumed_with_a_hint(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        path = f"/v1/jobs/{job['id']}"
        assert (await client.post(f"{path}/pause")).json()["status"] == "paused"
        assert (await client.post(f"{path}/pause")).json()["status"] == "paused"
        assert await house.storage.work.claim("test-worker", 15, 5) is None
        assert (await client.post(f"{path}/resume")).json()["status"] == "queued"
        await until_hinted(house, 2)
        assert (await client.post(f"{path}/resume")).status_code == 200
        assert house.hints.count == 2


async def test_a_running_job_is_told_to_pause_and_may_be_told_to_go_on(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        claim = await house.claim(await house.next_job())
        path = f"/v1/jobs/{job['id']}"
        told = (await client.post(f"{path}/pause")).json()
        assert (told["status"], told["is_pausing"]) == ("in_progress", True)
        assert (await house.storage.work.heartbeat(claim.job_id, claim.epoch, 15)).is_pause_requested
        assert (await client.post(f"{path}/resume")).json()["is_pausing"] is False
        assert not (await house.storage.work.heartbeat(claim.job_id, claim.epoch, 15)).is_pause_requested


@both_databases
async def test_a_new_budget_lets_a_job_go_on(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client, budget={"max_calls": 2, "max_tokens": 500}, on_budget="wait")
        claim = await house.claim(await house.next_job())
        best = JobResult(output_text="about 4")
        reason = JobFailure(code="budget_reached", message="2 of 2 calls are used")
        await house.park(claim, Parking(status=JobStatus.BUDGET_REACHED, wait_s=60, best=best, reason=reason))
        waiting = (await client.get(f"/v1/jobs/{job['id']}")).json()
        assert (waiting["status"], waiting["output_text"]) == ("budget_reached", "about 4")
        changed = await client.patch(f"/v1/jobs/{job['id']}", json={"budget": {"max_calls": 9}, "priority": 1, "metadata": {"a": "b"}})
        await until_hinted(house, 2)
    request = changed.json()["request"]
    assert changed.json()["status"] == "queued"
    assert (request["budget"]["max_calls"], request["budget"]["max_tokens"]) == (9, 500)
    assert (request["priority"], request["metadata"]) == (1, {"a": "b"})


async def test_a_change_must_change_something_and_comes_before_the_end(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        path = f"/v1/jobs/{job['id']}"
        assert code(await client.patch(path, json={})) == (400, "invalid_request")
        assert code(await client.patch(path, json={"effort": "max"})) == (400, "invalid_request")
        assert code(await client.patch(path, json={"budget": {"max_calls": 0}})) == (400, "invalid_request")
        await house.work()
        assert code(await client.patch(path, json={"priority": 1})) == (409, "conflict")
        assert code(await client.post(f"{path}/pause")) == (409, "conflict")
        assert code(await client.post(f"{path}/resume")) == (409, "conflict")
        assert code(await client.post(f"{path}/steer", json={"message": "wait"})) == (409, "conflict")


@both_databases
async def test_words_reach_the_inbox_once_and_are_shown_where_they_were_taken_up(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        path, key = f"/v1/jobs/{job['id']}", {"idempotency-key": "say it once"}
        first = await client.post(f"{path}/steer", json={"message": "use metres"}, headers=key)
        again = await client.post(f"{path}/steer", json={"message": "use metres"}, headers=key)
        other = await client.post(f"{path}/steer", json={"message": "use feet"}, headers=key)
        claim = await house.claim(await house.next_job())
        _, appended = await house.storage.work.take_steers(claim.job_id, claim.epoch, "solve")
        await house.dependencies.notifier.notify(appended)
        inbox = (await client.get(path)).json()["inbox"]
    assert (first.status_code, first.json()["message"], first.json()["applied_at"]) == (202, "use metres", None)
    assert "idempotent-replayed" not in first.headers
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (first.json()["id"], "true")
    assert code(other) == (422, "idempotency_key_reused")
    assert [(steer["message"], steer["applied_step"]) for steer in inbox] == [("use metres", "solve")]


async def test_blank_or_endless_words_are_refused(open_house: Any) -> None:
    async with open_house(gateway={"max_input_chars": 100}) as house, house.http() as client:
        path = f"/v1/jobs/{(await submit(client))['id']}/steer"
        for message, expected in [("  ", "invalid_request"), ("", "invalid_request"), ("x" * 101, "input_too_long")]:
            answer = await client.post(path, json={"message": message})
            assert code(answer) == (400, expected)
            assert answer.json()["error"]["param"] == "message"


@both_databases
async def test_children_end_with_their_root(house: Any) -> None:
    async with house.http() as client:
        root = await submit(client)
        child = await submit(client, parent_id=root["id"])
        grandchild = await submit(client, parent_id=child["id"])
        assert [job["id"] for job in (await client.get("/v1/jobs", params={"parent_id": root["id"]})).json()["data"]] == [child["id"]]
        await client.post(f"/v1/jobs/{root['id']}/cancel", json={"mode": "interrupt"})
        for job in (root, child, grandchild):
            assert (await client.get(f"/v1/jobs/{job['id']}")).json()["status"] == "cancelled"
        assert code(await client.post("/v1/jobs", json={"input": "x", "parent_id": root["id"]})) == (409, "conflict")


async def test_a_rollback_discards_what_was_recorded(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        claim = await house.claim(await house.next_job())
        await house.storage.work.record_effect(claim.job_id, claim.epoch, "plan", {"x": 1})
        await client.post(f"/v1/jobs/{job['id']}/cancel", json={"mode": "rollback"})
        await house.finish(claim, status=JobStatus.CANCELLED)
        assert await house.storage.jobs.effects(job["id"], "acme") == []
        assert code(await client.post(f"/v1/jobs/{job['id']}/cancel", json={"mode": "gently"})) == (400, "invalid_request")


async def failed_job(house: Any, client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """A job that failed after a recorded step."""
    job = await submit(client, **fields)
    claim = await house.claim(JobId(job["id"]))
    await house.tell(claim, NewEvent(JobEvent.STEP_STARTED, {"step_id": "1", "title": "Add"}))
    await house.storage.work.record_effect(claim.job_id, claim.epoch, "plan", {"steps": 1})
    await house.finish(claim, status=JobStatus.FAILED, error=JobFailure(code="model_timeout", message="too slow"))
    return job


@both_databases
async def test_an_ended_job_is_tried_again_as_a_new_one(house: Any) -> None:
    async with house.http() as client:
        job = await failed_job(house, client, budget={"max_calls": 2, "max_tokens": 500}, metadata={"a": "b"}, effort="high")
        path, key = f"/v1/jobs/{job['id']}/retry", {"idempotency-key": "r1"}
        first = await client.post(path, json={"budget": {"max_calls": 7}}, headers=key)
        again = await client.post(path, json={"budget": {"max_calls": 7}}, headers=key)
        made = first.json()
        await until_hinted(house, 2)
        old = (await client.get(f"/v1/jobs/{job['id']}")).json()
    assert (first.status_code, first.headers["location"]) == (202, f"/v1/jobs/{made['id']}")
    assert (made["retry_of"], made["status"], made["effort"], made["request"]["metadata"]) == (job["id"], "queued", "high", {"a": "b"})
    assert (made["request"]["budget"]["max_calls"], made["request"]["budget"]["max_tokens"]) == (7, 500)
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (made["id"], "true")
    assert old["status"] == "failed"
    assert [effect.key for effect in await house.storage.jobs.effects(made["id"], "acme")] == ["plan"]
    assert house.hints.count == 2


async def test_a_retry_from_the_start_takes_nothing_over(house: Any) -> None:
    async with house.http() as client:
        job = await failed_job(house, client)
        made = (await client.post(f"/v1/jobs/{job['id']}/retry", json={"from": "start"})).json()
    assert await house.storage.jobs.effects(made["id"], "acme") == []


async def test_a_retry_stands_alone_and_starts_now(house: Any) -> None:
    async with house.http() as client:
        parent = await submit(client)
        job = await failed_job(house, client, parent_id=parent["id"], deadline=SOON)
        made = (await client.post(f"/v1/jobs/{job['id']}/retry")).json()
    assert (made["parent_id"], made["deadline"], made["run_at"]) == (None, None, None)


async def test_only_what_ended_badly_is_retried(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        assert code(await client.post(f"/v1/jobs/{job['id']}/retry")) == (409, "conflict")
        await house.work()
        assert code(await client.post(f"/v1/jobs/{job['id']}/retry")) == (409, "conflict")
        assert code(await client.post(f"/v1/jobs/{job['id']}/retry", json={"from": "middle"})) == (400, "invalid_request")
        assert len((await client.get("/v1/jobs")).json()["data"]) == 1


@both_databases
async def test_an_ended_job_can_be_deleted_with_all_it_wrote(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        path = f"/v1/jobs/{job['id']}"
        assert code(await client.delete(path)) == (409, "conflict")
        await house.work()
        gone = await client.delete(path)
        assert (gone.status_code, gone.content) == (204, b"")
        for after in (path, f"{path}/events", f"{path}/trace"):
            assert code(await client.get(after)) == (404, "not_found")
        assert code(await client.delete(path)) == (404, "not_found")
    assert await house.storage.events.last_seq(job["id"]) == -1


@pytest.mark.parametrize(
    ("method", "door"),
    [
        ("PATCH", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/retry"), ("POST", "/steer"),
        ("GET", "/inputs"), ("GET", "/steps"), ("GET", "/artifacts"), ("GET", "/trace"), ("GET", "/artifacts/art_00000000000000000000000000"),
        ("GET", "/inputs/inp_00000000000000000000000000"), ("POST", "/inputs/inp_00000000000000000000000000"),
    ],
)  # fmt: skip
async def test_another_tenants_job_is_not_there(house: Any, method: str, door: str) -> None:
    async with house.http() as client, house.http(house.other_token) as rival:
        job = await submit(client)
        body = {"PATCH": {"priority": 1}}.get(method) or ({"message": "x"} if door == "/steer" else {"value": "x"} if "inp_" in door else None)
        answer = await rival.request(method, f"/v1/jobs/{job['id']}{door}", json=body)
        assert code(answer) == (404, "not_found")
        assert (await client.get(f"/v1/jobs/{job['id']}")).json() == job


async def test_a_completed_job_is_refused_with_a_remedy_that_works(house: Any) -> None:
    async with house.http() as client:
        job = await submit(client)
        await house.work()
        paused = await client.post(f"/v1/jobs/{job['id']}/pause")
        assert code(paused) == (409, "conflict")
        assert "as a new job" in paused.json()["error"]["message"]
        assert code(await client.post(f"/v1/jobs/{job['id']}/retry")) == (409, "conflict")
