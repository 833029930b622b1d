"""The sweep over jobs that crashes and time have left behind.

It looks without locking, then mends job by job, each in a transaction that looks again: whoever came first stands, and of several reapers each job
goes to one. The rules are in ``job_repairs.py``.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import IdFactory, JobId
from tandem.ports import Appended, Reaped
from tandem.schemas.jobs import JobStatus
from tandem.storage.engine import Database
from tandem.storage.job_repairs import Repair, repair_job
from tandem.storage.job_rows import OWNED
from tandem.storage.tables import jobs
from tandem.storage.times import db_now

_LONGEST_HINT_WAIT_S: Final = 60.0
_IS_OPEN: Final = jobs.c.finished_at.is_(None)


async def reap(database: Database, ids: IdFactory, *, rehint_after_s: float, max_attempts: int, limit: int) -> Reaped:
    """See ``JobStore.reap``. Mends at most ``limit`` jobs of each kind, oldest first; what it queues is due for a hint at once."""
    failed: list[JobId] = []
    expired: list[JobId] = []
    appended: list[Appended] = []
    for job_id in await _find_broken(database, max_attempts, limit):
        repair, grown = await database.write(partial(repair_job, ids=ids, job_id=job_id, max_attempts=max_attempts))
        appended.extend(grown)
        if repair is Repair.FAIL:
            failed.append(job_id)
        elif repair in {Repair.END_LATE, Repair.EXPIRE}:
            expired.append(job_id)
    return Reaped(due=await _count_due(database, rehint_after_s, max_attempts, limit), failed=failed, appended=appended, expired=expired)


async def _find_broken(database: Database, max_attempts: int, limit: int) -> Sequence[JobId]:
    """Jobs that may need mending, each once."""
    is_gone = jobs.c.status.in_(OWNED) & (jobs.c.lease_until < db_now())
    is_hopeless = is_gone & ((jobs.c.status == JobStatus.CANCELLING) | (jobs.c.lost + 1 >= max_attempts))
    is_early = (jobs.c.status == JobStatus.SCHEDULED) & (jobs.c.hint_at <= db_now())
    is_late = jobs.c.deadline_at.is_not(None) & (jobs.c.deadline_at <= db_now()) & (jobs.c.status != JobStatus.CANCELLING)
    has_waited = jobs.c.expires_at.is_not(None) & (jobs.c.expires_at <= db_now())
    kinds = ((is_hopeless, jobs.c.lease_until), (is_late, jobs.c.deadline_at), (has_waited, jobs.c.expires_at), (is_early, jobs.c.hint_at))
    found: dict[JobId, None] = {}
    for condition, age in kinds:
        rows = await database.rows(select(jobs.c.id).where(_IS_OPEN, condition).order_by(age).limit(limit))
        found.update((JobId(row["id"]), None) for row in rows)
    return list(found)


def _is_due(rehint_after_s: float, max_attempts: int) -> ColumnElement[bool]:
    """SQL: the job waits for a worker, and the newest hint is old enough."""
    is_abandoned = (jobs.c.status == JobStatus.IN_PROGRESS) & (jobs.c.lease_until < db_now()) & (jobs.c.lost + 1 < max_attempts)
    wait_s = case((jobs.c.hint_wait_s > rehint_after_s, jobs.c.hint_wait_s), else_=rehint_after_s)
    return _IS_OPEN & ((jobs.c.status == JobStatus.QUEUED) | is_abandoned) & (jobs.c.hint_at + wait_s <= db_now())


async def _count_due(database: Database, rehint_after_s: float, max_attempts: int, limit: int) -> int:
    """Mark the due jobs as hinted and count them; of several reapers each job is counted by one."""
    is_due = _is_due(rehint_after_s, max_attempts)
    due = [row["id"] for row in await database.rows(select(jobs.c.id).where(is_due).order_by(jobs.c.hint_at).limit(limit))]
    if not due:
        return 0
    slower_s = 2 * case((jobs.c.hint_wait_s > rehint_after_s, jobs.c.hint_wait_s), else_=rehint_after_s)
    change = (
        update(jobs)
        .where(jobs.c.id.in_(due), is_due)
        .values(hint_at=db_now(), hint_wait_s=case((slower_s < _LONGEST_HINT_WAIT_S, slower_s), else_=_LONGEST_HINT_WAIT_S))
        .returning(jobs.c.id)
    )

    async def work(connection: AsyncConnection) -> int:
        return len((await connection.execute(change)).all())

    return await database.write(work)
