"""Cancelling a job with all that descend from it."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import IdFactory
from tandem.ports import Appended, Changed, NewEvent
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Job, JobStatus
from tandem.storage.job_ends import CANCELLED, end_job
from tandem.storage.job_rows import altered, change_job, job_from, lock_theirs
from tandem.storage.tables import jobs
from tandem.storage.times import db_now


async def cancel_family(connection: AsyncConnection, ids: IdFactory, job_id: str, tenant: str, *, is_rollback: bool) -> Changed:
    """See ``JobStore.request_cancel``.

    First all rows are locked, ancestors before descendants and siblings by id, and only then are threads, by id too: two cancellations never wait
    for each other in a circle. Nobody can add a child to a locked parent, and none to one whose cancellation was asked for.
    """
    head = await lock_theirs(connection, job_id, tenant)
    family = [head, *await _lock_descendants(connection, head)]
    stands = job_from(head)
    appended: list[Appended] = []
    for row in sorted(family, key=lambda each: (each["thread_id"] or "", each["id"])):
        if row["finished_at"] is not None:
            continue
        job, grown = await _cancel(connection, ids, row, is_rollback=is_rollback)
        appended.extend(grown)
        if row["id"] == job_id:
            stands = job
    return Changed(stands, appended)


async def _lock_descendants(connection: AsyncConnection, head: RowMapping) -> Sequence[RowMapping]:
    """All jobs below, ended ones too: what descends from them may still run.

    A topmost job also finds those whose parent has been purged: they carry its id as their root.
    """
    below = await _lock_below(connection, [head["id"]])
    if head["root_id"] is not None:
        return below
    parents = jobs.alias()
    orphans = await _lock(connection, (jobs.c.root_id == head["id"]) & ~exists().where(parents.c.id == jobs.c.parent_id))
    return [*below, *orphans, *await _lock_below(connection, [row["id"] for row in orphans])]


async def _lock_below(connection: AsyncConnection, parents: Sequence[str]) -> Sequence[RowMapping]:
    """Generation by generation; a parent is older than its children, so there is no circle."""
    found: list[RowMapping] = []
    while parents:
        children = await _lock(connection, jobs.c.parent_id.in_(parents))
        found.extend(children)
        parents = [row["id"] for row in children]
    return found


async def _lock(connection: AsyncConnection, condition: ColumnElement[bool]) -> Sequence[RowMapping]:
    statement = select(jobs, db_now().label("now_s")).where(condition).order_by(jobs.c.id).with_for_update(key_share=True, of=jobs)
    return (await connection.execute(statement)).mappings().all()


async def _cancel(connection: AsyncConnection, ids: IdFactory, row: RowMapping, *, is_rollback: bool) -> tuple[Job, Sequence[Appended]]:
    """Cancel one locked, unfinished job: at once when no worker holds it, else by asking its worker."""
    if row["status"] == JobStatus.CANCELLING:
        if row["is_rollback"] or not is_rollback:
            return job_from(row), ()
        changed, appended = await change_job(connection, row, {"is_rollback": True}, [])
        return job_from(changed), appended
    if row["status"] != JobStatus.IN_PROGRESS:
        return await end_job(connection, ids, altered(row, {"is_rollback": is_rollback, "cancel_requested_at": row["now_s"]}), CANCELLED)
    change = {"status": JobStatus.CANCELLING, "cancel_requested_at": db_now(), "is_rollback": is_rollback}
    changed, appended = await change_job(connection, row, change, [NewEvent(JobEvent.CANCELLING, {"status": JobStatus.CANCELLING})])
    return job_from(changed), appended
