"""Listing a tenant's jobs, filtered, in pages."""

from collections.abc import Sequence
from json import dumps

from sqlalchemy import Select, Text, cast, select, tuple_
from sqlalchemy.engine import RowMapping

from tandem.errors import NotFound
from tandem.ports import JobFilter
from tandem.schemas.jobs import Job
from tandem.storage.engine import Database
from tandem.storage.job_rows import job_from
from tandem.storage.tables import jobs


async def list_jobs(database: Database, tenant: str, where: JobFilter, after: str | None, limit: int) -> Sequence[Job]:
    """See ``JobStore.list``."""
    statement = _filtered(tenant, where)
    cursor = None if after is None else await _cursor(database, tenant, after)
    found: list[Job] = []
    while len(found) < limit:
        page = statement if cursor is None else statement.where(tuple_(jobs.c.created_at, jobs.c.id) < (cursor["created_at"], cursor["id"]))
        rows = await database.rows(page.limit(limit))
        found.extend(job for job in map(job_from, rows) if where.metadata.items() <= job.request.metadata.items())
        if len(rows) < limit or not where.metadata:
            break
        cursor = rows[-1]
    return found[:limit]


async def _cursor(database: Database, tenant: str, after: str) -> RowMapping:
    row = await database.row(select(jobs.c.created_at, jobs.c.id).where(jobs.c.id == after, jobs.c.tenant == tenant))
    if row is None:
        raise NotFound(f"no job {after!r} to list after; take `next_after` of the page before", param="after")
    return row


def _filtered(tenant: str, where: JobFilter) -> Select[RowMapping]:
    statement = select(jobs).where(jobs.c.tenant == tenant).order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
    wanted = (
        (jobs.c.status, where.status),
        (jobs.c.thread_id, where.thread_id),
        (jobs.c.parent_id, where.parent_id),
        (jobs.c.schedule_id, where.schedule_id),
    )
    for column, value in wanted:
        if value is not None:
            statement = statement.where(column == value)
    for key, value in where.metadata.items():
        # JSON operators would choke: PostgreSQL's on an escaped NUL or half surrogate anywhere in the request, SQLite's on a quote in the key. The
        # stored text holds the pair as we write it; whatever else happens to hold it (an answer's schema, other case) is sorted out afterwards.
        pair = f"{dumps(key)}:{dumps(value)}"
        statement = statement.where(cast(jobs.c.request, Text).contains(pair, autoescape=True))
    return statement
