"""Responses of the OpenAI door. Where a job answers, its row is the truth about state and output; a row here holds what the job's does not."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Select, delete, insert, literal, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import NotFound
from tandem.ids import JobId, ResponseId, TenantId
from tandem.ports import Created, NewJob, Once, StoredResponse
from tandem.schemas.jobs import Job
from tandem.storage.engine import Database
from tandem.storage.idempotency import find_earlier, remember
from tandem.storage.job_creation import create_job
from tandem.storage.job_rows import job_from
from tandem.storage.retries import purge_job
from tandem.storage.tables import jobs, responses
from tandem.storage.times import db_now, to_datetime


class SqlResponseStore:
    """Implements ``ResponseStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, new: StoredResponse, *, once: Once | None = None, stale_after_s: float = 0.0) -> tuple[StoredResponse, bool]:
        async def work(connection: AsyncConnection) -> tuple[StoredResponse, bool]:
            earlier_id = await find_earlier(self._database, connection, new.tenant, once)
            earlier = None if earlier_id is None else await _find(connection, _made(earlier_id))
            if earlier is not None and once is not None and _counts(earlier, once, stale_after_s):
                return earlier, True
            begun = await _insert(connection, new)
            await remember(connection, new.tenant, once, new.id)
            return begun, False

        return await self._database.write(work)

    async def begin_job(self, new: StoredResponse, job: NewJob, *, max_unfinished: int) -> tuple[StoredResponse, Created | None]:
        async def work(connection: AsyncConnection) -> tuple[StoredResponse, Created | None]:
            await self._database.lock(connection, f"create:{job.tenant}")  # as create_job does, and in its order
            earlier_id = await find_earlier(self._database, connection, new.tenant, job.once)
            earlier = None if earlier_id is None else await _find(connection, _made(earlier_id))
            if earlier is not None and earlier.job_id is None and earlier.status != "failed":
                return earlier, None
            if earlier is not None and (known := await _find_job(connection, earlier.job_id)) is not None:
                return earlier, Created(known, is_replay=True)
            created = await create_job(self._database, connection, replace(job, once=None), max_unfinished)
            await remember(connection, new.tenant, job.once, job.id)
            return await _insert(connection, new), created

        return await self._database.write(work)

    async def end(self, response: StoredResponse) -> None:
        async def work(connection: AsyncConnection) -> None:
            row = (responses.c.id == response.id) & (responses.c.tenant == response.tenant) & responses.c.finished_at.is_(None)
            if not response.is_stored:
                await connection.execute(delete(responses).where(row))
                return
            values = {"status": response.status, "output": list(response.output), "usage": response.usage, "error": response.error}
            await connection.execute(update(responses).where(row).values(**values, finished_at=db_now()))

        await self._database.write(work)

    async def get(self, response_id: ResponseId, tenant: TenantId) -> StoredResponse:
        row = await self._database.row(_select().where(responses.c.id == response_id, responses.c.tenant == tenant))
        if row is None:
            raise _unknown(response_id)
        return _response_from(row)

    async def chain(self, response_id: ResponseId, tenant: TenantId, limit: int) -> Sequence[StoredResponse]:
        rows = await self._database.rows(_chain(response_id, tenant, limit))
        if not rows:
            raise _unknown(response_id)
        return [_response_from(row) for row in rows]

    async def remove(self, response_id: ResponseId, tenant: TenantId) -> None:
        async def work(connection: AsyncConnection) -> None:
            row = (responses.c.id == response_id) & (responses.c.tenant == tenant)
            found = await _find(connection, row)
            if found is None:
                raise _unknown(response_id)
            if found.job_id is not None:
                await purge_job(connection, found.job_id, tenant)
            await connection.execute(delete(responses).where(row))

        await self._database.write(work)


def _select() -> Select[tuple[object, ...]]:
    return select(responses, db_now().label("now_s"))


async def _find(connection: AsyncConnection, which: ColumnElement[bool]) -> StoredResponse | None:
    row = (await connection.execute(_select().where(which))).mappings().one_or_none()
    return None if row is None else _response_from(row)


async def _find_job(connection: AsyncConnection, job_id: JobId | None) -> Job | None:
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).mappings().one_or_none()
    return None if row is None else job_from(row)


async def _insert(connection: AsyncConnection, new: StoredResponse) -> StoredResponse:
    values = {
        "id": new.id,
        "tenant": new.tenant,
        "job_id": new.job_id,
        "previous_id": new.previous_id,
        "status": new.status,
        "request": new.request,
        "input": list(new.input),
        "output": list(new.output),
        "usage": new.usage,
        "error": new.error,
        "is_stored": new.is_stored,
        "created_at": db_now(),
    }
    await connection.execute(insert(responses).values(**values))
    stored = await _find(connection, responses.c.id == new.id)
    if stored is None:
        raise _unknown(new.id)
    return stored


def _made(object_id: str) -> ColumnElement[bool]:
    """SQL: what an idempotency key stands for, a response or the job of one."""
    return (responses.c.id == object_id) | (responses.c.job_id == object_id)


def _counts(earlier: StoredResponse, once: Once, stale_after_s: float) -> bool:
    """Whether a repeated call gets this instead of a new answer."""
    if earlier.job_id is not None:
        return True
    if earlier.status == "in_progress":
        return once.kind == "key" and earlier.age_s <= stale_after_s
    return earlier.status != "failed"


def _chain(response_id: ResponseId, tenant: TenantId, limit: int) -> Select[tuple[object, ...]]:
    """The response and at most ``limit - 1`` before it; the depth also ends a circle, should one ever be stored."""
    first = select(responses.c.id, responses.c.previous_id, literal(0).label("depth")).where(
        responses.c.id == response_id, responses.c.tenant == tenant
    )
    chain = first.cte("chain", recursive=True)
    before = (
        select(responses.c.id, responses.c.previous_id, chain.c.depth + 1)
        .join(chain, responses.c.id == chain.c.previous_id)
        .where(responses.c.tenant == tenant, chain.c.depth < limit - 1)
    )
    chain = chain.union_all(before)
    return _select().join(chain, responses.c.id == chain.c.id).order_by(chain.c.depth.desc())


def _response_from(row: RowMapping) -> StoredResponse:
    return StoredResponse(
        id=ResponseId(row["id"]),
        tenant=TenantId(row["tenant"]),
        job_id=None if row["job_id"] is None else JobId(row["job_id"]),
        previous_id=None if row["previous_id"] is None else ResponseId(row["previous_id"]),
        status=row["status"],
        request=row["request"],
        input=row["input"],
        output=row["output"],
        usage=row["usage"],
        error=row["error"],
        is_stored=row["is_stored"],
        created_at=to_datetime(row["created_at"]),
        finished_at=None if row["finished_at"] is None else to_datetime(row["finished_at"]),
        age_s=max(0.0, row["now_s"] - row["created_at"]),
    )


def _unknown(response_id: str) -> NotFound:
    return NotFound(f"no response {response_id!r}; check the id, and that the key belongs to the same tenant", param="response_id")
