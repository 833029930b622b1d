"""A job's row: locking it, and turning it into what the ports and the wire speak. Decides nothing."""

from typing import Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

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
_OUTCOME: Final = ("output_text", "answer", "confidence", "verification", "effort_used")
"""Fields of a ``Job`` that come from its result."""


async def lock_job(connection: AsyncConnection, job_id: str) -> RowMapping | None:
    """The job's row, locked until the transaction ends (``key_share``: rows that refer to it may still be inserted), with the time as ``now_s``."""
    statement = select(jobs, db_now().label("now_s")).where(jobs.c.id == job_id).with_for_update(key_share=True)
    return (await connection.execute(statement)).mappings().one_or_none()


def is_owned(job_id: str, epoch: int) -> ColumnElement[bool]:
    """SQL: this epoch still owns the job."""
    return (jobs.c.id == job_id) & (jobs.c.epoch == epoch) & jobs.c.status.in_(OWNED)


async def mirror_to_thread(
    connection: AsyncConnection, thread_id: str | None, job_id: str, status: str, view: JsonObject, last_seq: int
) -> list[Appended]:
    """Tell the job's thread, if it has one, where the job stands. Rows are locked in this order everywhere: job, then thread."""
    if thread_id is None or (reserved := await reserve_in_thread(connection, thread_id, 1)) is None:
        return []
    event = job_updated(job_id, status, view, last_seq)
    await insert_events(connection, thread_id, reserved.first_seq, [event], reserved.now_s)
    return [Appended(StreamId(thread_id), reserved.last_seq)]


def job_updated(job_id: str, status: str, view: JsonObject, last_seq: int) -> NewEvent:
    """The event that redraws a job's card."""
    return NewEvent(ThreadEvent.JOB_UPDATED, {"job_id": job_id, "status": status, "view": view, "last_seq": last_seq})


def view_json(view: JobView) -> JsonObject:
    """A view as it is stored and sent."""
    return view.model_dump(mode="json")


def job_from(row: RowMapping) -> Job:
    """The wire object of a stored job."""
    result = JobResult.model_validate(row["result"]) if row["result"] is not None else None
    view = JobView.model_validate(row["view"])
    outcome = {} if result is None else {name: getattr(result, name) for name in _OUTCOME}
    return Job.model_validate(
        {
            "id": row["id"],
            "status": row["status"],
            "created_at": to_datetime(row["created_at"]),
            "started_at": None if row["started_at"] is None else to_datetime(row["started_at"]),
            "finished_at": None if row["finished_at"] is None else to_datetime(row["finished_at"]),
            "attempt": row["attempt"],
            "effort": row["effort"],
            "request": row["request"],
            "view": view,
            "usage": view.usage if result is None else result.usage,
            "error": row["error"],
            "last_seq": row["last_seq"],
        }
        | outcome
    )
