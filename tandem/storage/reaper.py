"""The sweep over jobs whose hint or worker is lost. Looks without locking, then changes job by job, each in a transaction that looks again."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, case, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import IdFactory, JobId
from tandem.ports import Appended, NewEvent, Outcome, Reaped
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobFailure, JobStatus
from tandem.storage.engine import Database
from tandem.storage.job_ends import CANCELLED, end_job
from tandem.storage.job_rows import lock_job
from tandem.storage.tables import jobs
from tandem.storage.times import db_now

_LONGEST_HINT_WAIT_S: Final = 60.0


async def reap(database: Database, ids: IdFactory, *, rehint_after_s: float, max_attempts: int, limit: int) -> Reaped:
    """See ``JobStore.reap``. Hints come in order of priority, then of age; jobs to be ended come before jobs to be hinted."""
    failed: list[JobId] = []
    appended: list[Appended] = []
    for row in await database.rows(select(jobs.c.id).where(_is_over(max_attempts)).order_by(jobs.c.lease_until).limit(limit)):
        job_id = JobId(row["id"])
        status, grown = await database.write(partial(_end, ids=ids, job_id=job_id))
        appended.extend(grown)
        if status is JobStatus.FAILED:
            failed.append(job_id)
    return Reaped(to_hint=await _hint(database, rehint_after_s, max_attempts, limit), failed=failed, appended=appended)


def _is_over(max_attempts: int) -> ColumnElement[bool]:
    """SQL: the worker is gone and there is nothing left but to end the job."""
    is_last = jobs.c.lost + 1 >= max_attempts
    is_ending = (jobs.c.status == JobStatus.CANCELLING) | ((jobs.c.status == JobStatus.IN_PROGRESS) & is_last)
    return jobs.c.finished_at.is_(None) & is_ending & (jobs.c.lease_until < db_now())


def _is_due(rehint_after_s: float, max_attempts: int) -> ColumnElement[bool]:
    """SQL: the job waits for a worker, and the newest hint is old enough."""
    is_abandoned = (jobs.c.status == JobStatus.IN_PROGRESS) & (jobs.c.lease_until < db_now()) & (jobs.c.lost + 1 < max_attempts)
    wait_s = case((jobs.c.hint_wait_s > rehint_after_s, jobs.c.hint_wait_s), else_=rehint_after_s)
    return jobs.c.finished_at.is_(None) & ((jobs.c.status == JobStatus.QUEUED) | is_abandoned) & (jobs.c.hint_at + wait_s <= db_now())


async def _end(connection: AsyncConnection, ids: IdFactory, job_id: JobId) -> tuple[JobStatus | None, Sequence[Appended]]:
    """End one job found to be over, unless a sign of life or another reaper came first; the status it ended with, or None."""
    row = await lock_job(connection, job_id)
    if row is None or row["finished_at"] is not None or row["lease_until"] is None or row["lease_until"] >= row["now_s"]:
        return None, ()
    lost: int = row["lost"] + 1
    outcome = CANCELLED if row["status"] == JobStatus.CANCELLING else _worker_lost(lost)
    gone = NewEvent(JobEvent.ATTEMPT_LOST, {"attempt": row["attempt"]})
    job, appended = await end_job(connection, ids, row, outcome, before=[gone], lost=lost)
    return job.status, appended


async def _hint(database: Database, rehint_after_s: float, max_attempts: int, limit: int) -> Sequence[JobId]:
    """Mark the due jobs as hinted and return them; of several reapers each job goes to one."""
    is_due = _is_due(rehint_after_s, max_attempts)
    due = await database.rows(select(jobs.c.id).where(is_due).order_by(jobs.c.priority, jobs.c.created_at).limit(limit))
    if not due:
        return []
    order = [row["id"] for row in due]
    slower_s = 2 * case((jobs.c.hint_wait_s > rehint_after_s, jobs.c.hint_wait_s), else_=rehint_after_s)
    change = (
        update(jobs)
        .where(jobs.c.id.in_(order), is_due)
        .values(hint_at=db_now(), hint_wait_s=case((slower_s < _LONGEST_HINT_WAIT_S, slower_s), else_=_LONGEST_HINT_WAIT_S))
        .returning(jobs.c.id)
    )

    async def work(connection: AsyncConnection) -> Sequence[RowMapping]:
        return (await connection.execute(change)).mappings().all()

    return sorted((JobId(row["id"]) for row in await database.write(work)), key=order.index)


def _worker_lost(lost: int) -> Outcome:
    message = f"{lost} workers in turn died or froze while running this job; look at the workers' logs, then submit it again"
    return Outcome(JobStatus.FAILED, error=JobFailure(code="worker_lost", message=message))
