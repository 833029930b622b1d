"""What the workers' side does to a job's row in more than one place: the cheap fence, and giving a job up."""

from typing import Final

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.schemas.jobs import JobStatus
from tandem.storage.job_rows import is_owned, lost
from tandem.storage.tables import jobs
from tandem.storage.times import db_now

DUE_NOW: Final[dict[str, object]] = {"hint_at": 0.0, "hint_wait_s": 0.0}
"""Columns that make the reaper hint at once."""


async def hold(connection: AsyncConnection, job_id: str, epoch: int, *, is_served: bool = False) -> float:
    """Lock the job until the transaction ends without reading its texts, and note that it moves; the database's time.

    Args:
        connection: Of the transaction.
        job_id: Which job.
        epoch: Of the claim.
        is_served: What the job needs was there: the patience of ``defer`` begins anew.

    Raises:
        LeaseLost: The epoch is stale.
    """
    statement = update(jobs).where(is_owned(job_id, epoch)).values(event_at=db_now()).returning(jobs.c.event_at)
    if is_served:
        statement = statement.values(deferred_since=None)
    now_s: float | None = (await connection.execute(statement)).scalar_one_or_none()
    if now_s is None:
        raise lost(job_id, epoch)
    return now_s


def given_up(status: JobStatus) -> dict[str, object]:
    """Columns of a job that its worker lets go of; the epoch rises, so that this worker can write no more."""
    change: dict[str, object] = {"status": status, "epoch": jobs.c.epoch + 1, "owner": None, "lease_until": None, "event_at": db_now()}
    if status is JobStatus.PAUSED:
        change["pause_requested_at"] = None
    if status is JobStatus.QUEUED:
        change |= {"queued_at": db_now(), "expires_at": None, **DUE_NOW}
    return change
