"""The dispatcher's loops: what they repair, how they bear failures, how they stop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import cast

import pytest
import structlog

from gateway.delivery import Courier, Verdict
from gateway.dispatcher import Deliveries, Dispatcher, Ports, Repairs, main
from tandem.errors import StorageUnavailable
from tandem.ids import DeliveryId, JobId, StreamId, TenantId
from tandem.ports import Appended, Delivery, Outbox, Reaped, Storage
from tandem.settings import DispatcherSettings, EgressSettings, Settings
from tandem.telemetry.metrics import new_metrics
from tandem.testing.clock import FakeClock


class ScriptedStore:
    """The parts of a storage that the dispatcher uses, answering from scripts."""

    def __init__(self) -> None:
        self.sweeps: list[Reaped | Exception] = []
        self.orphans: Sequence[Appended] = ()
        self.due: list[Delivery] = []
        self.claims: list[tuple[int, float]] = []
        self.when_idle: Callable[[], None] = lambda: None
        self.migrations: list[Exception] = []

    @property
    def jobs(self) -> "ScriptedStore":
        return self

    @property
    def threads(self) -> "ScriptedStore":
        return self

    @property
    def outbox(self) -> "ScriptedStore":
        return self

    async def migrate(self) -> None:
        if self.migrations:
            raise self.migrations.pop(0)

    async def reap(self, *, rehint_after_s: float, max_attempts: int, limit: int = 100) -> Reaped:
        if not self.sweeps:
            self.when_idle()
            return Reaped((), ())
        outcome = self.sweeps.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def fail_orphans(self) -> Sequence[Appended]:
        return self.orphans

    async def claim(self, limit: int, lease_s: float) -> Sequence[Delivery]:
        self.claims.append((limit, lease_s))
        claimed, self.due = self.due[:limit], self.due[limit:]
        return claimed


class RecordingQueue:
    def __init__(self) -> None:
        self.hinted: list[JobId] = []

    async def hint(self, job_id: JobId) -> bool:
        self.hinted.append(job_id)
        return True

    async def close(self) -> None:
        return None


class RecordingNotifier:
    def __init__(self) -> None:
        self.told: list[Appended] = []

    async def notify(self, appended: Sequence[Appended]) -> None:
        self.told.extend(appended)

    def subscribe(self, stream: StreamId) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        raise AssertionError("a dispatcher never listens")

    async def is_up(self) -> bool:
        return True

    async def close(self) -> None:
        return None


class ScriptedCourier(Courier):
    """Delivers when the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.running = 0
        self.most = 0
        self.done: list[str] = []

    async def deliver(self, delivery: Delivery, outbox: Outbox) -> Verdict:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            if self.fault:
                raise self.fault
            self.done.append(delivery.id)
            return Verdict("delivered", "http_200", 200)
        finally:
            self.running -= 1


class Room:
    """A dispatcher's surroundings."""

    def __init__(self, home: Path) -> None:
        self.store = ScriptedStore()
        self.queue = RecordingQueue()
        self.notifier = RecordingNotifier()
        self.courier = ScriptedCourier()
        self.clock = FakeClock()
        self.metrics = new_metrics()
        self.settings = Settings(home=home, dispatcher=DispatcherSettings(poll_s=0.5), egress=EgressSettings(timeout_s=20))

    @property
    def ports(self) -> Ports:
        return Ports(cast("Storage", self.store), self.queue, self.notifier, self.courier, self.clock, self.metrics)

    async def run(self) -> None:
        """Run a dispatcher until its scripts are used up."""
        stop = asyncio.Event()
        self.store.when_idle = stop.set
        await asyncio.wait_for(Dispatcher(self.ports, self.settings, self.settings.home / "run").run(stop), 5)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def delivery(number: int) -> Delivery:
    return Delivery(DeliveryId(f"dlv_{number}"), JobId("job_1"), TenantId("default"), "https://r.example/", b"{}", 1)


async def test_a_sweep_hints_lost_jobs_and_tells_readers(room: Room) -> None:
    job, thread = Appended(StreamId("job_1"), 4), Appended(StreamId("thr_1"), 9)
    room.store.sweeps = [Reaped([JobId("job_2"), JobId("job_3")], [JobId("job_1")], [job])]
    room.store.orphans = [thread]
    await Repairs(room.ports, room.settings).sweep()
    assert room.queue.hinted == ["job_2", "job_3"]
    assert room.notifier.told == [job, thread]
    assert [room.value("tandem_reaped_total", action=action) for action in ("hinted", "failed_job", "failed_turn")] == [2, 1, 1]


async def test_an_idle_sweep_tells_nobody(room: Room) -> None:
    await Repairs(room.ports, room.settings).sweep()
    assert (room.queue.hinted, room.notifier.told) == ([], [])


async def test_no_more_deliveries_run_at_once_than_there_are_places(room: Room) -> None:
    room.store.due = [delivery(number) for number in range(5)]
    room.courier.gate.clear()
    deliveries = Deliveries(room.ports, room.settings, max_concurrent=2)
    await deliveries.sweep()
    await asyncio.sleep(0)
    assert (room.courier.running, room.store.claims) == (2, [(2, 30.0)])
    room.courier.gate.set()
    for _ in range(6):
        await deliveries.sweep()
    await deliveries.finish(5)
    assert (len(room.courier.done), room.courier.most) == (5, 2)
    assert room.value("tandem_webhook_attempts_total", outcome="delivered") == 5


@pytest.mark.parametrize("fault", [ValueError("defect"), StorageUnavailable("away")])
async def test_a_delivery_that_breaks_does_not_stop_the_others(fault: Exception, room: Room) -> None:
    room.store.due = [delivery(1)]
    room.courier.fault = fault
    deliveries = Deliveries(room.ports, room.settings)
    await deliveries.sweep()
    await deliveries.finish(5)
    room.courier.fault, room.store.due = None, [delivery(2)]
    await deliveries.sweep()
    await deliveries.finish(5)
    assert room.courier.done == ["dlv_2"]


async def test_stopping_waits_for_deliveries_in_flight(room: Room) -> None:
    room.store.due = [delivery(1)]
    room.courier.gate.clear()
    deliveries = Deliveries(room.ports, room.settings)
    await deliveries.sweep()
    asyncio.get_running_loop().call_later(0.01, room.courier.gate.set)
    await deliveries.finish(5)
    assert room.courier.done == ["dlv_1"]


async def test_stopping_cuts_off_what_takes_too_long(room: Room) -> None:
    room.store.due = [delivery(1)]
    room.courier.gate.clear()
    deliveries = Deliveries(room.ports, room.settings)
    await deliveries.sweep()
    await deliveries.finish(0.01)
    assert (room.courier.running, room.courier.done) == (0, [])


async def test_an_absent_database_is_waited_for_ever_longer(room: Room) -> None:
    room.store.sweeps = [StorageUnavailable("away")] * 8
    await room.run()
    repairs = [seconds for seconds in room.clock.sleeps if seconds != 0.5]
    assert repairs == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]


async def test_a_defect_in_one_loop_leaves_the_other_running(room: Room) -> None:
    room.store.sweeps = [RuntimeError("defect"), RuntimeError("defect")]
    room.store.due = [delivery(1)]
    await room.run()
    assert room.courier.done == ["dlv_1"]


async def test_the_start_waits_for_a_database_that_comes_late(room: Room) -> None:
    room.store.migrations = [StorageUnavailable("away"), StorageUnavailable("away")]
    room.store.sweeps = [Reaped((), ())]
    room.store.due = [delivery(1)]
    await room.run()
    assert room.clock.sleeps[:2] == [1.0, 2.0]
    assert room.courier.done == ["dlv_1"]


async def test_a_running_dispatcher_shows_life_and_metrics(room: Room) -> None:
    room.store.sweeps = [Reaped([JobId("job_1")], ())]
    await room.run()
    run = room.settings.home / "run"
    assert (run / "dispatcher.alive").exists()
    assert 'tandem_reaped_total{action="hinted"} 1.0' in (run / "dispatcher.prom").read_text(encoding="utf-8")


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("untouched_logging")
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TANDEM_WEBHOOK_SECRET", "not a secret", "webhook secret does not start with 'whsec_'"),
        ("TANDEM_EGRESS_ALLOW", "http://x", "'http://x' is neither a CIDR"),
        ("TANDEM_DISPATCHER_POLL", "1", "unknown setting 'TANDEM_DISPATCHER_POLL'"),
    ],
)
def test_a_bad_setting_stops_the_start_with_its_name(
    name: str, value: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path))
    monkeypatch.setenv(name, value)
    assert main([]) == 2
    assert message in capsys.readouterr().err
