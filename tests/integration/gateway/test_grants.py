"""The tools of a job: settled at every door that makes one, frozen with it, and shown at ``/v1/tools``."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.schedules import Timetable
from tandem.ids import JobId, ScheduleId, TenantId
from tandem.ports import JobFilter, ScheduleUpdate
from tandem.schemas.jobs import Job, JobFailure, JobStatus
from tandem.schemas.tools import ToolReport, ToolSpec
from tandem.telemetry import new_metrics

pytestmark = pytest.mark.integration
ACME, RIVAL = TenantId("acme"), TenantId("rival")
EVERYTHING = ["calculator", "python", "web_fetch", "wiki__edit"]
OPEN = ["calculator", "python"]
CHAT: dict[str, Any] = {"model": "slow", "messages": [{"role": "user", "content": "look it up"}]}


def report(name: str, side_effect: str = "read_external", reason: str = "") -> ToolReport:
    schema = {"type": "object", "properties": {"地址": {"type": "string"}}, "additionalProperties": False}
    fields = {"name": name, "description": "它做一件事。", "parameters": schema, "side_effect": side_effect, "timeout_s": 1}
    state = "unavailable" if reason else "offered"
    return ToolReport(spec=ToolSpec.model_validate(fields), state=state, reason=reason, worker="x", seen_at=datetime.now(UTC))


async def spoken(house: Any) -> None:
    """A worker says what it offers."""
    reports = [report("python", "exec"), report("calculator", "pure"), report("web_fetch"), report("wiki__edit", "write")]
    await house.storage.tools.report("host-1", [*reports, report("web_search", reason="no provider in /srv/secret.toml")])


async def newest(house: Any, tenant: TenantId = ACME) -> Job:
    async with asyncio.timeout(30):
        while not (jobs := await house.storage.jobs.list(tenant, where=JobFilter(), after=None, limit=1)):
            await asyncio.sleep(0.01)
    return jobs[0]


async def by_job(house: Any, token: str) -> None:
    async with house.http(token) as client:
        assert (await client.post("/v1/jobs", json={"input": "look it up"})).status_code == 202


async def by_response(house: Any, token: str) -> None:
    async with house.http(token) as client:
        assert (await client.post("/v1/responses", json={"model": "slow", "input": "look it up", "background": True})).status_code == 200


async def by_chat(house: Any, token: str) -> None:
    async with house.http(token) as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT))
        await house.work()
        assert (await asking).status_code == 200


async def by_thread(house: Any, token: str) -> None:
    async with house.http(token) as client:
        thread = (await client.post("/v1/threads", json={"title": "x"})).json()["id"]
        assert (await client.post(f"/v1/threads/{thread}/messages", json={"content": "look it up", "lane": "slow"})).status_code == 202
        await house.next_job()


async def by_schedule(house: Any, token: str) -> None:
    async with house.http(token) as client:
        made = await client.post("/v1/schedules", json={"name": "x", "cron": "0 3 * * *", "request": {"input": "look it up"}})
        assert (await client.post(f"/v1/schedules/{made.json()['id']}/run")).status_code == 202


async def by_doubt(house: Any, token: str) -> None:
    async with house.http(token) as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT | {"model": "auto"}))
        await house.work()
        assert (await asking).headers["x-tandem-band"] == "check"


DOORS = [by_job, by_response, by_chat, by_thread, by_schedule]


@pytest.mark.parametrize("submit", DOORS)
async def test_every_door_freezes_what_the_key_may_use(house: Any, submit: Callable[[Any, str], Awaitable[None]]) -> None:
    await spoken(house)
    await submit(house, await house.new_token("acme", ["chat", "jobs:write", "tools"]))
    assert (await newest(house)).tools == EVERYTHING


@pytest.mark.parametrize("submit", [by_job, by_response, by_schedule])
async def test_a_key_without_a_scope_for_tools_gets_the_open_ones_at_every_door(house: Any, submit: Callable[[Any, str], Awaitable[None]]) -> None:
    await spoken(house)
    await submit(house, await house.new_token("acme", ["chat", "jobs:write", "jobs:read", "admin"]))
    assert (await newest(house)).tools == OPEN


async def test_the_job_that_corrects_a_doubtful_answer_gets_the_callers_tools(check_house: Any, speaking: Any) -> None:
    await spoken(check_house)
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    await by_doubt(check_house, await check_house.new_token("acme", ["chat", "tools:web_*"]))
    assert (await newest(check_house)).tools == ["calculator", "python", "web_fetch"]


async def test_two_tenants_get_what_each_of_them_may_use(open_house: Any) -> None:
    async with open_house(tools={"offer": ["python", "web_fetch"], "tenants": {"rival": ["python"]}}) as house:
        await spoken(house)
        await by_job(house, house.token)
        await by_job(house, house.other_token)
        assert ((await newest(house)).tools, (await newest(house, RIVAL)).tools) == (["python", "web_fetch"], ["python"])


async def test_settings_and_reports_that_change_afterwards_change_no_job(open_house: Any) -> None:
    async with open_house() as house:
        await spoken(house)
        await by_job(house, house.token)
        job_id = JobId((await newest(house)).id)
    async with open_house(tools={"offer": ["calculator"], "tenants": {"acme": []}}) as house:
        await house.storage.tools.report("host-1", [report("teleport", "write")])
        claim = await house.claim(job_id)
    assert list(claim.tools) == EVERYTHING


@pytest.mark.parametrize(
    "headers",
    [
        [("AUTHORIZATION", "bearer {}"), ("X-Tandem-Tools", "wiki__edit")],
        [("authorization", "BEARER {}"), ("x-api-key", "{}"), ("scopes", "tools")],
        [("Authorization", "Bearer {}"), ("X-Scopes", "tools"), ("Tools", "*")],
    ],
)
async def test_no_spelling_of_a_header_widens_a_grant(house: Any, headers: Sequence[tuple[str, str]]) -> None:
    await spoken(house)
    token = await house.new_token("acme", ["jobs:write", "tools:web_fetch"])
    async with house.http("") as client:
        answer = await client.post("/v1/jobs", json={"input": "x"}, headers=[(name, value.format(token)) for name, value in headers])
    assert answer.json()["tools"] == ["calculator", "python", "web_fetch"]


@pytest.mark.parametrize(
    ("scopes", "tool", "status", "code"),
    [
        (["jobs:write"], "web_fetch", 403, "permission_denied"),
        (["jobs:write", "tools:web_*"], "wiki__edit", 403, "permission_denied"),
        (["jobs:write", "tools"], "web_search", 400, "tool_not_offered"),
        (["jobs:write", "tools"], "teleport", 400, "unknown_tool"),
        (["jobs:write", "tools"], "网页", 400, "unknown_tool"),
    ],
)
async def test_a_tool_asked_for_in_vain_makes_no_job_and_says_why(house: Any, scopes: list[str], tool: str, status: int, code: str) -> None:
    await spoken(house)
    async with house.http(await house.new_token("acme", scopes)) as client:
        answers = [
            await client.post("/v1/jobs", json={"input": "x", "tools": ["python", tool]}),
            await client.post("/v1/schedules", json={"name": "x", "cron": "0 3 * * *", "request": {"input": "x", "tools": [tool]}}),
        ]
    told = [(answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["param"]) for answer in answers]
    assert told == [(status, code, "tools"), (status, code, "request.tools")]
    assert all(tool in answer.json()["error"]["message"] and "secret" not in answer.text for answer in answers)
    assert not await house.storage.jobs.list(ACME, where=JobFilter(), after=None, limit=1)


async def test_openais_web_search_is_granted_and_refused_by_the_same_rules(house: Any) -> None:
    await house.storage.tools.report("host-1", [report("python", "exec"), report("web_search"), report("web_fetch")])
    body = {"model": "slow", "input": "x", "background": True, "tools": [{"type": "web_search"}]}
    async with house.http() as client:
        answer = await client.post("/v1/responses", json=body)
    async with house.http(await house.new_token("acme", ["jobs:write", "chat"])) as client:
        refused = await client.post("/v1/responses", json=body)
    assert (answer.json()["tools"], (await newest(house)).tools) == ([{"type": "web_search"}], ["web_search", "web_fetch"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")


async def test_a_refusal_is_in_the_tenants_audit_log_with_its_rule(house: Any) -> None:
    await spoken(house)
    async with house.http(await house.new_token("acme", ["jobs:write"])) as client:
        await client.post("/v1/jobs", json={"input": "x", "tools": ["wiki__edit"]})
    (record,) = await house.storage.audit.read(ACME, after=0, limit=10)
    assert (record.kind, record.tool, record.rule, record.decision) == ("tool_refused", "wiki__edit", "scope", "refused")
    assert not await house.storage.audit.read(RIVAL, after=0, limit=10)


async def test_a_child_gets_no_more_than_its_parent_whatever_its_key_may(house: Any) -> None:
    await spoken(house)
    async with house.http() as client:
        parent = (await client.post("/v1/jobs", json={"input": "x", "tools": ["python", "web_fetch"]})).json()["id"]
        child = await client.post("/v1/jobs", json={"input": "y", "parent_id": parent})
        wide = await client.post("/v1/jobs", json={"input": "y", "parent_id": parent, "tools": ["wiki__edit"]})
        orphan = await client.post("/v1/jobs", json={"input": "y", "parent_id": "job_" + "0" * 26})
    async with house.http(await house.new_token("acme", ["jobs:write"])) as narrow:
        theirs = await narrow.post("/v1/jobs", json={"input": "y", "parent_id": parent})
    assert (child.json()["tools"], theirs.json()["tools"]) == (["python", "web_fetch"], ["python"])
    assert (wide.status_code, wide.json()["error"]["code"], wide.json()["error"]["param"]) == (403, "permission_denied", "tools")
    assert (orphan.status_code, orphan.json()["error"]["param"]) == (404, "parent_id")


async def test_a_retry_gets_what_the_first_try_had_as_far_as_the_retrier_may(house: Any) -> None:
    await spoken(house)
    failure = JobFailure(code="x", message="x")
    async with house.http() as client:
        wide = (await client.post("/v1/jobs", json={"input": "x"})).json()["id"]
        named = (await client.post("/v1/jobs", json={"input": "x", "tools": ["web_fetch"]})).json()["id"]
    async with house.http(await house.new_token("acme", ["jobs:write", "jobs:read"])) as client:
        thin = (await client.post("/v1/jobs", json={"input": "x"})).json()["id"]
        for job_id in (wide, named, thin):
            await house.finish(await house.claim(JobId(job_id)), status=JobStatus.FAILED, error=failure)
        narrowed = await client.post(f"/v1/jobs/{wide}/retry")
        refused = await client.post(f"/v1/jobs/{named}/retry")
    async with house.http() as client:
        kept = await client.post(f"/v1/jobs/{thin}/retry")
    assert (narrowed.json()["tools"], kept.json()["tools"]) == (OPEN, OPEN)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")


async def taken_turn(house: Any, schedule_id: str, minute: int) -> Job:
    """The job that the dispatcher makes when the schedule is due."""
    needs = house.dependencies
    store = house.storage.schedules
    stored = await store.get(ScheduleId(schedule_id), ACME)
    due = datetime(2026, 1, 1, tzinfo=UTC)
    request = stored.request.model_dump_json(by_alias=True)
    update = ScheduleUpdate(stored.name, f"{minute} 2 3 4 *", "UTC", request, "allow", is_enabled=True, next_run_at=due)
    await store.change(ScheduleId(schedule_id), ACME, update)
    grants, metrics = house.services.grants, new_metrics()
    await Timetable(store, house.storage.keys, grants, house.hints, needs.notifier, needs.ids, metrics, max_unfinished=100).sweep()
    return await house.storage.jobs.get(JobId((await store.get(ScheduleId(schedule_id), ACME)).last_job_id), ACME)


async def test_a_turn_gets_the_tools_of_whoever_set_its_request_for_as_long_as_their_key_holds(house: Any) -> None:
    await spoken(house)
    async with house.http() as client:
        key = (await client.post("/v1/keys", json={"name": "narrow", "scopes": ["jobs:write", "jobs:read"]})).json()
        made = (await client.post("/v1/schedules", json={"name": "x", "cron": "0 3 * * *", "request": {"input": "x"}})).json()["id"]
        async with house.http(key["key"]) as other:
            await other.patch(f"/v1/schedules/{made}", json={"name": "y"})
            renamed = await taken_turn(house, made, 1)
            await other.patch(f"/v1/schedules/{made}", json={"request": {"input": "edit the wiki"}})
            rewritten = await taken_turn(house, made, 2)
        await client.delete(f"/v1/keys/{key['id']}")
        revoked = await taken_turn(house, made, 3)
        told = (await client.get(f"/v1/schedules/{made}")).json()["last_error"]
    assert (renamed.tools, rewritten.tools, revoked.tools) == (EVERYTHING, OPEN, [])
    assert told["code"] == "permission_denied"
    assert "is revoked" in told["message"]


async def test_no_key_makes_a_key_that_may_do_more(house: Any) -> None:
    async with house.http(await house.new_token("acme", ["admin", "chat", "tools:web_*"])) as client:
        made = await client.post("/v1/keys", json={"name": "x", "scopes": ["chat", "tools:web_fetch"]})
        wide = await client.post("/v1/keys", json={"name": "x", "scopes": ["chat", "tools"]})
        other = await client.post("/v1/keys", json={"name": "x", "scopes": ["jobs:write"]})
        wrong = await client.post("/v1/keys", json={"name": "x", "scopes": ["tools:Web"]})
    assert made.status_code == 201
    assert [(answer.status_code, answer.json()["error"]["param"]) for answer in (wide, other)] == [(403, "scopes"), (403, "scopes")]
    assert wrong.status_code == 400
    assert "'tools:web_fetch'" in wrong.json()["error"]["message"]


async def test_the_tools_are_shown_with_what_this_key_may_use_and_reasons_to_the_operator_alone(house: Any) -> None:
    await spoken(house)
    async with house.http() as operator, house.http(await house.new_token("acme", ["chat"])) as plain:
        told = {tool["name"]: tool for tool in (await operator.get("/v1/tools")).json()["data"]}
        mine = {tool["name"]: tool for tool in (await plain.get("/v1/tools")).json()["data"]}
        one = (await plain.get("/v1/tools/web_search")).json()
        unknown = await plain.get("/v1/tools/teleport")
    assert list(told) == ["calculator", "python", "web_fetch", "web_search", "wiki__edit"]
    assert told["web_search"]["reason"] == "no provider in /srv/secret.toml"
    assert {name: tool["is_allowed"] for name, tool in mine.items()} == {name: name in OPEN for name in told}
    assert (one["state"], one["workers"], "secret" in json.dumps(mine), one == mine["web_search"]) == ("unavailable", 0, False, True)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")


async def test_the_tools_are_told_to_models_in_their_protocols(house: Any) -> None:
    await spoken(house)
    async with house.http(await house.new_token("acme", ["jobs:read", "tools:web_*"])) as client:
        functions = (await client.get("/v1/tools?format=openai")).json()["data"]
        entries = (await client.get("/v1/tools?format=mcp")).json()["tools"]
        other = await client.get("/v1/tools?format=yaml")
    assert [each["function"]["name"] for each in functions] == [each["name"] for each in entries] == ["calculator", "python", "web_fetch"]
    assert functions[0]["function"]["parameters"] == entries[0]["inputSchema"] == report("calculator").spec.parameters
    assert (other.status_code, other.json()["error"]["param"]) == (400, "format")


async def test_readiness_says_which_interpreters_have_a_sandbox_and_degrades_without_the_first(house: Any) -> None:
    full = report("python_full", "exec", reason="bwrap is not there: /usr/bin/bwrap")
    said = [each.model_copy(update={"spec": each.spec.model_copy(update={"needs": ["sandbox"]})}) for each in (report("python", "exec"), full)]
    await house.storage.tools.report("host-1", said)
    async with house.http("") as client:
        ready = (await client.get("/readyz")).json()["components"]["sandbox"]
    assert ready == {"state": "ok", "detail": "offered: python; not offered: python_full ('tandem tools doctor' says why)"}
    await house.storage.tools.report("host-1", [said[0].model_copy(update={"state": "unavailable", "reason": "broken"})])
    assert (await house.services.board._check_sandbox()).state == "degraded"


async def test_the_tools_are_for_keys_that_chat_or_read_jobs(house: Any) -> None:
    for scopes, status in [(["chat"], 200), (["jobs:read"], 200), (["jobs:write"], 403), (["tools"], 403)]:
        async with house.http(await house.new_token("acme", scopes)) as client:
            assert (await client.get("/v1/tools")).status_code == status
