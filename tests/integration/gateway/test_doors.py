"""All doors at once: who may come in, what a stranger sees, keys, health, metrics."""

from typing import Any

import pytest
from fastapi.routing import APIRoute

from gateway.app import METRICS_PATH, PUBLIC_PATHS, create_api
from gateway.routes.common import Needs
from tandem.schemas.errors import ErrorBody
from tandem.schemas.health import Readiness

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
IDS = {"job_id": "job_", "thread_id": "thr_", "turn_id": "trn_", "key_id": "key_", "model": "auto"}
BODIES: dict[str, Any] = {"/v1/threads/{thread_id}/messages": {"content": "hi"}, "/v1/threads": {}, "/v1/keys": {"name": "k"}}


def doors() -> list[tuple[str, str, APIRoute]]:
    def routes(owner: Any) -> list[APIRoute]:
        found: list[APIRoute] = []
        for route in owner.routes:
            found += [route] if isinstance(route, APIRoute) else routes(route.original_router) if hasattr(route, "original_router") else []
        return found

    return [(method, route.path, route) for route in routes(create_api()) for method in sorted(route.methods or ())]


def filled(path: str) -> str:
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
    ]
    for token, method, path, body in cases:
        async with house.http(token) as client:
            answer = await client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied"), (method, path)


@both_databases
async def test_one_tenant_sees_nothing_of_another_at_any_door(house: Any) -> None:
    async with house.http() as mine:
        job = (await mine.post("/v1/jobs", json={"input": "secret plan", "metadata": {"m": "secret"}})).json()
        thread = (await mine.post("/v1/threads", json={"title": "secret"})).json()
        turn = (await mine.post(f"/v1/threads/{thread['id']}/messages", json={"content": "secret words"})).json()
        key = (await mine.post("/v1/keys", json={"name": "secret key"})).json()
    ids = {"job_id": job["id"], "thread_id": thread["id"], "turn_id": turn["id"], "key_id": key["id"], "model": "auto"}
    async with house.http(house.other_token) as theirs:
        for method, template, _ in doors():
            path = template.replace(":path", "").format(**ids)
            body = BODIES.get(template, {"input": "mine", "thread_id": thread["id"]} if template == "/v1/jobs" else {"text": "x"})
            answer = await theirs.request(method, path, json=None if method == "GET" else body)
            assert "secret" not in answer.text, (method, template)
            if any(f"{{{name}}}" in template for name in ("job_id", "thread_id", "key_id")) or (method, template) == ("POST", "/v1/jobs"):
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), (method, template)
        assert (await theirs.get(f"/v1/jobs/{job['id']}/events", headers={"accept": "text/event-stream"})).status_code == 404
    assert (await house.storage.jobs.get(job["id"], "acme")).status.value == "queued"
    assert (await house.storage.keys.find(key["id"]))[0].revoked_at is None


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
    assert set(readiness.components) == {"database", "redis", "fast_model", "slow_model", "worker"}
    assert readiness.components["database"].state == "ok"


async def test_a_model_that_is_away_degrades_readiness_and_no_more(open_house: Any) -> None:
    async with open_house(slow={"url": "http://127.0.0.1:9/v1"}) as house, house.http("") as client:
        await house.services.board._renew("slow_model", house.services.board._check_model(house.dependencies.slow))
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["state"]) == (200, "degraded")
    assert answer.json()["components"]["slow_model"] == {"state": "degraded", "detail": "model_unavailable"}


async def test_metrics_are_open_on_loopback(house: Any) -> None:
    async with house.http() as client:
        await client.post("/v1/chat/completions", json={"model": "fast", "messages": [{"role": "user", "content": "hi"}]})
        await client.post("/v1/jobs", json={"input": "x"})
        await house.services.recorder.flush()
        async with house.http("") as stranger:
            text = (await stranger.get("/metrics")).text
    assert 'tandem_requests_total{door="chat",lane="fast",status="200"} 1.0' in text
    assert 'tandem_jobs{status="queued"} 1.0' in text
    assert "tandem_ttft_seconds_count" in text


async def test_metrics_need_an_administrator_beyond_loopback(open_house: Any) -> None:
    async with open_house(gateway={"host": "0.0.0.0"}) as house:
        for token, status in [("", 401), (await house.new_token("acme", ["chat"]), 403), (house.token, 200)]:
            async with house.http(token) as client:
                assert (await client.get("/metrics")).status_code == status
