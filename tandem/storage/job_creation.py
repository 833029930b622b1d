"""Creating a job: its row, first events and idempotency key in the caller's transaction."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, func, insert, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import IdempotencyKeyReused, NotFound, TooManyRequests
from tandem.ids import StreamId
from tandem.ports import Appended, Created, NewEvent, NewJob
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobStatus, JobView
from tandem.storage.engine import Database
from tandem.storage.events import insert_events
from tandem.storage.job_rows import job_from, mirror_to_thread, view_json
from tandem.storage.tables import idempotency_keys, jobs, threads
from tandem.storage.times import db_now

IDEMPOTENCY_TTL_S: Final = 24 * 3_600.0
"""How long an ``Idempotency-Key`` is remembered."""
_QUOTA_RETRY_S: Final = 5.0


async def create_job(database: Database, connection: AsyncConnection, new: NewJob, max_unfinished: int) -> Created:
    """See ``JobStore.create``. Creations of one tenant take turns, so neither quota nor key can be raced."""
    await database.lock(connection, f"create:{new.tenant}")
    if (earlier := await _find_earlier(connection, new)) is not None:
        return Created(job_from(earlier), is_replay=True)
    await _check_quota(connection, new, max_unfinished)
    await _check_thread(connection, new)
    row = await _insert_job(connection, new)
    if new.idempotency_key is not None:
        await _remember_key(connection, new, new.idempotency_key)
    return Created(job_from(row), is_replay=False, appended=await _insert_first_events(connection, new, row))


async def _find_earlier(connection: AsyncConnection, new: NewJob) -> RowMapping | None:
    if new.idempotency_key is None:
        return None
    statement = (
        select(idempotency_keys.c.fingerprint, jobs)
        .join(jobs, jobs.c.id == idempotency_keys.c.job_id)
        .where(idempotency_keys.c.tenant == new.tenant, idempotency_keys.c.key == new.idempotency_key, idempotency_keys.c.expires_at > db_now())
    )
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is not None and row["fingerprint"] != (new.fingerprint or ""):
        raise IdempotencyKeyReused(f"Idempotency-Key {new.idempotency_key!r} came earlier with another body; use a fresh key for another request")
    return row


async def _check_quota(connection: AsyncConnection, new: NewJob, max_unfinished: int) -> None:
    unfinished = select(jobs.c.id).where(jobs.c.tenant == new.tenant, jobs.c.finished_at.is_(None)).limit(max_unfinished)
    count = (await connection.execute(select(func.count()).select_from(unfinished.subquery()))).scalar_one()
    if count >= max_unfinished:
        raise TooManyRequests(f"{max_unfinished} jobs are unfinished already; wait for one to end or cancel one", retry_after_s=_QUOTA_RETRY_S)


async def _check_thread(connection: AsyncConnection, new: NewJob) -> None:
    if new.thread_id is None:
        return
    statement = select(threads.c.id).where(threads.c.id == new.thread_id, threads.c.tenant == new.tenant)
    if (await connection.execute(statement)).one_or_none() is None:
        raise NotFound(f"no thread {new.thread_id!r}; create it first with POST /v1/threads", param="thread_id")


async def _insert_job(connection: AsyncConnection, new: NewJob) -> RowMapping:
    statement = insert(jobs).values(
        id=new.id,
        tenant=new.tenant,
        key_id=new.key_id,
        thread_id=new.thread_id,
        decision_id=new.decision_id,
        status=JobStatus.QUEUED,
        request=new.request.model_dump(mode="json", by_alias=True),
        effort=new.effort,
        priority=new.request.priority,
        view=view_json(JobView(title=new.title)),
        last_seq=1,
        epoch=0,
        attempt=0,
        lost=0,
        hint_at=db_now(),  # who creates a job also hints; the reaper waits for that one
        hint_wait_s=0.0,
        created_at=db_now(),
    )
    return (await connection.execute(statement.returning(jobs))).mappings().one()


async def _remember_key(connection: AsyncConnection, new: NewJob, key: str) -> None:
    """Forget the tenant's expired keys, this one among them perhaps, and remember this one."""
    await connection.execute(delete(idempotency_keys).where(idempotency_keys.c.tenant == new.tenant, idempotency_keys.c.expires_at <= db_now()))
    values = {"tenant": new.tenant, "key": key, "fingerprint": new.fingerprint or "", "job_id": new.id}
    await connection.execute(insert(idempotency_keys).values(**values, expires_at=db_now() + IDEMPOTENCY_TTL_S))


async def _insert_first_events(connection: AsyncConnection, new: NewJob, row: RowMapping) -> Sequence[Appended]:
    first = [
        NewEvent(JobEvent.CREATED, {"job_id": new.id, "status": JobStatus.QUEUED, "title": new.title, "effort": new.effort}),
        NewEvent(JobEvent.QUEUED, {"status": JobStatus.QUEUED}),
    ]
    await insert_events(connection, new.id, 0, first, row["created_at"])
    return [Appended(StreamId(new.id), 1), *await mirror_to_thread(connection, new.thread_id, new.id, row["status"], row["view"], 1)]
