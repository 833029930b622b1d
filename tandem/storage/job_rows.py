"""A job's row: locking it, changing it, and turning it into what the ports and the wire speak. Decides nothing."""

from collections.abc import Mapping, Sequence
from typing import Final, cast

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import LeaseLost, NotFound
from tandem.ids import StreamId
from tandem.ports import Appended, NewEvent
from tandem.schemas.base import JsonObject
from tandem.schemas.events import ThreadEvent
from tandem.schemas.jobs import Job, JobResult, JobStatus, JobView
from tandem.storage.events import insert_events, reserve_in_thread
from tandem.storage.tables import jobs
from tandem.storage.times import db_now, to_datetime

OWNED: Final = (JobStatus.IN_PROGRESS, JobStatus.CANCELLING)
"""States in which a worker may hold the job."""
_OUTCOME: Final = ("output_text", "answer", "confidence", "verification", "effort_used", "citations")
"""Fields of a ``Job`` that come from its result."""
_MOMENTS: Final = {
    "created_at": "created_at",
    "started_at": "started_at",
    "finished_at": "finished_at",
    "run_at": "run_at",
    "deadline": "deadline_at",
}
"""Fields of a ``Job`` that are moments, and their columns."""
_AS_STORED: Final = (
    "id",
    "status",
    "attempt",
    "lost",
    "parent_id",
    "retry_of",
    "schedule_id",
    "response_id",
    "effort",
    "request",
    "tools",
    "view",
    "inputs",
    "inbox",
    "artifacts",
    "last_seq",
)
"""Fields of a ``Job`` that are columns of the same name."""


async def lock_job(connection: AsyncConnection, job_id: str) -> RowMapping | None:
    """The job's row, locked until the transaction ends (``key_share``: rows that refer to it may still be inserted), with the time as ``now_s``."""
    statement = select(jobs, db_now().label("now_s")).where(jobs.c.id == job_id).with_for_update(key_share=True)
    return (await connection.execute(statement)).mappings().one_or_none()


async def lock_theirs(connection: AsyncConnection, job_id: str, tenant: str) -> RowMapping:
    """``lock_job`` for a caller: raises ``NotFound`` for an unknown job and for another tenant's."""
    row = await lock_job(connection, job_id)
    if row is None or row["tenant"] != tenant:
        raise unknown_job(job_id)
    return row


async def lock_owned(connection: AsyncConnection, job_id: str, epoch: int) -> RowMapping:
    """``lock_job`` for a worker: raises ``LeaseLost`` when this epoch no longer owns the job."""
    row = await lock_job(connection, job_id)
    if row is None or row["epoch"] != epoch or row["status"] not in OWNED:
        raise lost(job_id, epoch)
    return row


def is_owned(job_id: str, epoch: int) -> ColumnElement[bool]:
    """SQL: this epoch still owns the job."""
    return (jobs.c.id == job_id) & (jobs.c.epoch == epoch) & jobs.c.status.in_(OWNED)


async def change_job(
    connection: AsyncConnection, row: RowMapping, change: Mapping[str, object], events: Sequence[NewEvent]
) -> tuple[RowMapping, Sequence[Appended]]:
    """Change a locked job, append the events that say so, and tell its thread. Returns the new row, with the time as ``now_s``."""
    statement = update(jobs).where(jobs.c.id == row["id"]).values(last_seq=jobs.c.last_seq + len(events), **change)
    changed = (await connection.execute(statement.returning(jobs, db_now().label("now_s")))).mappings().one()
    grown: list[Appended] = []
    if events:
        await insert_events(connection, row["id"], row["last_seq"] + 1, events, row["now_s"], epoch=changed["epoch"])
        grown = [Appended(StreamId(row["id"]), changed["last_seq"])]
    return changed, [*grown, *await mirror_to_thread(connection, changed)]


def queued(hint_at: object) -> dict[str, object]:
    """Columns of a job that goes (back) into the queue. ``hint_at``: 0 has the reaper hint at once, now leaves that to the caller."""
    return {
        "status": JobStatus.QUEUED,
        "queued_at": db_now(),
        "hint_at": hint_at,
        "hint_wait_s": 0.0,
        "expires_at": None,
    }


async def mirror_to_thread(connection: AsyncConnection, row: RowMapping) -> list[Appended]:
    """Tell the job's thread, if it has one, where the job stands. Rows are locked in this order everywhere: job, then thread.

    ``row`` holds at least the columns id, thread_id, status, view, inputs, inbox and last_seq as they are now.
    """
    thread_id: str | None = row["thread_id"]
    if thread_id is None or (reserved := await reserve_in_thread(connection, thread_id, 1)) is None:
        return []
    await insert_events(connection, thread_id, reserved.first_seq, [job_updated(row)], reserved.now_s)
    return [Appended(StreamId(thread_id), reserved.last_seq)]


def job_updated(row: RowMapping) -> NewEvent:
    """The event that redraws a job's card."""
    card: JsonObject = {name: row[name] for name in ("status", "view", "inputs", "inbox", "last_seq")}
    return NewEvent(ThreadEvent.JOB_UPDATED, {"job_id": row["id"], **card})


def altered(row: RowMapping, values: Mapping[str, object]) -> RowMapping:
    """The row as it is after a change that was made, or is about to be."""
    return cast(RowMapping, dict(row) | dict(values))


def view_json(view: JobView) -> JsonObject:
    """A view as it is stored and sent."""
    return view.model_dump(mode="json")


def job_from(row: RowMapping) -> Job:
    """The wire object of a stored job."""
    # What a job had when its budget was reached is kept while it goes on, and is then no result of anything yet.
    shows_end = row["finished_at"] is not None or row["status"] == JobStatus.BUDGET_REACHED
    result = JobResult.model_validate(row["result"]) if shows_end and row["result"] is not None else None
    outcome = {} if result is None else {name: getattr(result, name) for name in _OUTCOME}
    stored = {name: row[name] for name in _AS_STORED}
    moments = {name: None if row[column] is None else to_datetime(row[column]) for name, column in _MOMENTS.items()}
    usage = row["view"].get("usage", {}) if result is None else result.usage
    is_pausing = row["pause_requested_at"] is not None and row["status"] == JobStatus.IN_PROGRESS
    return Job.model_validate(stored | moments | outcome | {"usage": usage, "is_pausing": is_pausing, "error": row["error"] if shows_end else None})


def unknown_job(job_id: str) -> NotFound:
    """The error for a job that does not exist, or is another tenant's."""
    return NotFound(f"no job {job_id!r}; check the id, and that the key belongs to the same tenant", param="job_id")


def lost(job_id: str, epoch: int) -> LeaseLost:
    """The error for a worker that no longer owns the job."""
    return LeaseLost(f"epoch {epoch} no longer owns job {job_id!r}; stop working on it")
