"""All doors at once: who may come in, what a stranger sees, keys, health, metrics."""

import asyncio
import re
import socket
import time
from typing import Any

import pytest
from fastapi.routing import APIRoute

from gateway.app import METRICS_PATH, PUBLIC_PATHS, create_api
from gateway.routes.common import Needs
from tandem.ids import JobId, TenantId
from tandem.ports import NewArtifact, Parking
from tandem.schemas.audit import AuditEntry
from tandem.schemas.errors import ErrorBody
from tandem.schemas.health import Readiness
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import JobStatus

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
IDS = {
    "job_id": "job_", "thread_id": "thr_", "turn_id": "trn_", "key_id": "key_", "model": "auto", "input_id": "inp_", "artifact_id": "art_",
    "schedule_id": "sch_", "endpoint_id": "whe_", "delivery_id": "dlv_", "response_id": "resp_",
    "version": "pol_", "outcome_id": "out_", "file_id": "file_", "memory_id": "mem_", "tool_name": "t",
}  # fmt: skip
SHARED = {"model", "version", "outcome_id", "tool_name"}
"""Ids that every tenant may see: tools have names, the routing is the whole platform's, and who administers it judges what was learnt of all tenants'
decisions."""
BODIES: dict[str, Any] = {
    "/v1/threads/{thread_id}/messages": {"content": "hi"},
    "/v1/jobs/{job_id}": {"priority": 1},
    "/v1/jobs/{job_id}/steer": {"message": "x"},
    "/v1/jobs/{job_id}/inputs/{input_id}": {"value": "x"},
    "/v1/schedules/{schedule_id}": {"name": "mine"},
    "/v1/webhook_endpoints/{endpoint_id}": {"description": "mine"},
    "/v1/webhook_endpoints/{endpoint_id}/recover": {"since": "2026-01-01T00:00:00Z"},
}
"""Valid bodies of the doors with an id in their path; the others take none."""
SCHEDULE = {"name": "secret", "cron": "0 3 * * *", "request": {"input": "secret"}}


def doors() -> list[tuple[str, str, APIRoute]]:
    def routes(owner: Any) -> list[APIRoute]:
        found: list[APIRoute] = []
        for route in owner.routes:
            found += [route] if isinstance(route, APIRoute) else routes(route.original_router) if hasattr(route, "original_router") else []
        return found

    return [(method, route.path, route) for route in routes(create_api()) for method in sorted(route.methods or ())]


def filled(path: str) -> str:
    assert ids_in(path) <= set(IDS), f"{path} has an id that IDS does not know"
    for name, prefix in IDS.items():
        for form in (f"{{{name}}}", f"{{{name}:path}}"):
            path = path.replace(form, prefix if name == "model" else prefix + "0" * 26)
    return path


def test_every_door_is_in_the_table_and_asks_for_a_scope() -> None:
    found = doors()
    assert len(found) >= 20
    for method, path, route in found:
        asks = [dependency.call for dependency in route.dependant.dependencies if isinstance(dependency.call, Needs)]
        assert asks or path in PUBLIC_PATHS or path == METRICS_PATH, f"{method} {path} asks nobody who they are"


async def test_without_a_key_every_door_but_the_public_ones_is_shut(house: Any) -> None:
    asked = [(method, filled(path)) for method, path, _ in doors() if path not in PUBLIC_PATHS and path != METRICS_PATH]
    async with house.http("") as client:
        for method, path in [*asked, ("POST", "/v1/chat/completions"), ("GET", "/openapi.json"), ("GET", "/v1/nothing"), ("GET", "/docs")]:
            for headers in ({"authorization": ""}, {"authorization": "Bearer wrong"}, {"x-api-key": house.token, "authorization": ""}):
                answer = await client.request(method, path, headers=headers, json={})
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (method, path)
                assert ErrorBody.model_validate_json(answer.content).error.code == "authentication_failed"


async def test_a_key_without_the_scope_is_denied(house: Any) -> None:
    chat_only, jobs_only = await house.new_token("acme", ["chat"]), await house.new_token("acme", ["jobs:read"])
    cases: list[tuple[str, str, str, dict[str, str] | None]] = [
        (chat_only, "POST", "/v1/jobs", {"input": "x"}),
        (chat_only, "GET", "/v1/jobs", None),
        (chat_only, "GET", "/v1/keys", None),
        (jobs_only, "POST", "/v1/jobs", {"input": "x"}),
        (jobs_only, "POST", "/v1/chat/completions", {}),
        (jobs_only, "POST", "/v1/threads", {}),
        (jobs_only, "POST", "/v1/feedback", {}),
        (chat_only, "POST", "/v1/router/policies", {}),
        (chat_only, "GET", "/v1/router/labels", None),
        (chat_only, "PUT", "/v1/router/kill", {}),
    ]
    for token, method, path, body in cases:
        async with house.http(token) as client:
            answer = await client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied"), (method, path)


async def belongings(house: Any) -> dict[str, str]:
    """One of everything that has an id, made by the first tenant and full of secrets."""
    needs = house.dependencies
    async with house.http() as mine:

        async def made(path: str, **fields: Any) -> str:
            answer = await mine.post(path, json=fields)
            assert answer.is_success, (path, answer.text)
            return answer.json()["id"]

        job_id = await made("/v1/jobs", input="secret plan", metadata={"m": "secret"})
        claim = await house.claim(JobId(job_id))
        artifact, _ = await house.storage.work.add_artifact(
            claim.job_id, claim.epoch, NewArtifact(needs.ids.artifact(), "secret", "text/plain", b"secret")
        )
        await house.park(claim, Parking(JobStatus.INPUT_REQUIRED, asks=[InputAsk(key="secret", kind="text", prompt="secret?")], wait_s=60))
        input_id = (await mine.get(f"/v1/jobs/{job_id}/inputs")).json()["data"][0]["id"]
        thread_id = await made("/v1/threads", title="secret")
        endpoint_id = await made("/v1/webhook_endpoints", url="https://93.184.216.34/secret", description="secret")
        await needs.storage.audit.append(TenantId("acme"), AuditEntry(kind="tool_call", job_id=job_id, arguments={"query": "secret"}))
        uploaded = await mine.post("/v1/files", files={"file": ("secret.txt", b"secret")})
        return {
            "job_id": job_id,
            "file_id": uploaded.json()["id"],
            "memory_id": await made("/v1/memory", text="secret"),
            "artifact_id": artifact.id,
            "input_id": input_id,
            "thread_id": thread_id,
            "turn_id": await made(f"/v1/threads/{thread_id}/messages", content="secret words"),
            "key_id": await made("/v1/keys", name="secret key"),
            "schedule_id": await made("/v1/schedules", **SCHEDULE),
            "endpoint_id": endpoint_id,
            "delivery_id": await made(f"/v1/webhook_endpoints/{endpoint_id}/test"),
            "response_id": await made("/v1/responses", input="secret", model="slow", background=True),
            "model": "auto",
        }


def ids_in(template: str) -> set[str]:
    return set(re.findall(r"{(\w+)", template))


@both_databases
async def test_one_tenant_sees_nothing_of_another_at_any_door(house: Any) -> None:
    ids = await belongings(house)
    guarded = [(method, path) for method, path, _ in doors() if ids_in(path) - SHARED]
    assert {name for _, path in guarded for name in ids_in(path)} == set(ids) - SHARED, "an id is made that no door takes, or none for a door's id"
    async with house.http(house.other_token) as theirs:
        for method, template in guarded:
            answer = await theirs.request(
                method, template.replace(":path", "").format(**ids), json=BODIES.get(template) if method in ("POST", "PATCH") else None
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), (method, template, answer.text)
            assert "secret" not in answer.text, (method, template)
        for method, path, _ in doors():
            if method == "GET" and not ids_in(path):
                assert "secret" not in (await theirs.get(path)).text, path
        assert (await theirs.get(f"/v1/jobs/{ids['job_id']}/events", headers={"accept": "text/event-stream"})).status_code == 404
        assert (await theirs.get(f"/v1/responses/{ids['response_id']}?stream=true")).status_code == 404
    async with house.http() as mine:  # nothing was changed, and the ids are real: their owner is let in by the same addresses
        for method, template in guarded:
            if method == "GET":
                answer = await mine.get(template.replace(":path", "").format(**ids))
                assert answer.status_code == 200, (template, answer.text)
        assert (await mine.get(f"/v1/jobs/{ids['job_id']}")).json()["status"] == "input_required"
    assert (await house.storage.keys.find(ids["key_id"]))[0].revoked_at is None


@both_databases
async def test_what_belongs_to_another_tenant_cannot_be_named_in_a_body_or_a_query(house: Any) -> None:
    ids = await belongings(house)
    bodies: list[tuple[str, dict[str, Any]]] = [
        *(("/v1/jobs", {"input": "mine"} | named) for named in named_in_a_job(ids)),
        *(("/v1/schedules", SCHEDULE | {"request": {"input": "mine"} | named}) for named in named_in_a_job(ids) if "parent_id" not in named),
        ("/v1/responses", {"model": "slow", "input": "mine", "previous_response_id": ids["response_id"]}),
    ]
    queries = [
        ("/v1/jobs", "thread_id"), ("/v1/jobs", "parent_id"), ("/v1/jobs", "schedule_id"), ("/v1/webhook_deliveries", "endpoint_id"),
        ("/v1/webhook_deliveries", "job_id"), ("/v1/audit", "job_id"),
    ]  # fmt: skip
    async with house.http(house.other_token) as theirs:
        for path, body in bodies:
            answer = await theirs.post(path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), (path, body, answer.text)
        for path, name in queries:
            answer = await theirs.get(path, params={name: ids["job_id" if name == "parent_id" else name]})
            assert (answer.json().get("data"), "secret" in answer.text) in (([], False), (None, False)), (path, name, answer.text)


def named_in_a_job(ids: dict[str, str]) -> list[dict[str, Any]]:
    return [{"thread_id": ids["thread_id"]}, {"parent_id": ids["job_id"]}, {"webhook_endpoints": [ids["endpoint_id"]]}, {"files": [ids["file_id"]]}]


async def test_a_key_is_made_shown_once_works_and_is_revoked(house: Any) -> None:
    async with house.http() as client:
        made = await client.post("/v1/keys", json={"name": "ci", "scopes": ["chat"]})
        token = made.json()["key"]
        listed = (await client.get("/v1/keys")).text
        async with house.http(token) as other:
            assert (await other.get("/v1/models")).status_code == 200
            revoked = await client.delete(f"/v1/keys/{made.json()['id']}")
            assert (await other.get("/v1/models")).status_code == 401
        again = await client.delete(f"/v1/keys/{made.json()['id']}")
    assert made.status_code == 201
    assert made.json()["id"] in listed
    assert token not in listed
    assert revoked.json()["revoked_at"] is not None
    assert again.json() == revoked.json()


async def test_a_key_is_not_made_twice_under_one_idempotency_key(house: Any) -> None:
    async with house.http() as client:
        answer = await client.post("/v1/keys", json={"name": "ci"}, headers={"idempotency-key": "k1"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")
        assert "ci" not in (await client.get("/v1/keys")).text


async def test_models_are_the_lanes_and_what_is_served(house: Any) -> None:
    async with house.openai() as client:
        names = [card.id async for card in client.models.list()]
        assert (await client.models.retrieve("auto")).id == "auto"
    assert names == ["auto", "fast", "slow", "m-slow", "m-fast"]


async def test_a_dry_run_decides_and_logs_nothing(house: Any) -> None:
    async with house.http() as client:
        forced = (await client.post("/v1/router/decide", json={"text": "hi", "lane": "slow", "effort": "max"})).json()
        spoken = (await client.post("/v1/router/decide", json={"text": "/deep 你好"})).json()
    await house.services.recorder.flush()
    assert (forced["lane"], forced["effort"], forced["override"]) == ("slow", "max", "lane")
    assert (spoken["lane"], spoken["override"]) == ("slow", "text")
    assert list(await house.storage.decisions.recent("acme", 10)) == []


async def test_health_is_public_and_readiness_names_every_component(house: Any) -> None:
    async with house.http("") as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        answer = await client.get("/readyz")
    readiness = Readiness.model_validate_json(answer.content)
    assert answer.status_code == 200
    assert readiness.state in ("ok", "degraded")
    assert set(readiness.components) == {"database", "redis", "fast_model", "slow_model", "worker", "sandbox"}
    assert readiness.components["database"].state == "ok"


async def test_a_model_that_is_away_degrades_readiness_and_no_more(open_house: Any) -> None:
    async with open_house(slow={"url": "http://127.0.0.1:9/v1"}) as house, house.http("") as client:
        await house.services.board._renew("slow_model", house.services.board._check_model(house.dependencies.slow))
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["state"]) == (200, "degraded")
    assert answer.json()["components"]["slow_model"] == {"state": "degraded", "detail": "model_unavailable"}


@pytest.mark.parametrize("is_listening", [False, True], ids=["refuses", "hangs"])
async def test_without_redis_jobs_are_accepted_at_once_and_readiness_is_degraded(open_house: Any, is_listening: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections, and never answers
        port = listener.getsockname()[1]
        if not is_listening:
            listener.close()
        async with open_house(has_redis=True, redis={"url": f"redis://127.0.0.1:{port}/0"}) as house, house.http() as client:
            await client.get("/v1/jobs")  # the first request opens the database's connection
            started = time.perf_counter()
            made = await client.post("/v1/jobs", json={"input": "x"})
            assert time.perf_counter() - started < 10, "a broker that does not answer is not waited for"
            assert made.status_code == 202
            async with asyncio.timeout(50):
                while (ready := await client.get("/readyz")).json()["components"]["redis"]["detail"] == "not probed yet":
                    await asyncio.sleep(0.1)
            assert (await client.get(f"/v1/jobs/{made.json()['id']}")).json()["status"] == "queued"
    assert (ready.status_code, ready.json()["state"], ready.json()["components"]["redis"]["state"]) == (200, "degraded", "degraded")


async def test_metrics_are_open_on_loopback(house: Any) -> None:
    async with house.http() as client:
        await client.post("/v1/chat/completions", json={"model": "fast", "messages": [{"role": "user", "content": "hi"}]})
        await client.post("/v1/jobs", json={"input": "x"})
        await client.post("/v1/responses", json={"model": "fast", "input": "hi"})
        await client.post("/v1/responses", json={"model": "slow", "input": "hi", "background": True})
        await house.services.recorder.flush()
        async with house.http("") as stranger:
            text = (await stranger.get("/metrics")).text
    assert 'tandem_requests_total{door="chat",lane="fast",status="200"} 1.0' in text
    assert 'tandem_requests_total{door="responses",lane="fast",status="200"} 1.0' in text
    assert 'tandem_requests_total{door="responses",lane="slow",status="200"} 1.0' in text
    assert 'tandem_jobs{status="queued"} 2.0' in text
    assert "tandem_ttft_seconds_count" in text


async def test_metrics_need_an_administrator_beyond_loopback(open_house: Any) -> None:
    async with open_house(gateway={"host": "0.0.0.0"}) as house:
        for token, status in [("", 401), (await house.new_token("acme", ["chat"]), 403), (house.token, 200)]:
            async with house.http(token) as client:
                assert (await client.get("/metrics")).status_code == status
