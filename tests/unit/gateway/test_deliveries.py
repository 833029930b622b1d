"""Webhooks in flight: places in all and per receiver, throttling, stopping."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from gateway.deliveries import MAX_PAUSE_S, Deliveries, Receivers
from gateway.delivery import Courier, Verdict
from tandem.errors import StorageUnavailable
from tandem.ids import DeliveryId, JobId, TenantId
from tandem.ports import Answered, Delivery, Outbox
from tandem.settings import DispatcherSettings, EgressSettings, Settings, WebhookSettings
from tandem.telemetry.metrics import new_metrics
from tandem.testing.clock import FakeClock

DELIVERED = Verdict("delivered", Answered("http_200", 200))


class ScriptedOutbox:
    """Gives out what is due, as far as it is asked for."""

    def __init__(self) -> None:
        self.due: list[Delivery] = []
        self.claims: list[tuple[int, float, int]] = []
        self.deferred: list[Delivery] = []
        self.is_heedless = False

    async def claim(self, limit: int, lease_s: float, *, per_receiver: int = 32, room: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        self.claims.append((limit, lease_s, per_receiver))
        left = {} if self.is_heedless else dict(room or {})
        claimed: list[Delivery] = []
        for each in list(self.due):
            places = left.get(each.url, per_receiver)
            if places > 0 and len(claimed) < limit:
                left[each.url] = places - 1
                claimed.append(each)
                self.due.remove(each)
        return claimed

    async def defer(self, delivery: Delivery, after_s: float) -> None:
        self.deferred.append(delivery)


class ScriptedCourier(Courier):
    """Delivers when the receiver's gate is open."""

    def __init__(self) -> None:
        self.shut: dict[str, asyncio.Event] = {}
        self.fault: Exception | None = None
        self.verdict = DELIVERED
        self.running: list[str] = []
        self.most = 0
        self.done: list[str] = []

    async def deliver(self, delivery: Delivery, outbox: Outbox) -> Verdict:
        self.running.append(delivery.url)
        self.most = max(self.most, len(self.running))
        try:
            await asyncio.sleep(0)
            if delivery.url in self.shut:
                await self.shut[delivery.url].wait()
            if self.fault:
                raise self.fault
            self.done.append(delivery.id)
            return self.verdict
        finally:
            self.running.remove(delivery.url)


class Room:
    """A dispatcher's surroundings."""

    def __init__(self, home: Path) -> None:
        self.outbox = ScriptedOutbox()
        self.courier = ScriptedCourier()
        self.metrics = new_metrics()
        self.clock = FakeClock()
        self.settings = Settings(
            home=home,
            dispatcher=DispatcherSettings(poll_s=0.01),
            egress=EgressSettings(timeout_s=20),
            webhooks=WebhookSettings(endpoint_concurrency=3),
        )

    def deliveries(self, max_concurrent: int = 32) -> Deliveries:
        return Deliveries(cast("Outbox", self.outbox), self.courier, self.clock, self.metrics, self.settings, max_concurrent)

    def value(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("tandem_webhook_attempts_total", {"outcome": outcome}) or 0


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def delivery(number: int, url: str | None = None) -> Delivery:
    return Delivery(DeliveryId(f"dlv_{number}"), JobId("job_1"), TenantId("default"), url or f"https://r{number}.example/", b"{}", 1)


async def test_a_sweep_goes_on_as_places_become_free(room: Room) -> None:
    room.outbox.due = [delivery(number, "https://one.example/") for number in range(20)]
    deliveries = room.deliveries()
    await deliveries.sweep()
    await deliveries.finish(5)
    assert (len(room.courier.done), room.courier.most, room.value("delivered")) == (20, 3, 20)
    assert not room.outbox.deferred


async def test_no_more_deliveries_run_at_once_than_there_are_places(room: Room) -> None:
    room.outbox.due = [delivery(number) for number in range(5)]
    deliveries = room.deliveries(max_concurrent=2)
    await deliveries.sweep()
    await deliveries.finish(5)
    assert (room.outbox.claims[0], room.courier.most, len(room.courier.done)) == ((2, 30.0, 3), 2, 5)


async def test_a_slow_receiver_holds_its_own_places_only(room: Room) -> None:
    slow = "https://slow.example/"
    room.courier.shut[slow] = asyncio.Event()
    room.outbox.due = [*(delivery(number, slow) for number in range(10)), delivery(10), delivery(11)]
    deliveries = room.deliveries()
    await deliveries.sweep()
    await deliveries.sweep()
    assert (room.courier.running, sorted(room.courier.done), len(room.outbox.due)) == ([slow] * 3, ["dlv_10", "dlv_11"], 7)
    room.courier.shut[slow].set()
    await deliveries.sweep()
    await deliveries.finish(5)
    assert (len(room.courier.done), room.outbox.deferred) == (12, [])


async def test_what_was_claimed_beyond_a_receivers_places_is_given_back(room: Room) -> None:
    slow = "https://slow.example/"
    room.courier.shut[slow] = asyncio.Event()
    room.outbox.is_heedless = True
    room.outbox.due = [delivery(number, slow) for number in range(4)]
    deliveries = room.deliveries()
    await deliveries.sweep()
    await deliveries.sweep()
    assert (room.courier.running, [each.id for each in room.outbox.deferred]) == ([slow] * 3, ["dlv_3"])
    await deliveries.finish(0.01)


@pytest.mark.parametrize("fault", [ValueError("defect"), StorageUnavailable("away")])
async def test_a_delivery_that_breaks_does_not_stop_the_others(fault: Exception, room: Room) -> None:
    one = "https://one.example/"
    room.outbox.due = [delivery(1, one)]
    room.courier.fault = fault
    deliveries = room.deliveries()
    await deliveries.sweep()
    await deliveries.finish(5)
    room.courier.fault, room.outbox.due = None, [delivery(number, one) for number in range(2, 5)]
    await deliveries.sweep()
    await deliveries.finish(5)
    assert sorted(room.courier.done) == ["dlv_2", "dlv_3", "dlv_4"]


async def test_stopping_waits_for_deliveries_in_flight(room: Room) -> None:
    gate = room.courier.shut["https://r1.example/"] = asyncio.Event()
    room.outbox.due = [delivery(1)]
    deliveries = room.deliveries()
    await deliveries.sweep()
    asyncio.get_running_loop().call_later(0.01, gate.set)
    await deliveries.finish(5)
    assert room.courier.done == ["dlv_1"]


async def test_stopping_cuts_off_what_takes_too_long(room: Room) -> None:
    room.courier.shut["https://r1.example/"] = asyncio.Event()
    room.outbox.due = [delivery(1)]
    deliveries = room.deliveries()
    await deliveries.sweep()
    await deliveries.finish(0.01)
    assert (room.courier.running, room.courier.done) == ([], [])


URL = "https://r.example/"


def retried(reason: str, asked_s: float | None = None) -> Verdict:
    return Verdict("retried", Answered(reason), 5.0, asked_s)


@pytest.mark.parametrize("reason", ["http_429", "http_502", "http_503", "http_504", "timeout", "connection_failed"])
def test_a_strained_receiver_gets_one_at_a_time_until_it_works_again(reason: str) -> None:
    receivers = Receivers(4, FakeClock())
    assert [receivers.enter(URL) for _ in range(5)] == [True, True, True, True, False]
    for _ in range(4):
        receivers.leave(URL, retried(reason))
    assert receivers.room() == {URL: 1}
    for places in (2, 4):
        assert receivers.enter(URL)
        receivers.leave(URL, DELIVERED)
        assert receivers.room().get(URL, 4) == places


def test_a_refusing_receiver_keeps_its_places() -> None:
    receivers = Receivers(4, FakeClock())
    receivers.enter(URL)
    receivers.leave(URL, retried("http_404"))
    assert receivers.room() == {}


@pytest.mark.parametrize(("asked_s", "pause_s"), [(20.0, 20.0), (1e9, MAX_PAUSE_S)])
def test_retry_after_holds_up_the_receivers_other_deliveries(asked_s: float, pause_s: float) -> None:
    clock = FakeClock()
    receivers = Receivers(4, clock)
    receivers.enter(URL)
    receivers.leave(URL, retried("http_429", asked_s))
    clock.advance(pause_s - 0.1)
    assert (receivers.room(), receivers.enter(URL)) == ({URL: 0}, False)
    clock.advance(0.2)
    assert receivers.enter(URL)


def test_a_place_whose_delivery_broke_is_free_again() -> None:
    receivers = Receivers(1, FakeClock())
    receivers.enter(URL)
    receivers.leave(URL, None)
    assert receivers.enter(URL)


def test_the_memory_of_troubles_is_bounded() -> None:
    receivers = Receivers(4, FakeClock())
    for number in range(3_000):
        receivers.enter(f"{URL}{number}")
        receivers.leave(f"{URL}{number}", retried("timeout"))
    assert len(receivers.room()) <= 1_000
