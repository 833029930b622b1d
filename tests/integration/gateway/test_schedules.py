"""The doors of schedules, on a real gateway and database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.routes import schedules
from tandem.ids import ScheduleId, TenantId
from tandem.ports import ScheduleUpdate
from tandem.schemas.schedules import Schedule

DAILY = {"name": "Plants", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "request": {"input": "/deep water the plants", "effort": "low"}}


async def made(client: Any, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/schedules", json=DAILY | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_schedule_is_made_read_changed_and_deleted(house: Any) -> None:
    async with house.http() as client:
        answer = await client.post("/v1/schedules", json=DAILY)
        schedule = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/schedules/{schedule['id']}")
        assert (schedule["object"], schedule["request"]["input"], schedule["overlap"]) == ("schedule", "water the plants", "skip")
        moment = datetime.fromisoformat(schedule["next_run_at"])
        assert (moment.hour in (1, 2), moment.minute, moment > datetime.now(UTC)) == (True, 0, True)
        assert (await client.get(f"/v1/schedules/{schedule['id']}")).json() == schedule
        renamed = (await client.patch(f"/v1/schedules/{schedule['id']}", json={"name": "Flowers"})).json()
        assert renamed == schedule | {"name": "Flowers"}
        off = (await client.patch(f"/v1/schedules/{schedule['id']}", json={"is_enabled": False})).json()
        assert (off["is_enabled"], off["next_run_at"]) == (False, None)
        on = (await client.patch(f"/v1/schedules/{schedule['id']}", json={"is_enabled": True, "cron": "*/5 * * * *"})).json()
        assert datetime.fromisoformat(on["next_run_at"]) - datetime.now(UTC) <= timedelta(minutes=5)
        assert (await client.delete(f"/v1/schedules/{schedule['id']}")).status_code == 204
        assert (await client.get(f"/v1/schedules/{schedule['id']}")).status_code == 404


async def test_schedules_are_listed_newest_first_in_pages(house: Any) -> None:
    async with house.http() as client:
        made_ids = [(await made(client, name=f"Plants {number}"))["id"] for number in range(3)]
        first = (await client.get("/v1/schedules?limit=2")).json()
        rest = (await client.get(f"/v1/schedules?limit=2&after={first['next_after']}")).json()
        assert [each["id"] for each in first["data"] + rest["data"]] == made_ids[::-1]
        assert rest["next_after"] is None


async def test_a_schedule_whose_request_an_upgrade_refuses_is_shown_and_can_be_mended(house: Any) -> None:
    async with house.http() as client:
        stored = Schedule.model_validate(await made(client))
        older = ScheduleUpdate(
            stored.name, stored.cron, stored.timezone, '{"input": "x", "effort": "enormous"}', "skip", is_enabled=True, next_run_at=None
        )
        await house.storage.schedules.change(ScheduleId(stored.id), TenantId("acme"), older)
        path = f"/v1/schedules/{stored.id}"
        assert (await client.get(path)).json()["request"] is None
        assert [each["request"] for each in (await client.get("/v1/schedules")).json()["data"]] == [None]
        for answer in (await client.post(f"{path}/run"), await client.patch(path, json={"name": "Flowers"})):
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
            assert "set 'request' anew" in answer.json()["error"]["message"]
        assert (await client.patch(path, json={"request": {"input": "y"}})).json()["request"]["input"] == "y"
        assert (await client.post(f"{path}/run")).status_code == 202


async def test_another_tenants_schedule_is_not_there(house: Any) -> None:
    async with house.http() as client, house.http(house.other_token) as rival:
        path = f"/v1/schedules/{(await made(client))['id']}"
        for answer in (
            await rival.get(path),
            await rival.patch(path, json={"name": "Mine"}),
            await rival.delete(path),
            await rival.post(f"{path}/run"),
            await rival.get(f"/v1/schedules?after={path.rsplit('/', 1)[1]}"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert (await rival.get("/v1/schedules")).json()["data"] == []
        assert (await client.get(path)).status_code == 200


async def test_a_key_that_may_only_read_makes_no_schedule(house: Any) -> None:
    async with house.http(await house.new_token("acme", ["jobs:read"])) as reader, house.http() as client:
        schedule = await made(client)
        assert (await reader.get(f"/v1/schedules/{schedule['id']}")).status_code == 200
        assert (await reader.post("/v1/schedules", json=DAILY)).status_code == 403
        assert (await reader.post(f"/v1/schedules/{schedule['id']}/run")).status_code == 403


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"cron": "0 0 30 2 *"}, "cron", "never comes"),
        ({"cron": "* * * * * *"}, "cron", "five are needed"),
        ({"cron": "@reboot"}, "cron", "shorthand"),
        ({"timezone": "Mars/Olympus"}, "timezone", "no IANA name"),
        ({"request": {"input": " "}}, "request.input", "'input' is empty"),
        ({"request": {"input": "x", "tools": ["teleport"]}}, "request.tools", "teleport"),
        ({"request": {"input": "x", "run_at": "2030-01-01T00:00:00Z"}}, "request.run_at", "one job only"),
        ({"request": {"input": "x", "deadline": "2030-01-01T00:00:00Z"}}, "request.deadline", "one job only"),
        ({"request": {"input": "x", "parent_id": "job_0123456789abcdefghjkmnpqrs"}}, "request.parent_id", "one job only"),
        ({"request": {"input": "x", "webhook_url": "https://127.0.0.1/hook"}}, "request.webhook_url", ""),
        ({"request": {"input": "x", "thread_id": "nonsense"}}, "request.thread_id", "nonsense"),
        ({"overlap": "queue"}, "overlap", ""),
    ],
)
async def test_what_could_never_run_is_refused_and_nothing_is_written(fields: dict[str, Any], param: str, said: str, house: Any) -> None:
    async with house.http() as client:
        answer = await client.post("/v1/schedules", json=DAILY | fields)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, param)
        assert said in error["message"]
        schedule = await made(client)
        changed = await client.patch(f"/v1/schedules/{schedule['id']}", json=fields)
        assert (changed.status_code, changed.json()["error"]["param"]) == (400, param)
        assert (await client.get("/v1/schedules")).json()["data"] == [schedule]


async def test_a_thread_or_an_endpoint_must_be_the_tenants(house: Any) -> None:
    async with house.http() as client, house.http(house.other_token) as rival:
        foreign = (await rival.post("/v1/threads", json={})).json()["id"]
        for request, param in (
            ({"input": "x", "thread_id": foreign}, "request.thread_id"),
            ({"input": "x", "webhook_endpoints": ["whe_0123456789abcdefghjkmnpqrs"]}, "request.webhook_endpoints"),
        ):
            answer = await client.post("/v1/schedules", json=DAILY | {"request": request})
            assert (answer.status_code, answer.json()["error"]["param"]) == (404, param)


async def test_a_change_of_nothing_is_refused(house: Any) -> None:
    async with house.http() as client:
        schedule = await made(client)
        answer = await client.patch(f"/v1/schedules/{schedule['id']}", json={"name": None})
        assert (answer.status_code, "changes nothing" in answer.json()["error"]["message"]) == (400, True)


async def test_a_repeated_creation_finds_the_first_schedule(house: Any) -> None:
    async with house.http() as client:
        answers = [await client.post("/v1/schedules", json=DAILY, headers={"idempotency-key": "k1"}) for _ in range(2)]
        assert answers[0].json() == answers[1].json()
        assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]
        other = await client.post("/v1/schedules", json=DAILY | {"name": "Other"}, headers={"idempotency-key": "k1"})
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
        assert len((await client.get("/v1/schedules")).json()["data"]) == 1


async def test_a_tenant_has_only_so_many_schedules(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "MAX_SCHEDULES", 1)
    async with house.http() as client:
        await made(client)
        answer = await client.post("/v1/schedules", json=DAILY)
        assert (answer.status_code, "retry-after" in answer.headers) == (429, True)


async def test_a_run_by_hand_starts_one_job_now_and_leaves_the_turns_alone(house: Any) -> None:
    async with house.http() as client:
        schedule = await made(client, is_enabled=False)
        answers = [await client.post(f"/v1/schedules/{schedule['id']}/run", headers={"idempotency-key": "k1"}) for _ in range(2)]
        job = answers[0].json()
        assert (answers[0].status_code, answers[0].headers["location"]) == (202, f"/v1/jobs/{job['id']}")
        assert (job["status"], job["schedule_id"], job["effort"], job["request"]["input"]) == ("queued", schedule["id"], "low", "water the plants")
        assert (answers[1].json()["id"], answers[1].headers["idempotent-replayed"]) == (job["id"], "true")
        assert await house.work() == job["id"]
        listed = (await client.get(f"/v1/jobs?schedule_id={schedule['id']}")).json()["data"]
        assert [(each["id"], each["status"]) for each in listed] == [(job["id"], "completed")]
        assert (await client.get(f"/v1/schedules/{schedule['id']}")).json() == schedule
