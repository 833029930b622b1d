"""Webhooks of endpoints, from the database through a real socket to a receiver that behaves or does not, over days that pass in a moment."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from openai import InvalidWebhookSignatureError, OpenAI
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.deliveries import LEASE_MARGIN_S, Deliveries
from gateway.delivery import UNREADABLE_S, Courier, Keyring
from tandem.egress import GuardedClient
from tandem.ids import DEFAULT_TENANT, DeliveryId, EndpointId, IdFactory, JobId
from tandem.ports import NewJob, Storage
from tandem.schemas.jobs import JobRequest
from tandem.schemas.webhooks import EndpointChange, EndpointCreate, Signing, WebhookDelivery, WebhookEndpoint, WebhookType
from tandem.secrets import load_pepper, seal
from tandem.settings import DispatcherSettings, EgressSettings, RedisSettings, Settings
from tandem.storage import open_storage
from tandem.telemetry.clock import SystemClock
from tandem.telemetry.metrics import new_metrics
from tandem.testing.time_travel import let_pass
from tandem.testing.webhook_receiver import Received, Reply, WebhookReceiver, webhook_receiver
from tandem.webhooks import RETRY_DELAYS_S, new_secret, parse_verifying_key, public_key, verify

pytestmark = pytest.mark.integration

IDS = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)
TIMEOUT_S = 1.0
HOUR_S = 3_600.0
ROUNDING_S = 30.0
"""Largest error of a moment in these tests: what the tests themselves take."""


@dataclass
class World:
    """A database, a dispatcher's hands, and the receivers they may reach."""

    settings: Settings
    storage: Storage
    receiver: WebhookReceiver

    async def endpoint(
        self, url: str | None = None, signing: Signing = "hmac", events: Sequence[WebhookType] = (), pepper: bytes | None = None
    ) -> tuple[EndpointId, str]:
        """An endpoint and its secret."""
        endpoint_id, secret = IDS.endpoint(), new_secret(signing)
        sealed = seal(load_pepper(self.settings) if pepper is None else pepper, endpoint_id, secret)
        new = EndpointCreate(url=url or self.receiver.url, signing=signing, events=list(events))
        await self.storage.webhooks.add(endpoint_id, DEFAULT_TENANT, new, sealed, max_endpoints=99)
        return endpoint_id, secret

    async def ended_job(self, **request: Any) -> JobId:
        wanted = JobRequest.model_validate({"input": "2+2?"} | request)
        new = NewJob(id=IDS.job(), tenant=DEFAULT_TENANT, key_id=None, request=wanted, effort="low", title="2+2?")
        await self.storage.jobs.create(new, max_unfinished=999)
        await self.storage.jobs.request_cancel(new.id, DEFAULT_TENANT)
        return new.id

    def deliveries(self, client: GuardedClient | None = None) -> Deliveries:
        settings = self.settings
        courier = Courier(
            client or GuardedClient(settings.egress),
            Keyring.load(settings),
            SystemClock(),
            disable_after_s=settings.webhooks.disable_after_s,
            jitter=lambda: 0.0,
        )
        return Deliveries(self.storage.outbox, courier, SystemClock(), new_metrics(), settings)

    async def send(self, client: GuardedClient | None = None) -> None:
        """Send what is due."""
        deliveries = self.deliveries(client)
        await deliveries.sweep()
        await deliveries.finish(10)

    async def let_pass(self, seconds: float) -> None:
        await let_pass(self.settings.database_url, seconds)

    async def log(self, endpoint_id: EndpointId | None = None) -> list[WebhookDelivery]:
        """All deliveries, oldest first, with their attempts."""
        webhooks = self.storage.webhooks
        found = await webhooks.deliveries(DEFAULT_TENANT, endpoint_id=endpoint_id, job_id=None, state=None, after=None, limit=100)
        return [await webhooks.delivery(DeliveryId(each.id), DEFAULT_TENANT) for each in reversed(found)]

    async def only(self) -> WebhookDelivery:
        (delivery,) = await self.log()
        return delivery

    async def health(self, endpoint_id: EndpointId) -> WebhookEndpoint:
        return (await self.storage.webhooks.get(endpoint_id, DEFAULT_TENANT))[0]


@asynccontextmanager
async def world_at(home: Path, receiver: WebhookReceiver, *, allow: Sequence[str] = ("127.0.0.1",)) -> AsyncGenerator[World]:
    settings = Settings(
        home=home,
        redis=RedisSettings(port=1),  # nobody listens: a hint is a hint
        dispatcher=DispatcherSettings(poll_s=0.05),
        egress=EgressSettings(allow=list(allow), timeout_s=TIMEOUT_S),
    )
    storage = open_storage(settings)
    try:
        await storage.migrate()
        yield World(settings, storage, receiver)
    finally:
        await storage.close()


@pytest.fixture
async def receiver() -> AsyncGenerator[WebhookReceiver]:
    async with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
async def world(tmp_path: Path, receiver: WebhookReceiver) -> AsyncGenerator[World]:
    async with world_at(tmp_path, receiver) as world:
        yield world


def next_in_s(delivery: WebhookDelivery) -> float:
    assert delivery.next_attempt_at is not None
    return (delivery.next_attempt_at - datetime.now(UTC)).total_seconds()


def is_verified(secret: str, received: Received) -> bool:
    """Whether both foreign verifiers accept it; they must agree."""
    try:
        Webhook(secret).verify(received.body, dict(received.headers))
        is_standard = True
    except WebhookVerificationError:
        is_standard = False
    try:
        OpenAI(api_key="none").webhooks.unwrap(received.body.decode(), dict(received.headers), secret=secret)
        is_openai = True
    except InvalidWebhookSignatureError:
        is_openai = False
    assert is_standard == is_openai
    return is_standard


async def test_an_endpoint_gets_a_webhook_that_its_own_secret_verifies(world: World) -> None:
    endpoint_id, secret = await world.endpoint()
    job_id = await world.ended_job(metadata={"ticket": "7"})
    await world.send()
    (received,) = world.receiver.received
    event = Webhook(secret).verify(received.body, dict(received.headers))
    assert (event["type"], event["data"]["job_id"], event["data"]["metadata"]) == ("response.cancelled", job_id, {"ticket": "7"})
    assert is_verified(secret, received)
    assert not is_verified(new_secret("hmac"), received)
    delivery = await world.only()
    assert (delivery.state, delivery.endpoint_id, delivery.id) == ("delivered", endpoint_id, received.headers["webhook-id"])


async def test_an_ed25519_endpoint_is_verified_with_its_public_key(world: World) -> None:
    _, secret = await world.endpoint(signing="ed25519")
    await world.ended_job()
    await world.send()
    (received,) = world.receiver.received
    assert received.headers["webhook-signature"].startswith("v1a,")
    assert verify([parse_verifying_key(public_key(secret) or "")], received.headers, received.body, time.time()) == received.headers["webhook-id"]


async def test_the_whole_schedule_is_ten_attempts_over_three_days(world: World) -> None:
    await world.endpoint()
    world.receiver.otherwise = Reply(500, body=b"down for maintenance")
    await world.ended_job()
    for number, delay_s in enumerate((*RETRY_DELAYS_S[1:], None), start=1):
        await world.send()
        delivery = await world.only()
        assert (delivery.tries, len(delivery.attempts)) == (number, number)
        if delay_s is not None:
            assert next_in_s(delivery) == pytest.approx(delay_s, abs=ROUNDING_S)
            await world.let_pass(delay_s)
    delivery = await world.only()
    assert (delivery.state, delivery.reason, delivery.next_attempt_at) == ("failed", "http_500", None)
    took = delivery.attempts[-1].at - delivery.created_at
    assert took.total_seconds() == pytest.approx(sum(RETRY_DELAYS_S), abs=ROUNDING_S)
    assert took > timedelta(hours=75)
    assert len(set(world.receiver.ids)) == len({each.body for each in world.receiver.received}) == 1
    assert {each.answer for each in delivery.attempts} == {"down for maintenance"}


async def test_a_receiver_that_is_down_for_an_hour_misses_nothing(world: World) -> None:
    endpoint_id, _ = await world.endpoint()
    jobs = {await world.ended_job() for _ in range(3)}
    await world.receiver.stop()
    for delay_s in RETRY_DELAYS_S[1:4]:
        await world.send()
        assert (await world.health(endpoint_id)).failing_since is not None
        await world.let_pass(delay_s)
    await world.send()
    await world.let_pass(HOUR_S - sum(RETRY_DELAYS_S[1:4]))
    await world.receiver.start()
    await world.let_pass(RETRY_DELAYS_S[4])
    await world.send()
    log = await world.log()
    assert {each.job_id for each in log} == jobs
    assert [(each.state, [attempt.reason for attempt in each.attempts]) for each in log] == [
        ("delivered", ["connection_failed"] * 4 + ["http_200"])
    ] * 3
    assert sorted(world.receiver.ids) == sorted(each.id for each in log)
    endpoint = await world.health(endpoint_id)
    assert (endpoint.is_enabled, endpoint.failing_since) == (True, None)


async def test_a_redirect_to_a_private_address_is_not_followed(world: World) -> None:
    async with webhook_receiver() as inner:
        world.receiver.replies = [Reply(301, {"Location": inner.url}), Reply(302, {"Location": "http://169.254.169.254/"})]
        await world.endpoint()
        await world.ended_job()
        await world.send()
        await world.let_pass(RETRY_DELAYS_S[1])
        await world.send()
        delivery = await world.only()
        assert ([each.reason for each in delivery.attempts], delivery.state) == (["http_301", "http_302"], "pending")
        assert inner.received == []


async def test_a_receiver_that_is_gone_is_disabled_and_the_others_hear_of_it(world: World) -> None:
    async with webhook_receiver() as other:
        gone, _ = await world.endpoint()
        _, secret = await world.endpoint(other.url, events=["webhook_endpoint.disabled"])
        world.receiver.otherwise = Reply(410)
        await world.ended_job()
        await world.send()
        endpoint = await world.health(gone)
        assert (endpoint.is_enabled, endpoint.disabled_reason) == (False, "gone")
        await world.ended_job()
        await world.send()
        assert len(world.receiver.received) == 1
        (told,) = other.received
        event = Webhook(secret).verify(told.body, dict(told.headers))
        assert (event["type"], event["data"]) == ("webhook_endpoint.disabled", {"endpoint_id": gone, "reason": "gone"})


async def test_five_days_of_failures_disable_an_endpoint_and_it_can_be_recovered(world: World) -> None:
    endpoint_id, _ = await world.endpoint()
    world.receiver.otherwise = Reply(503)
    await world.ended_job()
    await world.send()
    await world.let_pass(119 * HOUR_S)
    await world.ended_job()
    await world.send()
    assert (await world.health(endpoint_id)).is_enabled
    await world.let_pass(2 * HOUR_S)
    await world.send()
    endpoint = await world.health(endpoint_id)
    assert (endpoint.is_enabled, endpoint.disabled_reason) == (False, "failing")
    assert {(each.state, each.reason) for each in await world.log()} == {("failed", "endpoint_disabled")}
    world.receiver.otherwise = Reply(200)
    await world.storage.webhooks.change(endpoint_id, DEFAULT_TENANT, EndpointChange(is_enabled=True))
    assert await world.storage.webhooks.recover(endpoint_id, DEFAULT_TENANT, datetime.now(UTC) - timedelta(days=30)) == 2
    await world.send()
    assert {each.state for each in await world.log()} == {"delivered"}
    assert set(world.receiver.ids) == {each.id for each in await world.log()}


async def test_a_crowded_receiver_is_given_the_time_it_asks_for(world: World) -> None:
    world.receiver.replies = [Reply(429, {"Retry-After": "120"})]
    await world.endpoint()
    await world.ended_job()
    await world.send()
    assert next_in_s(await world.only()) == pytest.approx(120, abs=ROUNDING_S)
    await world.let_pass(90 - ROUNDING_S)
    await world.send()
    assert len(world.receiver.received) == 1
    await world.let_pass(30 + ROUNDING_S)
    await world.send()
    assert (await world.only()).state == "delivered"


@pytest.mark.parametrize("reply", [Reply(is_silent=True), Reply(is_dripping=True)], ids=["silent", "slow-loris"])
async def test_a_receiver_that_never_ends_is_cut_off(reply: Reply, world: World) -> None:
    world.receiver.replies = [reply]
    await world.endpoint()
    await world.ended_job()
    await world.send()
    (attempt,) = (await world.only()).attempts
    assert (attempt.reason, attempt.status_code) == ("timeout", None)
    assert attempt.seconds >= TIMEOUT_S - 0.1  # and not for ever, which is how long this receiver takes


async def test_a_huge_answer_is_read_only_at_its_beginning(world: World) -> None:
    size = 256 * 1024 * 1024
    world.receiver.replies = [Reply(200, endless_bytes=size)]
    await world.endpoint()
    await world.ended_job()
    await world.send()
    (attempt,) = (await world.only()).attempts
    assert (attempt.reason, len(attempt.answer)) == ("http_200", 4_096)
    assert world.receiver.sent_bytes < size / 8


async def test_a_slow_receiver_gets_four_at_once_and_the_others_are_served(world: World) -> None:
    async with webhook_receiver() as quick:
        world.receiver.otherwise = Reply(is_silent=True)
        await world.endpoint()
        await world.endpoint(quick.url)
        for _ in range(12):
            await world.ended_job()
        deliveries = world.deliveries()
        async with asyncio.timeout(50):
            while len(quick.received) < 12:
                await deliveries.sweep()
        assert world.receiver.most_at_once == 4
        assert quick.most_at_once <= 4
        await deliveries.finish(0)


async def test_both_secrets_verify_while_a_rotation_in_the_middle_of_a_retry_lasts(world: World) -> None:
    endpoint_id, old = await world.endpoint()
    world.receiver.replies = [Reply(500)]
    await world.ended_job()
    await world.send()
    new = new_secret("hmac")
    sealed = seal(load_pepper(world.settings), endpoint_id, new)
    await world.storage.webhooks.rotate(endpoint_id, DEFAULT_TENANT, sealed, world.settings.webhooks.rotation_s)
    await world.let_pass(RETRY_DELAYS_S[1])
    await world.send()
    before, during = world.receiver.received
    assert (is_verified(old, before), is_verified(new, before)) == (True, False)
    assert (is_verified(old, during), is_verified(new, during)) == (True, True)
    assert before.headers["webhook-id"] == during.headers["webhook-id"]
    await world.let_pass(25 * HOUR_S)
    await world.ended_job()
    await world.send()
    after = world.receiver.received[-1]
    assert (is_verified(old, after), is_verified(new, after)) == (False, True)


async def test_a_secret_sealed_under_another_pepper_keeps_its_webhooks_waiting(world: World) -> None:
    endpoint_id, secret = await world.endpoint(pepper=b"of another installation")
    await world.ended_job()
    await world.send()
    delivery = await world.only()
    assert (world.receiver.received, delivery.state, delivery.tries) == ([], "pending", 0)
    assert (await world.health(endpoint_id)).failing_since is None
    await world.storage.webhooks.rotate(endpoint_id, DEFAULT_TENANT, seal(load_pepper(world.settings), endpoint_id, secret), 0)
    await world.let_pass(UNREADABLE_S)
    await world.send()
    assert is_verified(secret, world.receiver.received[0])


FORBIDDEN = [
    "https://127.0.0.1/",
    "https://10.0.0.7/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://localhost/",
    "https://private.example/",
    "https://mixed.example/",
    "http://public.example/",
    "https://public.example:22/",
    "https://user:password@public.example/",
]
NAMES = {
    "localhost": ["127.0.0.1"],
    "private.example": ["192.168.1.1"],
    "mixed.example": ["93.184.216.34", "10.0.0.1"],
    "public.example": ["93.184.216.34"],
}


async def resolve(host: str, port: int) -> Sequence[str]:
    return NAMES[host]


@pytest.mark.parametrize("url", FORBIDDEN)
async def test_a_forbidden_address_is_refused_at_each_send(url: str, tmp_path: Path, receiver: WebhookReceiver) -> None:
    async with world_at(tmp_path, receiver, allow=()) as world:
        await world.endpoint(url)
        await world.ended_job()
        await world.send(GuardedClient(world.settings.egress, resolver=resolve))
        (attempt,) = (await world.only()).attempts
        assert (attempt.reason, attempt.answer) == ("egress_denied", "")


async def test_a_name_that_turns_private_after_its_registration_is_refused(tmp_path: Path, receiver: WebhookReceiver) -> None:
    answers = [["93.184.216.34"], ["127.0.0.1"]]

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    async with world_at(tmp_path, receiver, allow=()) as world:
        await rebinding("rebinding.example", 443)  # what the registration saw
        await world.endpoint("https://rebinding.example/")
        await world.ended_job()
        await world.send(GuardedClient(world.settings.egress, resolver=rebinding))
        assert (await world.only()).reason == "egress_denied"


async def test_a_dispatcher_killed_between_sending_and_recording_sends_again_with_the_same_id(world: World, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")} | {
        "TANDEM_HOME": str(tmp_path),
        "TANDEM_EGRESS_ALLOW": "127.0.0.1",
        "TANDEM_EGRESS_TIMEOUT_S": str(TIMEOUT_S),
        "TANDEM_REDIS_PORT": "1",
    }
    _, secret = await world.endpoint()
    await world.ended_job()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "gateway.dispatcher"], env=environment, cwd=Path(__file__).parents[2], stderr=log)
    world.receiver.when_received = lambda: os.kill(process.pid, signal.SIGKILL)
    try:
        assert await asyncio.to_thread(process.wait, 30) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
    world.receiver.when_received = lambda: None
    left = await world.only()
    assert (left.state, left.tries, left.attempts) == ("pending", 1, [])
    await world.send()
    assert len(world.receiver.received) == 1, "its lease holds"
    await world.let_pass(TIMEOUT_S + LEASE_MARGIN_S)
    await world.send()
    first, second = world.receiver.received
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert is_verified(secret, second)
    delivery = await world.only()
    assert (delivery.state, [each.number for each in delivery.attempts]) == ("delivered", [2])
