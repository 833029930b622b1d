"""What an operator sees of the jobs: how many stand where, how long they wait, and what workers hold."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.engine import RowMapping

from tandem.ports import JobCounts
from tandem.schemas.jobs import JobStatus
from tandem.schemas.operations import Lease
from tandem.storage.engine import Database
from tandem.storage.job_rows import OWNED
from tandem.storage.tables import jobs
from tandem.storage.times import db_now

_IS_QUEUED = (jobs.c.status == JobStatus.QUEUED) & jobs.c.finished_at.is_(None)
"""SQL: waits for a worker."""


async def count_jobs(database: Database) -> JobCounts:
    """See ``JobStore.counts``."""
    by_status = await database.rows(select(jobs.c.status, func.count().label("jobs"), func.sum(jobs.c.lost).label("lost")).group_by(jobs.c.status))
    by_key = await database.rows(select(jobs.c.share_key, func.count().label("jobs")).where(_IS_QUEUED).group_by(jobs.c.share_key))
    oldest = select(func.min(jobs.c.queued_at)).where(_IS_QUEUED).scalar_subquery()
    newest_beat = select(func.max(jobs.c.beat_at)).scalar_subquery()
    ages = await database.row(select((db_now() - oldest).label("queued_s"), (db_now() - newest_beat).label("claim_s")))
    queued_s: float | None = None if ages is None else ages["queued_s"]
    claim_s: float | None = None if ages is None else ages["claim_s"]
    return JobCounts(
        by_status={JobStatus(row["status"]): row["jobs"] for row in by_status},
        oldest_queued_s=max(0.0, queued_s or 0.0),
        last_claim_s=None if claim_s is None else max(0.0, claim_s),
        queued_by_key={row["share_key"]: row["jobs"] for row in by_key},
        lost_attempts=sum(int(row["lost"]) for row in by_status),
    )


async def list_leases(database: Database, stuck_after_s: float, limit: int) -> Sequence[Lease]:
    """See ``JobStore.leases``."""
    held = jobs.c.finished_at.is_(None) & jobs.c.status.in_(OWNED) & jobs.c.lease_until.is_not(None)
    columns = (jobs.c.id, jobs.c.tenant, jobs.c.owner, jobs.c.status, jobs.c.attempt, jobs.c.lost)
    spans = (
        (db_now() - jobs.c.started_at).label("held_s"),
        (jobs.c.lease_until - db_now()).label("lease_left_s"),
        (db_now() - func.coalesce(jobs.c.event_at, jobs.c.started_at)).label("silent_s"),
    )
    statement = select(*columns, *spans).where(held).order_by(jobs.c.started_at, jobs.c.id).limit(limit)
    return [_lease_from(row, stuck_after_s) for row in await database.rows(statement)]


def _lease_from(row: RowMapping, stuck_after_s: float) -> Lease:
    silent_s = max(0.0, row["silent_s"])
    return Lease(
        job_id=row["id"],
        tenant=row["tenant"],
        worker=row["owner"] or "",
        status=row["status"],
        attempt=row["attempt"],
        lost=row["lost"],
        held_s=max(0.0, row["held_s"]),
        lease_left_s=row["lease_left_s"],
        silent_s=silent_s,
        is_stuck=row["lease_left_s"] > 0 and silent_s > stuck_after_s,
    )
