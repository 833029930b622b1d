"""Taking the turns of schedules: late ones once, broken ones alone, the workers told afterwards."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from gateway.grants import Grants
from gateway.schedules import BATCH, Timetable, turn_of
from tandem.errors import StorageUnavailable
from tandem.ids import IdFactory, KeyId, StreamId, TenantId
from tandem.ports import Appended, Created, DueSchedule, KeyStore, NewJob, ScheduleStore
from tandem.schemas.audit import AuditEntry
from tandem.schemas.chat import ChatMessage
from tandem.schemas.jobs import Job, JobFailure, JobRequest, JobStatus, JobView
from tandem.schemas.keys import ApiKey
from tandem.schemas.schedules import Schedule
from tandem.schemas.tools import ToolReport
from tandem.settings import ToolSettings
from tandem.telemetry.metrics import new_metrics
from tandem.testing.clock import FakeClock

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
IDS = IdFactory(now_ms=lambda: 0)
ALICE = TenantId("alice")


def schedule(name: str = "sch_1", *, cron: str = "0 * * * *", timezone: str = "UTC", request: JobRequest | None = None) -> Schedule:
    return Schedule(
        id=name,
        name="Plants",
        cron=cron,
        timezone=timezone,
        request=request or JobRequest(input="water the plants\nin room 3"),
        overlap="skip",
        is_enabled=True,
        next_run_at=NOW - timedelta(hours=9),
        created_at=NOW,
    )


class ScriptedSchedules:
    """Says what is due and records what becomes of it."""

    def __init__(self, *due: Schedule) -> None:
        self._due = [DueSchedule(each, ALICE, KeyId("key_1"), NOW) for each in due]
        self.fired: list[tuple[NewJob, datetime | None]] = []
        self.notes: list[JobFailure | None] = []
        self.put_offs: list[tuple[str, str, datetime | None]] = []
        self.fault: Callable[[DueSchedule], Exception | None] = lambda _due: None
        self.is_first = True

    async def due(self, limit: int) -> Sequence[DueSchedule]:
        return self._due[:limit]

    async def fire(
        self, due: DueSchedule, new: NewJob, next_run_at: datetime | None, *, max_unfinished: int, note: JobFailure | None = None
    ) -> Created | None:
        if (fault := self.fault(due)) is not None:
            raise fault
        self.fired.append((new, next_run_at))
        self.notes.append(note)
        if not self.is_first:
            return None
        view = JobView(title=new.title)
        job = Job(id=new.id, status=JobStatus.QUEUED, created_at=NOW, effort=new.effort, request=new.request, view=view, last_seq=1)
        return Created(job, is_replay=False, appended=[Appended(StreamId(new.id), 1)])

    async def put_off(self, due: DueSchedule, error: JobFailure, next_run_at: datetime | None) -> None:
        self.put_offs.append((due.schedule.id, error.code, next_run_at))


class OneKey:
    """The key behind every schedule."""

    def __init__(self, *scopes: str, is_revoked: bool = False) -> None:
        self._key = ApiKey(id="key_1", name="k", tenant=ALICE, scopes=list(scopes), created_at=NOW, revoked_at=NOW if is_revoked else None)

    async def find(self, key_id: KeyId) -> tuple[ApiKey, bytes] | None:
        return (self._key, b"") if key_id == self._key.id else None


class SilentBoard:
    """No worker has spoken; no audit record is read back here."""

    async def read(self, fresh_s: float) -> Sequence[ToolReport]:
        return ()

    async def append(self, tenant: TenantId, entry: AuditEntry) -> None:
        """Kept nowhere."""


class Town:
    """Workers and readers, who are told."""

    def __init__(self, store: ScriptedSchedules, key: OneKey | None = None) -> None:
        silent: Any = SilentBoard()
        grants = Grants(silent, silent, silent, FakeClock(), ToolSettings(), frozenset({"python", "web_fetch"}))
        keys = cast("KeyStore", key or OneKey("jobs:write"))
        self.hints: list[int] = []
        self.told: list[str] = []
        self.metrics = new_metrics()
        self.timetable = Timetable(cast("ScheduleStore", store), keys, grants, self, self, IDS, self.metrics, max_unfinished=7)

    async def hint(self, count: int = 1) -> bool:
        self.hints.append(count)
        return True

    async def notify(self, appended: Sequence[Appended]) -> None:
        self.told += [each.stream for each in appended]

    def subscribe(self, stream: StreamId) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        raise AssertionError("a dispatcher never listens")

    async def is_up(self) -> bool:
        return True

    async def close(self) -> None:
        return None

    def turns(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("tandem_schedule_turns_total", {"outcome": outcome}) or 0


async def test_nine_missed_turns_are_taken_once_and_the_next_is_ahead() -> None:
    store = ScriptedSchedules(schedule())
    town = Town(store)
    assert not await town.timetable.sweep()
    ((new, moment),) = store.fired
    assert moment == datetime(2026, 11, 22, 13, tzinfo=UTC)
    assert (new.tenant, new.key_id, new.schedule_id, new.effort, new.title) == (ALICE, "key_1", "sch_1", "medium", "water the plants")
    assert (town.hints, town.told, town.turns("taken")) == ([1], [new.id], 1)


async def test_the_workers_are_told_once_of_all_turns() -> None:
    store = ScriptedSchedules(*(schedule(f"sch_{number}") for number in range(BATCH + 1)))
    town = Town(store)
    assert await town.timetable.sweep()
    assert town.hints == [BATCH]


async def test_a_turn_that_makes_no_job_tells_nobody() -> None:
    store = ScriptedSchedules(schedule())
    store.is_first = False
    town = Town(store)
    await town.timetable.sweep()
    assert (town.hints, town.told, town.turns("skipped")) == ([], [], 1)


async def test_a_time_zone_that_is_gone_switches_its_schedule_off() -> None:
    store = ScriptedSchedules(schedule(timezone="Europe/Atlantis"), schedule("sch_2"))
    town = Town(store)
    await town.timetable.sweep()
    assert store.put_offs == [("sch_1", "invalid_request", None)]
    assert [new.schedule_id for new, _ in store.fired] == ["sch_2"]
    assert (town.turns("failed"), town.turns("taken")) == (1, 1)


async def test_a_request_that_is_none_any_more_switches_its_schedule_off() -> None:
    store = ScriptedSchedules(schedule().model_copy(update={"request": None}), schedule("sch_2"))
    town = Town(store)
    await town.timetable.sweep()
    assert store.put_offs == [("sch_1", "invalid_request", None)]
    assert [new.schedule_id for new, _ in store.fired] == ["sch_2"]
    assert (town.turns("failed"), town.turns("taken")) == (1, 1)


async def test_a_defect_in_one_schedule_leaves_the_others_their_turns() -> None:
    store = ScriptedSchedules(schedule(), schedule("sch_2"))
    store.fault = lambda due: ValueError("defect") if due.schedule.id == "sch_1" else None
    await Town(store).timetable.sweep()
    assert store.put_offs == [("sch_1", "internal_error", datetime(2026, 11, 22, 13, tzinfo=UTC))]
    assert [new.schedule_id for new, _ in store.fired] == ["sch_2"]


async def test_an_absent_database_is_left_to_the_loop() -> None:
    store = ScriptedSchedules(schedule())
    store.fault = lambda _due: StorageUnavailable("away")
    with pytest.raises(StorageUnavailable):
        await Town(store).timetable.sweep()
    assert not store.put_offs


def test_a_turn_thinks_as_hard_as_its_request_says_and_is_named_by_its_task() -> None:
    messages = [ChatMessage(role="user", content="We have plants."), ChatMessage(role="user", content="Water them.")]
    request = JobRequest(input=messages, effort="max", thread_id="thr_1")
    new = turn_of(schedule(request=request), IDS, ALICE, None)
    assert (new.effort, new.title, new.thread_id, new.request) == ("max", "Water them.", "thr_1", request)


async def test_a_turn_gets_the_tools_of_the_key_that_set_its_request() -> None:
    narrow, wide = ScriptedSchedules(schedule()), ScriptedSchedules(schedule())
    await Town(narrow, OneKey("jobs:write")).timetable.sweep()
    await Town(wide, OneKey("jobs:write", "tools:web_*")).timetable.sweep()
    assert [list(new.tools or ()) for store in (narrow, wide) for new, _ in store.fired] == [["python"], ["python", "web_fetch"]]
    assert narrow.notes == [None]


async def test_after_its_key_is_revoked_turns_go_on_without_tools_and_the_schedule_says_so() -> None:
    store = ScriptedSchedules(schedule())
    await Town(store, OneKey("tools", is_revoked=True)).timetable.sweep()
    ((new, _),) = store.fired
    (note,) = store.notes
    assert (new.tools, note and note.code) == ([], "permission_denied")
    assert note is not None
    assert "set 'request' anew" in note.message


@pytest.mark.parametrize(
    ("key", "code"), [(OneKey("jobs:write"), "permission_denied"), (OneKey("tools", is_revoked=True), "permission_denied")], ids=["narrow", "revoked"]
)
async def test_a_turn_that_names_a_tool_its_key_may_not_use_makes_no_job(key: OneKey, code: str) -> None:
    store = ScriptedSchedules(schedule(request=JobRequest(input="look at the weather", tools=["web_fetch"])), schedule("sch_2"))
    town = Town(store, key)
    await town.timetable.sweep()
    assert store.put_offs == [("sch_1", code, datetime(2026, 11, 22, 13, tzinfo=UTC))]
    assert [new.schedule_id for new, _ in store.fired] == ["sch_2"]
