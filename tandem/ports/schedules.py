"""Jobs that come again, and the sweep that forgets ended work."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tandem.ids import KeyId, ScheduleId, TenantId
from tandem.ports.common import Once
from tandem.ports.jobs import Created, NewJob
from tandem.schemas.jobs import JobFailure
from tandem.schemas.schedules import Overlap, Schedule, ScheduleCreate


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule whose time has come."""

    schedule: Schedule
    tenant: TenantId
    key_id: KeyId | None
    now: datetime
    """The database's time."""


@dataclass(frozen=True, slots=True)
class ScheduleUpdate:
    """All that a change may set, already checked."""

    name: str
    cron: str
    timezone: str
    request_json: str
    overlap: Overlap
    is_enabled: bool
    next_run_at: datetime | None
    key_id: KeyId | None = None
    """Whoever set the request: its turns get the tools of this key from now on; null leaves it as it is."""


class ScheduleStore(Protocol):
    """Schedules; knows nothing of cron: the next moment comes in by argument. Methods with a tenant raise ``NotFound`` also for another tenant's."""

    async def now(self) -> datetime:
        """The database's time, from which next moments are computed."""
        ...

    async def add(
        self,
        schedule_id: ScheduleId,
        tenant: TenantId,
        key_id: KeyId | None,
        new: ScheduleCreate,
        next_run_at: datetime | None,
        *,
        max_schedules: int,
        once: Once | None = None,
    ) -> tuple[Schedule, bool]:
        """The schedule, and whether an earlier call with the same key had made it. Raises ``TooManyRequests`` and ``IdempotencyKeyReused``."""
        ...

    async def get(self, schedule_id: ScheduleId, tenant: TenantId) -> Schedule: ...

    async def list(self, tenant: TenantId, *, after: ScheduleId | None, limit: int) -> Sequence[Schedule]:
        """Newest first."""
        ...

    async def change(self, schedule_id: ScheduleId, tenant: TenantId, update: ScheduleUpdate) -> Schedule: ...

    async def remove(self, schedule_id: ScheduleId, tenant: TenantId) -> None:
        """Jobs it has made stay."""
        ...

    async def due(self, limit: int) -> Sequence[DueSchedule]:
        """Enabled schedules whose ``next_run_at`` has passed, oldest first; also those whose ``request`` cannot be read any more."""
        ...

    async def fire(
        self, due: DueSchedule, new: NewJob, next_run_at: datetime | None, *, max_unfinished: int, note: JobFailure | None = None
    ) -> Created | None:
        """Create the job and move to the next moment, in one transaction; None when another dispatcher was first or the turn is left out.

        With overlap ``skip`` and an unfinished job of this schedule the turn is left out and ``last_error`` says so. A refusal by the quota is
        kept in ``last_error`` too, and the schedule moves on. ``note`` is kept there although a job was made.
        """
        ...

    async def put_off(self, due: DueSchedule, error: JobFailure, next_run_at: datetime | None) -> None:
        """Move on without a job, and say why; without a next moment the schedule is switched off."""
        ...


@dataclass(frozen=True, slots=True)
class Swept:
    """Rows that one sweep deleted."""

    jobs: int = 0
    events: int = 0
    effects: int = 0
    checkpoints: int = 0
    deliveries: int = 0
    keys: int = 0
    responses: int = 0
    decisions: int = 0
    outcomes: int = 0
    files: int = 0
    tool_reports: int = 0


class Retention(Protocol):
    """Forgets ended work when its time is over."""

    async def sweep(self, limit: int = 500) -> Swept:
        """Delete at most about ``limit`` rows of each kind, in short transactions; call again while something was deleted."""
        ...
