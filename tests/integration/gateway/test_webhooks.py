"""The doors of webhook endpoints and deliveries, and what goes out of the other side."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from gateway.deliveries import Deliveries
from gateway.delivery import Courier, Keyring
from tandem.egress import GuardedClient
from tandem.ids import TenantId
from tandem.ports import NewJob
from tandem.schemas.jobs import JobRequest
from tandem.telemetry.clock import SystemClock
from tandem.telemetry.metrics import new_metrics
from tandem.testing.webhook_receiver import Reply, WebhookReceiver, webhook_receiver

pytestmark = pytest.mark.integration

ENDPOINTS, DELIVERIES = "/v1/webhook_endpoints", "/v1/webhook_deliveries"
PUBLIC = "https://93.184.216.34/hook"


@pytest.fixture
async def receiver() -> AsyncGenerator[WebhookReceiver]:
    async with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
async def house(open_house: Any) -> AsyncGenerator[Any]:
    """A gateway whose operator allows loopback receivers."""
    async with open_house(egress={"allow": ["127.0.0.1"]}, webhooks={"max_endpoints": 4}) as house:
        yield house


async def create(client: httpx.AsyncClient, url: str = PUBLIC, **fields: Any) -> dict[str, Any]:
    answer = await client.post(ENDPOINTS, json={"url": url} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def code_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


async def end_a_job(house: Any, tenant: str = "acme", **request: Any) -> str:
    wanted = JobRequest.model_validate({"input": "2+2?"} | request)
    new = NewJob(id=house.dependencies.ids.job(), tenant=TenantId(tenant), key_id=None, request=wanted, effort="low", title="2+2?")
    await house.storage.jobs.create(new, max_unfinished=99)
    await house.storage.jobs.request_cancel(new.id, TenantId(tenant))
    return new.id


async def send(house: Any) -> None:
    """Be the dispatcher for a moment."""
    settings = house.settings
    courier = Courier(GuardedClient(settings.egress), Keyring.load(settings), SystemClock(), disable_after_s=1e9)
    deliveries = Deliveries(house.storage.outbox, courier, SystemClock(), new_metrics(), settings)
    await deliveries.sweep()
    await deliveries.finish(10)


async def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(house: Any) -> None:
    async with house.http() as client:
        answer = await client.post(ENDPOINTS, json={"url": PUBLIC, "description": "CI", "events": ["response.failed", "response.failed"]})
        made = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (201, f"{ENDPOINTS}/{made['id']}")
        assert made["secret"].startswith("whsec_")
        assert (made["events"], made["signing"], made["is_enabled"], made["public_key"]) == (["response.failed"], "hmac", True, None)
        read = (await client.get(f"{ENDPOINTS}/{made['id']}")).json()
        assert read == {key: value for key, value in made.items() if key != "secret"}
        assert "secret" not in (await client.get(ENDPOINTS)).text.replace("old_secret_until", "")


async def test_an_ed25519_endpoint_shows_its_public_key_only(house: Any) -> None:
    async with house.http() as client:
        made = await create(client, signing="ed25519")
        assert (made["secret"], made["public_key"][:5]) == (None, "whpk_")
        assert (await client.get(f"{ENDPOINTS}/{made['id']}")).json()["public_key"] == made["public_key"]
        (listed,) = (await client.get(ENDPOINTS)).json()["data"]
        assert listed["public_key"] == made["public_key"]
        changed = (await client.patch(f"{ENDPOINTS}/{made['id']}", json={"description": "x"})).json()
        assert (changed["public_key"], changed["description"]) == (made["public_key"], "x")


async def test_a_repeated_creation_shows_the_same_endpoint_and_secret(house: Any) -> None:
    async with house.http() as client:
        key = {"idempotency-key": "once"}
        first = await client.post(ENDPOINTS, json={"url": PUBLIC}, headers=key)
        again = await client.post(ENDPOINTS, json={"url": PUBLIC}, headers=key)
        assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (201, first.json(), "true")
        other = await client.post(ENDPOINTS, json={"url": PUBLIC, "description": "other"}, headers=key)
        assert code_of(other) == (422, "idempotency_key_reused", None)
        assert len((await client.get(ENDPOINTS)).json()["data"]) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.7/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1]/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://nobody.invalid/",
        "http://93.184.216.34/",
        "https://93.184.216.34:22/",
        "https://user:password@93.184.216.34/",
        "ftp://93.184.216.34/",
        "not a url",
    ],
)
async def test_a_forbidden_address_is_refused_when_registered_and_when_changed(url: str, house: Any) -> None:
    async with house.http() as client:
        assert code_of(await client.post(ENDPOINTS, json={"url": url})) == (400, "egress_denied", "url")
        made = await create(client)
        assert code_of(await client.patch(f"{ENDPOINTS}/{made['id']}", json={"url": url})) == (400, "egress_denied", "url")
        assert (await client.get(f"{ENDPOINTS}/{made['id']}")).json()["url"] == PUBLIC


async def test_a_name_with_a_private_address_is_refused(open_house: Any) -> None:
    async with open_house() as house, house.http() as client:
        assert code_of(await client.post(ENDPOINTS, json={"url": "https://localhost/"})) == (400, "egress_denied", "url")


async def test_a_tenant_may_have_so_many_endpoints(house: Any) -> None:
    async with house.http() as client:
        for _ in range(4):
            await create(client)
        assert code_of(await client.post(ENDPOINTS, json={"url": PUBLIC})) == (429, "too_many_requests", None)


async def test_listings_are_paged_newest_first(house: Any) -> None:
    async with house.http() as client:
        made = [(await create(client, description=str(number)))["id"] for number in range(3)]
        page = (await client.get(ENDPOINTS, params={"limit": 2})).json()
        assert [each["id"] for each in page["data"]] == [made[2], made[1]]
        rest = (await client.get(ENDPOINTS, params={"after": page["next_after"]})).json()
        assert ([each["id"] for each in rest["data"]], rest["next_after"]) == ([made[0]], None)


async def test_another_tenant_sees_and_does_nothing(house: Any, receiver: WebhookReceiver) -> None:
    async with house.http() as client, house.http(house.other_token) as rival:
        made = await create(client, receiver.url)
        await end_a_job(house)
        (delivery,) = (await client.get(DELIVERIES)).json()["data"]
        endpoint, log = f"{ENDPOINTS}/{made['id']}", f"{DELIVERIES}/{delivery['id']}"
        answers = [
            await rival.get(endpoint),
            await rival.patch(endpoint, json={"description": "x"}),
            await rival.delete(endpoint),
            await rival.post(f"{endpoint}/rotate_secret"),
            await rival.post(f"{endpoint}/test"),
            await rival.post(f"{endpoint}/recover", json={"since": "2026-01-01T00:00:00Z"}),
            await rival.get(log),
            await rival.post(f"{log}/retry"),
        ]
        assert {(code_of(answer))[:2] for answer in answers} == {(404, "not_found")}
        assert [(await rival.get(door)).json()["data"] for door in (ENDPOINTS, DELIVERIES)] == [[], []]
        assert (await rival.get(DELIVERIES, params={"endpoint_id": made["id"]})).json()["data"] == []
        await end_a_job(house, "rival")
        await send(house)
        assert len(receiver.received) == 1


async def test_a_reader_may_read_and_not_write(house: Any) -> None:
    async with house.http() as client, house.http(await house.new_token("acme", ["jobs:read"])) as reader:
        endpoint = f"{ENDPOINTS}/{(await create(client))['id']}"
        assert {(await reader.get(door)).status_code for door in (ENDPOINTS, endpoint, DELIVERIES)} == {200}
        answers = [
            await reader.post(ENDPOINTS, json={"url": PUBLIC}),
            await reader.patch(endpoint, json={"description": "x"}),
            await reader.delete(endpoint),
            await reader.post(f"{endpoint}/rotate_secret"),
            await reader.post(f"{endpoint}/test"),
            await reader.post(f"{endpoint}/recover", json={"since": "2026-01-01T00:00:00Z"}),
            await reader.post(f"{DELIVERIES}/dlv_{'0' * 26}/retry"),
        ]
        assert {answer.status_code for answer in answers} == {403}


async def test_a_test_is_delivered_and_its_log_tells_how_it_went(house: Any, receiver: WebhookReceiver) -> None:
    receiver.replies = [Reply(500, body=b"not yet")]
    async with house.http() as client:
        made = await create(client, receiver.url)
        queued = await client.post(f"{ENDPOINTS}/{made['id']}/test")
        assert (queued.status_code, queued.json()["state"], queued.json()["type"]) == (202, "pending", "webhook_endpoint.test")
        await send(house)
        log = (await client.get(f"{DELIVERIES}/{queued.json()['id']}")).json()
        (attempt,) = log["attempts"]
        assert (attempt["number"], attempt["status_code"], attempt["reason"], attempt["answer"]) == (1, 500, "http_500", "not yet")
        assert (await client.get(f"{ENDPOINTS}/{made['id']}")).json()["failing_since"] is not None
        again = await client.post(f"{DELIVERIES}/{queued.json()['id']}/retry")
        assert (again.status_code, again.json()["state"]) == (202, "pending")
        await send(house)
        assert (await client.get(f"{DELIVERIES}/{queued.json()['id']}")).json()["state"] == "delivered"
        assert receiver.ids == [queued.json()["id"]] * 2
        event = Webhook(made["secret"]).verify(receiver.received[-1].body, dict(receiver.received[-1].headers))
        assert event["data"] == {"endpoint_id": made["id"]}


async def test_a_rotation_shows_the_new_secret_and_both_sign(house: Any, receiver: WebhookReceiver) -> None:
    async with house.http() as client:
        made = await create(client, receiver.url)
        rotated = (await client.post(f"{ENDPOINTS}/{made['id']}/rotate_secret", headers={"idempotency-key": "r"})).json()
        again = await client.post(f"{ENDPOINTS}/{made['id']}/rotate_secret", headers={"idempotency-key": "r"})
        assert (again.json(), again.headers["idempotent-replayed"]) == (rotated, "true")
        assert rotated["secret"] != made["secret"]
        assert rotated["old_secret_until"] is not None
        await end_a_job(house)
        await send(house)
        for secret in (made["secret"], rotated["secret"]):
            Webhook(secret).verify(receiver.received[0].body, dict(receiver.received[0].headers))
        revoked = (await client.post(f"{ENDPOINTS}/{made['id']}/rotate_secret", json={"overlap_seconds": 0})).json()
        assert revoked["old_secret_until"] is None
        await end_a_job(house)
        await send(house)
        assert receiver.received[1].headers["webhook-signature"].count("v1,") == 1


async def test_a_disabled_endpoint_misses_webhooks_until_it_recovers(house: Any, receiver: WebhookReceiver) -> None:
    async with house.http() as client:
        made = await create(client, receiver.url)
        endpoint = f"{ENDPOINTS}/{made['id']}"
        await end_a_job(house)
        off = (await client.patch(endpoint, json={"is_enabled": False})).json()
        assert (off["is_enabled"], off["disabled_reason"]) == (False, "by_hand")
        (missed,) = (await client.get(DELIVERIES, params={"state": "failed", "endpoint_id": made["id"]})).json()["data"]
        assert missed["reason"] == "endpoint_disabled"
        since = {"since": made["created_at"]}
        refused = [
            await client.post(f"{endpoint}/test"),
            await client.post(f"{endpoint}/recover", json=since),
            await client.post(f"{DELIVERIES}/{missed['id']}/retry"),
        ]
        assert {(code_of(answer))[:2] for answer in refused} == {(409, "conflict")}
        await client.patch(endpoint, json={"is_enabled": True})
        recovered = await client.post(f"{endpoint}/recover", json=since)
        assert (recovered.status_code, recovered.json()) == (202, {"object": "recovery", "deliveries": 1})
        await send(house)
        assert receiver.ids == [missed["id"]]


async def test_a_removed_endpoint_is_gone_and_its_log_stays(house: Any) -> None:
    async with house.http() as client:
        made = await create(client)
        await end_a_job(house)
        assert (await client.delete(f"{ENDPOINTS}/{made['id']}")).status_code == 204
        assert (await client.get(f"{ENDPOINTS}/{made['id']}")).status_code == 404
        (left,) = (await client.get(DELIVERIES, params={"endpoint_id": made["id"]})).json()["data"]
        assert (left["state"], left["reason"]) == ("failed", "endpoint_removed")


async def test_the_log_is_filtered_by_job_and_paged(house: Any) -> None:
    async with house.http() as client:
        await create(client)
        jobs = [await end_a_job(house) for _ in range(3)]
        (only,) = (await client.get(DELIVERIES, params={"job_id": jobs[0]})).json()["data"]
        assert (only["job_id"], only["attempts"]) == (jobs[0], [])
        page = (await client.get(DELIVERIES, params={"limit": 2, "state": "pending"})).json()
        rest = (await client.get(DELIVERIES, params={"after": page["next_after"]})).json()
        assert [each["job_id"] for each in [*page["data"], *rest["data"]]] == jobs[::-1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", ENDPOINTS, {}, 400),
        ("POST", ENDPOINTS, {"url": PUBLIC, "events": ["response.exploded"]}, 400),
        ("POST", ENDPOINTS, {"url": PUBLIC, "signing": "rsa"}, 400),
        ("POST", ENDPOINTS, {"url": PUBLIC, "secret": "mine"}, 400),
        ("POST", ENDPOINTS, {"url": f"https://93.184.216.34/{'x' * 3000}"}, 400),
        ("GET", f"{ENDPOINTS}/whe_1", None, 404),
        ("GET", f"{ENDPOINTS}/whe_{'0' * 26}", None, 404),
        ("GET", f"{ENDPOINTS}?after=whe_{'0' * 26}", None, 404),
        ("GET", f"{DELIVERIES}?state=lost", None, 400),
        ("GET", f"{DELIVERIES}?job_id=x", None, 404),
        ("GET", f"{DELIVERIES}/dlv_{'0' * 26}", None, 404),
        ("POST", f"{DELIVERIES}/dlv_{'0' * 26}/retry", None, 404),
    ],
)
async def test_what_makes_no_sense_is_refused(method: str, path: str, body: Any, status: int, house: Any) -> None:
    async with house.http() as client:
        answer = await client.request(method, path, json=body)
        assert (answer.status_code, set(answer.json())) == (status, {"error"})


@pytest.mark.parametrize("body", [{}, {"since": "2026-01-01T00:00:00"}, {"since": "yesterday"}])
async def test_a_recovery_needs_a_moment_with_its_zone(body: Any, house: Any) -> None:
    async with house.http() as client:
        made = await create(client)
        assert (await client.post(f"{ENDPOINTS}/{made['id']}/recover", json=body)).status_code == 400


async def test_a_change_of_nothing_is_refused(house: Any) -> None:
    async with house.http() as client:
        made = await create(client)
        assert code_of(await client.patch(f"{ENDPOINTS}/{made['id']}", json={})) == (400, "invalid_request", None)
