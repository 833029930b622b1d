"""What callers change about a job that goes on: pause, resume, new limits and labels."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import Conflict
from tandem.ports import Changed, NewEvent
from tandem.schemas.base import JsonObject
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobChange, JobStatus
from tandem.storage.job_rows import change_job, job_from, lock_theirs, queued
from tandem.storage.tables import jobs
from tandem.storage.times import db_now, wire_time

_PAUSABLE: Final = (JobStatus.SCHEDULED, JobStatus.QUEUED, JobStatus.IN_PROGRESS, JobStatus.PAUSED)
"""States between which a pause and its end move a job."""
_REMEDY: Final = {
    JobStatus.INPUT_REQUIRED: "answer its questions, or cancel it",
    JobStatus.BUDGET_REACHED: "raise its budget, or cancel it",
    JobStatus.CANCELLING: "nothing is left to be done",
    JobStatus.COMPLETED: "submit its request as a new job to have it done again",
}
"""What to do with a job in a state that knows no pause."""


async def pause_job(connection: AsyncConnection, job_id: str, tenant: str) -> Changed:
    """See ``JobStore.request_pause``."""
    row = await _lock_pausable(connection, job_id, tenant, "paused")
    if row["status"] == JobStatus.PAUSED or (row["pause_requested_at"] is not None and row["status"] == JobStatus.IN_PROGRESS):
        return Changed(job_from(row))
    if row["status"] == JobStatus.IN_PROGRESS:
        return await _change(connection, row, {"pause_requested_at": db_now()}, JobEvent.PAUSING, JobStatus.IN_PROGRESS)
    change = {"status": JobStatus.PAUSED, "queued_at": None, "pause_requested_at": None}
    return await _change(connection, row, change, JobEvent.PAUSED, JobStatus.PAUSED)


async def resume_job(connection: AsyncConnection, job_id: str, tenant: str) -> Changed:
    """See ``JobStore.resume``."""
    row = await _lock_pausable(connection, job_id, tenant, "resumed")
    if row["status"] == JobStatus.PAUSED:
        if row["run_at"] is not None and row["run_at"] > row["now_s"]:
            change = {"status": JobStatus.SCHEDULED, "hint_at": jobs.c.run_at, "pause_requested_at": None}
            scheduled: JsonObject = {"status": JobStatus.SCHEDULED, "run_at": wire_time(row["run_at"])}
            changed, appended = await change_job(connection, row, change, [NewEvent(JobEvent.SCHEDULED, scheduled)])
            return Changed(job_from(changed), appended)
        return await requeue(connection, row, {"pause_requested_at": None}, [])
    if row["pause_requested_at"] is None:
        return Changed(job_from(row))
    if row["status"] == JobStatus.IN_PROGRESS:
        return await _change(connection, row, {"pause_requested_at": None}, JobEvent.IN_PROGRESS, JobStatus.IN_PROGRESS)
    changed, appended = await change_job(connection, row, {"pause_requested_at": None}, [])
    return Changed(job_from(changed), appended)


async def change_request(connection: AsyncConnection, job_id: str, tenant: str, change: JobChange) -> Changed:
    """See ``JobStore.change``."""
    row = await lock_theirs(connection, job_id, tenant)
    if row["finished_at"] is not None:
        raise Conflict(f"job {job_id!r} has ended as {row['status']}, and an ended job never changes; submit or retry it with other limits")
    request: JsonObject = row["request"]
    limits = {} if change.budget is None else change.budget.model_dump(mode="json", exclude_none=True)
    given: JsonObject = {}
    if limits:
        given["budget"] = _budget_of(request) | limits
    if change.priority is not None:
        given["priority"] = change.priority
    if change.metadata is not None:
        given["metadata"] = {**change.metadata}
    if not given:
        return Changed(job_from(row))
    request = request | given
    columns: dict[str, object] = {"request": request, "priority": request["priority"]}
    event = NewEvent(JobEvent.CHANGED, {name: request[name] for name in ("budget", "priority", "metadata")})
    if limits and row["status"] == JobStatus.BUDGET_REACHED:
        return await requeue(connection, row, columns, [event])
    changed, appended = await change_job(connection, row, columns, [event])
    return Changed(job_from(changed), appended)


async def requeue(connection: AsyncConnection, row: RowMapping, change: Mapping[str, object], before: list[NewEvent]) -> Changed:
    """Put a waiting job, whose row is locked, back into the queue; the caller of the store hints."""
    events = [*before, NewEvent(JobEvent.QUEUED, {"status": JobStatus.QUEUED})]
    changed, appended = await change_job(connection, row, {**queued(db_now()), **change}, events)
    return Changed(job_from(changed), appended, is_queued=True)


async def _change(connection: AsyncConnection, row: RowMapping, change: Mapping[str, object], event: str, status: JobStatus) -> Changed:
    changed, appended = await change_job(connection, row, change, [NewEvent(event, {"status": status})])
    return Changed(job_from(changed), appended)


async def _lock_pausable(connection: AsyncConnection, job_id: str, tenant: str, verb: str) -> RowMapping:
    row = await lock_theirs(connection, job_id, tenant)
    status = JobStatus(row["status"])
    if status not in _PAUSABLE:
        raise Conflict(f"job {job_id!r} is {status} and cannot be {verb}; {_REMEDY.get(status, 'retry it to have it done again')}")
    return row


def _budget_of(request: JsonObject) -> dict[str, JsonValue]:
    budget = request["budget"]
    if not isinstance(budget, dict):
        raise TypeError(f"budget {budget!r} of a stored request is no object")
    return budget
