"""The one way a job ends: terminal status and event, webhook deliveries and the thread's message, inside the caller's transaction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, cast

from pydantic import JsonValue
from sqlalchemy import Table, delete, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import IdFactory, StreamId
from tandem.ports import Appended, NewEvent, Outcome
from tandem.schemas.base import JsonObject
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Job, JobFailure, JobResult, JobStatus, JobView
from tandem.storage.deliveries import queue_deliveries
from tandem.storage.events import insert_events, reserve_in_thread
from tandem.storage.job_rows import altered, job_from, job_updated, mirror_to_thread, view_json
from tandem.storage.messages import Answer, insert_message
from tandem.storage.tables import artifacts, checkpoint_writes, checkpoints, effects, jobs

TerminalType = Literal["response.completed", "response.failed", "response.cancelled", "response.incomplete"]

_EVENTS: Final[dict[JobStatus, TerminalType]] = {
    JobStatus.COMPLETED: JobEvent.COMPLETED,
    JobStatus.FAILED: JobEvent.FAILED,
    JobStatus.CANCELLED: JobEvent.CANCELLED,
    JobStatus.INCOMPLETE: JobEvent.INCOMPLETE,
}
_ESSENTIALS: Final = {"status", "output_text", "answer", "confidence", "verification", "error", "usage"}
"""Fields of a ``Job`` that its terminal event carries."""
CANCELLED: Final = Outcome(JobStatus.CANCELLED)
WORK: Final = (checkpoint_writes, checkpoints, effects, artifacts)
"""Tables of all that a job's workers have made, events apart."""


async def end_job(
    connection: AsyncConnection,
    ids: IdFactory,
    row: RowMapping,
    outcome: Outcome,
    *,
    view: JobView | None = None,
    before: Sequence[NewEvent] = (),
    lost: int | None = None,
) -> tuple[Job, list[Appended]]:
    """End a job whose row the caller has locked and found unfinished.

    A job that is being cancelled ends as cancelled whatever its worker brings: who asked for it was told so. ``before`` are events that precede the
    terminal one. ``lost`` is the new count of lost workers.
    """
    if row["status"] == JobStatus.CANCELLING and outcome.status is not JobStatus.CANCELLED:
        outcome = _late(outcome)
    is_rollback = outcome.status is JobStatus.CANCELLED and bool(row["is_rollback"])
    values: dict[str, object] = {
        "status": outcome.status,
        "result": None if outcome.result is None else outcome.result.model_dump(mode="json"),
        "error": None if outcome.error is None else outcome.error.model_dump(mode="json"),
        "view": row["view"] if view is None else view_json(view),
        "inputs": [_withdrawn(each) for each in row["inputs"]],
        "artifacts": [] if is_rollback else row["artifacts"],
        "last_seq": row["last_seq"] + len(before) + 1,
        "lost": row["lost"] if lost is None else lost,
        "finished_at": row["now_s"],
        "lease_until": None,
        "owner": None,
        "expires_at": None,
        "cancel_requested_at": row["cancel_requested_at"],
        "is_rollback": row["is_rollback"],
        "pause_requested_at": None,
    }
    await connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(**values))
    if is_rollback:
        await drop_rows(connection, row["id"], WORK)
    ended = altered(row, values)
    job = job_from(ended)
    terminal = NewEvent(_EVENTS[outcome.status], cast(dict[str, JsonValue], job.model_dump(mode="json", include=_ESSENTIALS)))
    await insert_events(connection, job.id, row["last_seq"] + 1, [*before, terminal], row["now_s"], epoch=row["epoch"])
    await queue_deliveries(
        connection, ids, tenant=row["tenant"], job=job, kind=_EVENTS[outcome.status], sequence_number=job.last_seq, now_s=row["now_s"]
    )
    told = await mirror_to_thread(connection, ended) if is_rollback else await _tell_thread(connection, ids, ended, job)
    return job, [Appended(StreamId(job.id), job.last_seq), *told]


async def drop_rows(connection: AsyncConnection, job_id: str, tables: Sequence[Table]) -> None:
    """Delete a job's rows from tables that refer to it, in that order."""
    for table in tables:
        await connection.execute(delete(table).where(table.c.job_id == job_id))


def _late(outcome: Outcome) -> Outcome:
    """What a cancelled job keeps of an answer that came too late: what it cost."""
    return replace(CANCELLED, result=None if outcome.result is None else JobResult(usage=outcome.result.usage))


def _withdrawn(asked: JsonObject) -> JsonObject:
    """A question as it stands when its job has ended."""
    return asked | {"status": "withdrawn"} if asked["status"] == "pending" else asked


async def _tell_thread(connection: AsyncConnection, ids: IdFactory, ended: RowMapping, job: Job) -> list[Appended]:
    """The result as a message, then the job's card: who sees the card say "completed" has the message already."""
    thread_id: str | None = ended["thread_id"]
    if thread_id is None or (reserved := await reserve_in_thread(connection, thread_id, 2)) is None:
        return []
    answer = Answer(ids.message(), job.output_text or "", lane="slow", job_id=job.id, decision_id=ended["decision_id"], error=_failure(job))
    message = answer.at(thread_id, reserved.first_seq, reserved.now_s)
    created = await insert_message(connection, message, reserved.now_s)
    await insert_events(connection, thread_id, reserved.first_seq, [created, job_updated(ended)], reserved.now_s)
    return [Appended(StreamId(thread_id), reserved.last_seq)]


def _failure(job: Job) -> JobFailure | None:
    if job.status is JobStatus.CANCELLED and job.error is None:
        return JobFailure(code="job_cancelled", message="The job was cancelled.")
    return job.error
