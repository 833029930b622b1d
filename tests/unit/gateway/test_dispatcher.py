"""The dispatcher's loops: what they repair, how they bear failures, how they stop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import cast

import pytest
import structlog

from gateway.delivery import Courier, Verdict
from gateway.dispatcher import Dispatcher, Ports, Repairs, main
from tandem.errors import StorageUnavailable
from tandem.ids import DeliveryId, IdFactory, JobId, StreamId, TenantId
from tandem.ports import Answered, Appended, Delivery, DueSchedule, Outbox, Reaped, Storage, Swept
from tandem.schemas.policies import RoutingState
from tandem.settings import DispatcherSettings, EgressSettings, Settings
from tandem.telemetry.metrics import new_metrics
from tandem.testing.clock import FakeClock

IDS = IdFactory(now_ms=lambda: 0)
REPAIRS = ("hinted", "failed_job", "expired_job", "failed_turn")


class ScriptedStore:
    """The parts of a storage that the dispatcher uses, answering from scripts."""

    def __init__(self) -> None:
        self.sweeps: list[Reaped | Exception] = []
        self.orphans: Sequence[Appended] = ()
        self.due: list[Delivery] = []
        self.when_idle: Callable[[], None] = lambda: None
        self.migrations: list[Exception] = []
        self.forgets = ScriptedRetention()

    @property
    def jobs(self) -> "ScriptedStore":
        return self

    @property
    def threads(self) -> "ScriptedStore":
        return self

    @property
    def outbox(self) -> "ScriptedStore":
        return self

    @property
    def keys(self) -> "ScriptedStore":
        return self

    @property
    def tools(self) -> "ScriptedStore":
        return self

    @property
    def audit(self) -> "ScriptedStore":
        return self

    @property
    def schedules(self) -> "EmptyTimetable":
        return EmptyTimetable()

    @property
    def policies(self) -> "NothingPublished":
        return NothingPublished()

    @property
    def retention(self) -> "ScriptedRetention":
        return self.forgets

    async def migrate(self) -> None:
        if self.migrations:
            raise self.migrations.pop(0)

    async def reap(self, *, rehint_after_s: float, max_attempts: int, limit: int = 100) -> Reaped:
        if not self.sweeps:
            self.when_idle()
            return Reaped(0, ())
        outcome = self.sweeps.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def fail_orphans(self) -> Sequence[Appended]:
        return self.orphans

    async def claim(self, limit: int, lease_s: float, *, per_receiver: int, room: Mapping[str, int]) -> Sequence[Delivery]:
        claimed, self.due = self.due[:limit], self.due[limit:]
        return claimed


class EmptyTimetable:
    async def due(self, limit: int) -> Sequence[DueSchedule]:
        return ()


class NothingPublished:
    async def state(self) -> RoutingState:
        return RoutingState(revision=0)


class ScriptedRetention:
    """Finds less and less to delete."""

    def __init__(self) -> None:
        self.sweeps: list[Swept] = []

    async def sweep(self, limit: int = 500) -> Swept:
        return self.sweeps.pop(0) if self.sweeps else Swept()


class RecordingQueue:
    def __init__(self) -> None:
        self.hinted: list[int] = []

    async def hint(self, count: int = 1) -> bool:
        self.hinted.append(count)
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
    """Delivers at once."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def deliver(self, delivery: Delivery, outbox: Outbox) -> Verdict:
        self.done.append(delivery.id)
        return Verdict("delivered", Answered("http_200", 200))


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
        return Ports(cast("Storage", self.store), self.queue, self.notifier, self.courier, self.clock, self.metrics, IDS)

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
    room.store.sweeps = [Reaped(2, [JobId("job_1")], [job], expired=[JobId("job_4")])]
    room.store.orphans = [thread]
    await Repairs(room.ports, room.settings).sweep()
    assert room.queue.hinted == [2]
    assert room.notifier.told == [job, thread]
    assert [room.value("tandem_reaped_total", action=action) for action in REPAIRS] == [2, 1, 1, 1]


async def test_an_idle_sweep_tells_nobody(room: Room) -> None:
    await Repairs(room.ports, room.settings).sweep()
    assert (room.queue.hinted, room.notifier.told) == ([], [])


async def test_a_sweep_that_deleted_something_is_soon_followed_by_another(room: Room) -> None:
    room.store.forgets.sweeps = [Swept(jobs=2, events=500), Swept(events=7)]
    room.store.sweeps = [Reaped(0, ())] * 8
    await room.run()
    assert [room.value("tandem_swept_total", kind=kind) for kind in ("jobs", "events", "keys")] == [2, 507, 0]
    assert 60.0 in room.clock.sleeps


async def test_an_absent_database_is_waited_for_ever_longer(room: Room) -> None:
    room.store.sweeps = [StorageUnavailable("away")] * 8
    await room.run()
    repairs = [seconds for seconds in room.clock.sleeps if seconds not in (0.5, 3.0, 60.0)]
    assert repairs == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]


async def test_a_defect_in_one_loop_leaves_the_other_running(room: Room) -> None:
    room.store.sweeps = [RuntimeError("defect"), RuntimeError("defect")]
    room.store.due = [delivery(1)]
    await room.run()
    assert room.courier.done == ["dlv_1"]


async def test_the_start_waits_for_a_database_that_comes_late(room: Room) -> None:
    room.store.migrations = [StorageUnavailable("away"), StorageUnavailable("away")]
    room.store.sweeps = [Reaped(0, ())]
    room.store.due = [delivery(1)]
    await room.run()
    assert room.clock.sleeps[:2] == [1.0, 2.0]
    assert room.courier.done == ["dlv_1"]


async def test_a_running_dispatcher_shows_life_and_metrics(room: Room) -> None:
    room.store.sweeps = [Reaped(1, ())]
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
