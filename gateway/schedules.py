"""The turns of schedules: which job a turn makes, and the sweep that takes the turns that are due.

A turn that nobody could take, because no dispatcher ran, is taken late and once: the next moment is counted from now. The job thinks as hard as its
request says, else with ``medium`` effort, since a dispatcher has no router. It gets the tools that the key which set the request may use at that
moment; when that key is revoked, turns go on without tools, and the schedule says so.
"""

from dataclasses import replace
from typing import Final
from zoneinfo import ZoneInfoNotFoundError

from gateway.auth import Principal
from gateway.cron import next_run
from gateway.grants import Grants
from gateway.titles import title_of
from tandem.errors import CallerError, Conflict, OperatorError, PermissionDenied
from tandem.ids import IdFactory, KeyId, ScheduleId, TenantId, ThreadId
from tandem.ports import Created, DueSchedule, JobQueue, KeyStore, NewJob, Notifier, Once, ScheduleStore
from tandem.schemas.jobs import JobFailure, JobRequest
from tandem.schemas.routing import Effort
from tandem.schemas.schedules import Schedule
from tandem.telemetry.logging import get_logger
from tandem.telemetry.metrics import Metrics

BATCH: Final = 100
"""Turns of one sweep."""
DEFAULT_EFFORT: Final[Effort] = "medium"
UNREADABLE: Final = "The schedule's stored request is not valid in this version any more; set 'request' anew with PATCH and switch the schedule on."
_BROKEN: Final = JobFailure(
    code="internal_error", message="The turn could not be taken because of a fault of ours; the log of the dispatcher has it."
)
_REVOKED: Final = (
    "the key that set this schedule's request is revoked, so that its jobs get no tools; set 'request' anew with PATCH and a key that is not"
)
_log = get_logger(__name__)


def turn_of(schedule: Schedule, ids: IdFactory, tenant: TenantId, key_id: KeyId | None, *, once: Once | None = None) -> NewJob:
    """The job that one turn makes. Raises ``Conflict`` when the schedule's request is no request any more."""
    request = schedule.request
    if request is None:
        raise Conflict(UNREADABLE, param="schedule_id")
    return NewJob(
        id=ids.job(),
        tenant=tenant,
        key_id=key_id,
        request=request,
        effort=request.effort or DEFAULT_EFFORT,
        title=title_of(request.input if isinstance(request.input, str) else request.input[-1].content),
        thread_id=None if request.thread_id is None else ThreadId(request.thread_id),
        once=once,
        schedule_id=ScheduleId(schedule.id),
    )


class Timetable:
    """Takes the turns that are due."""

    def __init__(
        self,
        schedules: ScheduleStore,
        keys: KeyStore,
        grants: Grants,
        queue: JobQueue,
        notifier: Notifier,
        ids: IdFactory,
        metrics: Metrics,
        *,
        max_unfinished: int,
    ) -> None:
        self._schedules = schedules
        self._keys = keys
        self._grants = grants
        self._queue = queue
        self._notifier = notifier
        self._ids = ids
        self._metrics = metrics
        self._max_unfinished = max_unfinished

    async def sweep(self) -> bool:
        """Take what is due, at most ``BATCH`` turns, then wake the workers; true when more may be due."""
        due = await self._schedules.due(BATCH)
        made = [created for each in due if (created := await self._take(each)) is not None]
        if made:
            await self._queue.hint(len(made))
            await self._notifier.notify([appended for created in made for appended in created.appended])
        return len(due) == BATCH

    async def _take(self, due: DueSchedule) -> Created | None:
        schedule = due.schedule
        try:
            moment = next_run(schedule.cron, schedule.timezone, due.now)
        except ZoneInfoNotFoundError:
            return await self._switch_off(
                due, f"The time zone {schedule.timezone!r} is not known here any more; choose another one and switch the schedule on."
            )
        if schedule.request is None:
            return await self._switch_off(due, UNREADABLE)
        try:
            new = turn_of(schedule, self._ids, due.tenant, due.key_id)
            granted, note = await self._grant(new.request, due)
            created = await self._schedules.fire(due, replace(new, tools=granted), moment, max_unfinished=self._max_unfinished, note=note)
        except OperatorError:
            raise
        except CallerError as refusal:  # a tool that the key may not use, or that nobody offers any more
            await self._schedules.put_off(due, JobFailure(code=refusal.code, message=refusal.message), moment)
            return self._told(due, "failed")
        except Exception:  # noqa: BLE001 - one schedule's defect: told with its traceback and in the schedule; the others' turns are taken
            _log.exception("turn_defect", schedule_id=schedule.id)
            await self._schedules.put_off(due, _BROKEN, moment)
            return self._told(due, "failed")
        if created is None:
            return self._told(due, "skipped")
        self._metrics.turns.labels("taken").inc()
        _log.info("turn_taken", schedule_id=schedule.id, job_id=created.job.id)
        return created

    async def _grant(self, request: JobRequest, due: DueSchedule) -> tuple[list[str], JobFailure | None]:
        """What the turn's job may use by the scopes that its key has now, and what the schedule is to say about it."""
        found = None if due.key_id is None else await self._keys.find(due.key_id)
        if found is not None and found[0].revoked_at is None:
            key, _ = found
            return await self._grants.settle(request, Principal(due.tenant, KeyId(key.id), frozenset(key.scopes))), None
        if request.tools:
            raise PermissionDenied(_REVOKED, param="tools")
        return [], None if request.tools is not None else JobFailure(code=PermissionDenied.code, message=_REVOKED)

    async def _switch_off(self, due: DueSchedule, why: str) -> None:
        await self._schedules.put_off(due, JobFailure(code="invalid_request", message=why), None)
        self._told(due, "failed")

    def _told(self, due: DueSchedule, outcome: str) -> None:
        """No job came of it: skipped (overlap, quota, another dispatcher was first) or failed; the schedule says why."""
        self._metrics.turns.labels(outcome).inc()
        _log.info("turn_not_taken", schedule_id=due.schedule.id, outcome=outcome)


__all__ = ["BATCH", "DEFAULT_EFFORT", "UNREADABLE", "Timetable", "turn_of"]
