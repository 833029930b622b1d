"""The one way a job ends: terminal status and event, webhook delivery and the thread's message, inside the caller's transaction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, cast

from pydantic import JsonValue
from sqlalchemy import insert, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import IdFactory, StreamId
from tandem.ports import Appended, NewEvent, Outcome
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Job, JobFailure, JobRequest, JobResult, JobStatus, JobView
from tandem.schemas.webhooks import WebhookData, WebhookEvent
from tandem.storage.events import insert_events, reserve_in_thread
from tandem.storage.job_rows import job_from, job_updated, view_json
from tandem.storage.messages import Answer, insert_message
from tandem.storage.tables import jobs, outbox
from tandem.storage.times import to_datetime

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
    last_seq: int = row["last_seq"] + len(before) + 1
    values: dict[str, object] = {
        "status": outcome.status,
        "result": None if outcome.result is None else outcome.result.model_dump(mode="json"),
        "error": None if outcome.error is None else outcome.error.model_dump(mode="json"),
        "view": row["view"] if view is None else view_json(view),
        "last_seq": last_seq,
        "lost": row["lost"] if lost is None else lost,
        "finished_at": row["now_s"],
        "lease_until": None,
        "owner": None,
    }
    await connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(**values))
    job = job_from(cast(RowMapping, dict(row) | values))
    terminal = NewEvent(_EVENTS[outcome.status], cast(dict[str, JsonValue], job.model_dump(mode="json", include=_ESSENTIALS)))
    await insert_events(connection, job.id, row["last_seq"] + 1, [*before, terminal], row["now_s"], epoch=row["epoch"])
    await _add_delivery(connection, ids, row, job)
    return job, [Appended(StreamId(job.id), last_seq), *await _tell_thread(connection, ids, row, job)]


def _late(outcome: Outcome) -> Outcome:
    """What a cancelled job keeps of an answer that came too late: what it cost."""
    return replace(CANCELLED, result=None if outcome.result is None else JobResult(usage=outcome.result.usage))


async def _add_delivery(connection: AsyncConnection, ids: IdFactory, row: RowMapping, job: Job) -> None:
    request: JobRequest = job.request
    if request.webhook_url is None:
        return
    delivery_id = ids.delivery()
    body = WebhookEvent(
        id=delivery_id,
        type=_EVENTS[job.status],
        created_at=int(row["now_s"]),
        timestamp=to_datetime(row["now_s"]),
        data=WebhookData(id=job.id, job_id=job.id, status=job.status, sequence_number=job.last_seq, metadata=dict(request.metadata)),
    )
    await connection.execute(
        insert(outbox).values(
            id=delivery_id,
            job_id=job.id,
            tenant=row["tenant"],
            url=request.webhook_url,
            body=body.model_dump_json().encode(),
            state="pending",
            attempt=0,
            due_at=row["now_s"],
            created_at=row["now_s"],
            updated_at=row["now_s"],
        )
    )


async def _tell_thread(connection: AsyncConnection, ids: IdFactory, row: RowMapping, job: Job) -> list[Appended]:
    """The result as a message, then the job's card: who sees the card say "completed" has the message already."""
    thread_id: str | None = row["thread_id"]
    if thread_id is None or (reserved := await reserve_in_thread(connection, thread_id, 2)) is None:
        return []
    answer = Answer(ids.message(), job.output_text or "", lane="slow", job_id=job.id, decision_id=row["decision_id"], error=_failure(job))
    message = answer.at(thread_id, reserved.first_seq, reserved.now_s)
    created = await insert_message(connection, message, reserved.now_s)
    updated = job_updated(job.id, job.status, view_json(job.view), job.last_seq)
    await insert_events(connection, thread_id, reserved.first_seq, [created, updated], reserved.now_s)
    return [Appended(StreamId(thread_id), reserved.last_seq)]


def _failure(job: Job) -> JobFailure | None:
    if job.status is JobStatus.CANCELLED and job.error is None:
        return JobFailure(code="job_cancelled", message="The job was cancelled.")
    return job.error
