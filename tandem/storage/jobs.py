"""Jobs: creation, claims with lease and epoch, fenced writes, the end. The promises are those of ``JobStore``.

Every change is one transaction that first locks the job's row; a stale epoch finds nothing to change and raises ``LeaseLost``. Sweeping for lost
hints and workers is in ``reaper.py``.

``attempt`` counts all claims and never goes down. The attempt cap looks at ``lost``, the claims whose lease ran out: a worker that gives its job
back in good order (``release``) uses up no attempt.
"""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue
from sqlalchemy import func, select, tuple_, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import LeaseLost, NotFound
from tandem.ids import IdFactory, JobId, StreamId, TenantId, ThreadId
from tandem.ports import Appended, Claim, Created, JobCounts, LeaseState, NewEvent, NewJob, Outcome, Reaped
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Job, JobRequest, JobStatus, JobView
from tandem.storage.effects import recall_effect, record_effect
from tandem.storage.engine import Database
from tandem.storage.events import insert_events
from tandem.storage.job_creation import create_job
from tandem.storage.job_ends import CANCELLED, end_job
from tandem.storage.job_rows import OWNED, is_owned, job_from, lock_job, mirror_to_thread, view_json
from tandem.storage.reaper import reap
from tandem.storage.tables import jobs
from tandem.storage.times import db_now


class SqlJobStore:
    """Implements ``JobStore``."""

    def __init__(self, database: Database, ids: IdFactory) -> None:
        self._database = database
        self._ids = ids

    async def create(self, new: NewJob, *, max_unfinished: int) -> Created:
        return await self._database.write(lambda connection: create_job(self._database, connection, new, max_unfinished))

    async def get(self, job_id: JobId, tenant: TenantId) -> Job:
        row = await self._database.row(select(jobs).where(jobs.c.id == job_id, jobs.c.tenant == tenant))
        if row is None:
            raise _unknown(job_id)
        return job_from(row)

    async def list(self, tenant: TenantId, *, status: JobStatus | None, after: JobId | None, limit: int) -> Sequence[Job]:
        statement = select(jobs).where(jobs.c.tenant == tenant).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
        if status is not None:
            statement = statement.where(jobs.c.status == status)
        if after is not None:
            cursor = await self._database.row(select(jobs.c.created_at).where(jobs.c.id == after, jobs.c.tenant == tenant))
            if cursor is None:
                raise NotFound(f"no job {after!r} to list after; take `next_after` of the page before", param="after")
            statement = statement.where(tuple_(jobs.c.created_at, jobs.c.id) < (cursor["created_at"], after))
        return [job_from(row) for row in await self._database.rows(statement)]

    async def request_cancel(self, job_id: JobId, tenant: TenantId) -> tuple[Job, Sequence[Appended]]:
        async def work(connection: AsyncConnection) -> tuple[Job, Sequence[Appended]]:
            row = await lock_job(connection, job_id)
            if row is None or row["tenant"] != tenant:
                raise _unknown(job_id)
            if row["finished_at"] is not None or row["status"] == JobStatus.CANCELLING:
                return job_from(row), ()
            if row["status"] != JobStatus.IN_PROGRESS:
                return await end_job(connection, self._ids, row, CANCELLED)
            change = {"status": JobStatus.CANCELLING, "cancel_requested_at": db_now()}
            changed, appended = await _change(connection, row, change, [NewEvent(JobEvent.CANCELLING, {"status": JobStatus.CANCELLING})])
            return job_from(changed), appended

        return await self._database.write(work)

    async def claim(self, job_id: JobId, worker: str, lease_s: float, max_attempts: int) -> Claim | None:
        async def work(connection: AsyncConnection) -> Claim | None:
            row = await lock_job(connection, job_id)
            if row is None or not _is_claimable(row, max_attempts):
                return None
            is_lost = row["status"] == JobStatus.IN_PROGRESS
            attempt: int = row["attempt"] + 1
            change = {
                "status": JobStatus.IN_PROGRESS,
                "epoch": jobs.c.epoch + 1,
                "attempt": attempt,
                "lost": jobs.c.lost + int(is_lost),
                "owner": worker,
                "lease_until": db_now() + lease_s,
                "beat_at": db_now(),
                "hint_at": 0.0,
                "hint_wait_s": 0.0,
                "started_at": func.coalesce(jobs.c.started_at, db_now()),
            }
            lost = NewEvent(JobEvent.ATTEMPT_LOST, {"attempt": row["attempt"]})
            running = NewEvent(JobEvent.IN_PROGRESS, {"status": JobStatus.IN_PROGRESS})
            started = NewEvent(JobEvent.ATTEMPT_STARTED, {"attempt": attempt})
            changed, appended = await _change(connection, row, change, [lost if is_lost else running, started])
            return _claim_from(changed, appended)

        return await self._database.write(work)

    async def heartbeat(self, job_id: JobId, epoch: int, lease_s: float) -> LeaseState:
        change = update(jobs).where(is_owned(job_id, epoch)).values(lease_until=db_now() + lease_s, beat_at=db_now()).returning(jobs.c.status)

        async def work(connection: AsyncConnection) -> LeaseState:
            status = (await connection.execute(change)).scalar_one_or_none()
            if status is None:
                raise _lost(job_id, epoch)
            return LeaseState(is_cancel_requested=status == JobStatus.CANCELLING)

        return await self._database.write(work)

    async def append(self, job_id: JobId, epoch: int, events: Sequence[NewEvent], view: JobView | None = None) -> Sequence[Appended]:
        change = update(jobs).where(is_owned(job_id, epoch)).values(last_seq=jobs.c.last_seq + len(events))
        if view is not None:
            change = change.values(view=view_json(view))
        change = change.returning(jobs.c.status, jobs.c.thread_id, jobs.c.last_seq, db_now().label("now_s"))

        async def work(connection: AsyncConnection) -> Sequence[Appended]:
            row = (await connection.execute(change)).mappings().one_or_none()
            if row is None:
                raise _lost(job_id, epoch)
            appended: Sequence[Appended] = ()
            if events:
                await insert_events(connection, job_id, row["last_seq"] - len(events) + 1, events, row["now_s"], epoch=epoch)
                appended = [Appended(StreamId(job_id), row["last_seq"])]
            if view is None:
                return appended
            return [*appended, *await mirror_to_thread(connection, row["thread_id"], job_id, row["status"], view_json(view), row["last_seq"])]

        return await self._database.write(work)

    async def finish(self, job_id: JobId, epoch: int, outcome: Outcome, view: JobView | None = None) -> Sequence[Appended]:
        async def work(connection: AsyncConnection) -> Sequence[Appended]:
            row = await _lock_owned(connection, job_id, epoch)
            _, appended = await end_job(connection, self._ids, row, outcome, view=view)
            return appended

        return await self._database.write(work)

    async def release(self, job_id: JobId, epoch: int) -> None:
        """Queued again and due for a hint at once; the epoch rises, so the releasing worker can write no more.

        A job that was being cancelled ends as cancelled: nobody is left who would do it.
        """

        async def work(connection: AsyncConnection) -> None:
            row = await _lock_owned(connection, job_id, epoch)
            if row["status"] == JobStatus.CANCELLING:
                await end_job(connection, self._ids, row, CANCELLED)
                return
            change = {"status": JobStatus.QUEUED, "epoch": jobs.c.epoch + 1, "owner": None, "lease_until": None, "hint_at": 0.0, "hint_wait_s": 0.0}
            await _change(connection, row, change, [NewEvent(JobEvent.QUEUED, {"status": JobStatus.QUEUED})])

        await self._database.write(work)

    async def reap(self, *, rehint_after_s: float, max_attempts: int, limit: int = 100) -> Reaped:
        return await reap(self._database, self._ids, rehint_after_s=rehint_after_s, max_attempts=max_attempts, limit=limit)

    async def recall_effect(self, job_id: JobId, key: str) -> JsonValue | None:
        return await recall_effect(self._database, job_id, key)

    async def record_effect(self, job_id: JobId, epoch: int, key: str, result: JsonValue) -> JsonValue:
        async def work(connection: AsyncConnection) -> JsonValue:
            await _lock_owned(connection, job_id, epoch)
            return await record_effect(connection, job_id, epoch, key, result)

        return await self._database.write(work)

    async def counts(self) -> JobCounts:
        by_status = await self._database.rows(select(jobs.c.status, func.count().label("jobs")).group_by(jobs.c.status))
        oldest = select(func.min(jobs.c.created_at)).where(jobs.c.status == JobStatus.QUEUED, jobs.c.finished_at.is_(None)).scalar_subquery()
        newest_beat = select(func.max(jobs.c.beat_at)).scalar_subquery()
        ages = await self._database.row(select((db_now() - oldest).label("queued_s"), (db_now() - newest_beat).label("claim_s")))
        queued_s: float | None = None if ages is None else ages["queued_s"]
        claim_s: float | None = None if ages is None else ages["claim_s"]
        return JobCounts(
            by_status={JobStatus(row["status"]): row["jobs"] for row in by_status},
            oldest_queued_s=max(0.0, queued_s or 0.0),
            last_claim_s=None if claim_s is None else max(0.0, claim_s),
        )


async def _change(
    connection: AsyncConnection, row: RowMapping, change: Mapping[str, object], events: Sequence[NewEvent]
) -> tuple[RowMapping, Sequence[Appended]]:
    """Change a locked job, append the events that say so, and tell its thread."""
    statement = update(jobs).where(jobs.c.id == row["id"]).values(last_seq=jobs.c.last_seq + len(events), **change).returning(jobs)
    changed = (await connection.execute(statement)).mappings().one()
    await insert_events(connection, row["id"], row["last_seq"] + 1, events, row["now_s"], epoch=changed["epoch"])
    mirrored = await mirror_to_thread(connection, row["thread_id"], row["id"], changed["status"], changed["view"], changed["last_seq"])
    return changed, [Appended(StreamId(row["id"]), changed["last_seq"]), *mirrored]


async def _lock_owned(connection: AsyncConnection, job_id: JobId, epoch: int) -> RowMapping:
    row = await lock_job(connection, job_id)
    if row is None or row["epoch"] != epoch or row["status"] not in OWNED:
        raise _lost(job_id, epoch)
    return row


def _is_claimable(row: RowMapping, max_attempts: int) -> bool:
    if row["status"] == JobStatus.QUEUED:
        return True
    return row["status"] == JobStatus.IN_PROGRESS and row["lease_until"] < row["now_s"] and row["lost"] + 1 < max_attempts


def _claim_from(row: RowMapping, appended: Sequence[Appended]) -> Claim:
    return Claim(
        job_id=JobId(row["id"]),
        tenant=TenantId(row["tenant"]),
        epoch=row["epoch"],
        attempt=row["attempt"],
        request=JobRequest.model_validate(row["request"]),
        effort=row["effort"],
        view=JobView.model_validate(row["view"]),
        thread_id=None if row["thread_id"] is None else ThreadId(row["thread_id"]),
        appended=appended,
    )


def _unknown(job_id: str) -> NotFound:
    return NotFound(f"no job {job_id!r}; check the id, and that the key belongs to the same tenant", param="job_id")


def _lost(job_id: str, epoch: int) -> LeaseLost:
    return LeaseLost(f"epoch {epoch} no longer owns job {job_id!r}; stop working on it")
