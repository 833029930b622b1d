"""Forgets ended work when its time is over. The promises are those of ``Retention``.

Every deletion is found by a reading query first and done in a short transaction that looks again, so no lock is held over a scan and no running
work is touched. Each query walks an index from its old end:

- ended jobs: ``ix_jobs_ended`` (``finished_at``); those not to be stored: ``ix_jobs_unstored``, which holds no others;
- a log: the primary key (``stream_id``, ``seq``), oldest first, a few hundred events at a time, so that what is left has no gap;
- ledger, checkpoints, artifacts, attempts: the primary key or index that begins with their job or delivery;
- deliveries: ``ix_outbox_due`` (``state``, ``due_at``): a delivery's ``due_at`` never lies before its newest attempt;
- keys: ``ix_idempotency_keys_expiry``; responses: ``ix_responses_age``, ``ix_responses_unstored``; decisions: ``ix_decisions_stats``;
  outcomes: ``ix_outcomes_status``;
- uploaded files whose time is over: ``ix_files_expiry``, which holds no others; what workers said of their tools: ``ix_tool_reports_age``;
- threads: by id, round and round; the age of a thread's oldest event is one look into the primary key of ``events``.

Ended jobs that are kept are walked once in a process's life, oldest first; where the walk stands is memory only and may be lost. Several dispatchers
may sweep at once: rows that one is deleting are left out by the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from sqlalchemy import ColumnElement, Executable, Table, and_, delete, exists, false, func, or_, select, tuple_, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ports import Swept
from tandem.settings import RetentionSettings
from tandem.storage.engine import Database
from tandem.storage.tables import (
    artifacts,
    checkpoint_writes,
    checkpoints,
    decisions,
    effects,
    events,
    files,
    idempotency_keys,
    jobs,
    outbox,
    outcomes,
    responses,
    threads,
    tool_reports,
    turns,
    webhook_attempts,
)
from tandem.storage.times import db_now

_DAY_S: Final = 86_400.0
_JOBS_AT_ONCE: Final = 20
"""Jobs of one transaction."""
_OWNERS_AT_ONCE: Final = 100
"""Jobs or threads that one query of a walk looks at."""
_FILES_AT_ONCE: Final = 10
"""Uploaded files of one transaction: their bytes are overwritten or logged, and others wait for that."""
_REPORTS_KEPT_S: Final = _DAY_S
"""How long the last words of a dead worker about its tools are kept."""
_PAGES: Final = 20
"""Queries of one walk in one sweep: a walk over work that is all young ends soon, and goes on at the next sweep."""
_BY_JOB: Final = (effects, checkpoint_writes, checkpoints, artifacts, responses)
"""What refers to a job, besides its events."""
_Place = tuple[float, str]


class SqlRetention:
    """Implements ``Retention``."""

    def __init__(self, database: Database, settings: RetentionSettings) -> None:
        self._database = database
        self._settings = settings
        self._logs_at: _Place = (0.0, "")
        self._work_at: _Place = (0.0, "")
        self._thread_at = ""

    async def sweep(self, limit: int = 500) -> Swept:
        gone_jobs, gone_events = await self._forget_jobs(limit)
        gone_events += await self._trim_job_logs(limit)
        gone_events += await self._trim_threads(limit)
        gone_effects, gone_checkpoints = await self._forget_work(limit)
        gone_decisions, gone_outcomes = await self._forget_decisions(limit)
        return Swept(
            jobs=gone_jobs,
            events=gone_events,
            effects=gone_effects,
            checkpoints=gone_checkpoints,
            deliveries=await self._forget_deliveries(limit),
            keys=await self._forget_keys(limit),
            responses=await self._forget_responses(limit),
            decisions=gone_decisions,
            # While decisions go, so do their outcomes: none of these needs to be looked for.
            outcomes=gone_outcomes if gone_decisions else await self._forget_outcomes(limit),
            files=await self._forget_files(limit),
            tool_reports=await self._forget_tool_reports(limit),
        )

    async def _forget_jobs(self, limit: int) -> tuple[int, int]:
        """Jobs whose time is over, with all they have written; ends early when that takes more than ``limit`` events."""
        unstored = jobs.c.purge_at.is_not(None) & (jobs.c.finished_at < db_now() - self._settings.unstored_s)
        over: list[str] = []
        for is_over in (_ended_before(self._settings.jobs_days), unstored):
            rows = await self._database.rows(select(jobs.c.id).where(is_over).order_by(jobs.c.finished_at).limit(limit))
            over += [row["id"] for row in rows]
        gone_jobs = gone_events = 0
        for start in range(0, len(over), _JOBS_AT_ONCE):
            some = over[start : start + _JOBS_AT_ONCE]
            is_done = False
            while not is_done:
                if gone_events >= limit:
                    return gone_jobs, gone_events
                step = await self._database.write(lambda connection, some=some: _forget(connection, some, limit))
                is_done, gone_jobs, gone_events = step.is_done, gone_jobs + step.jobs, gone_events + step.events
        return gone_jobs, gone_events

    async def _trim_job_logs(self, limit: int) -> int:
        """Events of ended jobs, all but the newest of each: a late reader still learns how it ended."""
        gone = 0
        for _ in range(_PAGES):
            page = await self._ended_after(self._logs_at, self._settings.events_days)
            if not page:
                break
            old = _oldest_events([row["id"] for row in page], limit, but_newest=True)
            while trimmed := await self._database.write(lambda connection, old=old: _trim(connection, old)):
                gone += trimmed
                if gone >= limit:
                    return gone
            self._logs_at = (page[-1]["finished_at"], page[-1]["id"])
        return gone

    async def _forget_work(self, limit: int) -> tuple[int, int]:
        """Ledger and checkpoints of ended jobs."""
        gone_effects = gone_checkpoints = 0
        for _ in range(_PAGES):
            page = await self._ended_after(self._work_at, self._settings.work_days)
            if not page or max(gone_effects, gone_checkpoints) >= limit:
                break
            for start in range(0, len(page), _JOBS_AT_ONCE):
                some = [row["id"] for row in page[start : start + _JOBS_AT_ONCE]]
                counts = await self._database.write(lambda connection, some=some: _drop(connection, some, (effects, checkpoint_writes, checkpoints)))
                gone_effects, gone_checkpoints = gone_effects + counts[0], gone_checkpoints + counts[2]
            self._work_at = (page[-1]["finished_at"], page[-1]["id"])
        return gone_effects, gone_checkpoints

    async def _ended_after(self, place: _Place, days: float) -> Sequence[RowMapping]:
        """The next page of a walk over jobs that ended longer ago than ``days``."""
        later = tuple_(jobs.c.finished_at, jobs.c.id) > place
        statement = select(jobs.c.id, jobs.c.finished_at).where(_ended_before(days), later).order_by(jobs.c.finished_at, jobs.c.id)
        return await self._database.rows(statement.limit(_OWNERS_AT_ONCE))

    async def _trim_threads(self, limit: int) -> int:
        """Old events of threads, but neither the newest nor those of turns that run."""
        gone = 0
        oldest = select(events.c.created_at).where(events.c.stream_id == threads.c.id).order_by(events.c.seq).limit(1).scalar_subquery()
        for _ in range(_PAGES):
            is_old = (oldest < _before(self._settings.events_days)).label("is_old")
            page = select(threads.c.id, is_old).where(threads.c.id > self._thread_at).order_by(threads.c.id).limit(_OWNERS_AT_ONCE)
            rows = await self._database.rows(page)
            for thread_id in (row["id"] for row in rows if row["is_old"]):
                gone += await self._database.write(lambda connection, thread_id=thread_id: self._trim_thread(connection, thread_id, limit))
                if gone >= limit:
                    return gone
            self._thread_at = rows[-1]["id"] if len(rows) == _OWNERS_AT_ONCE else ""
            if not self._thread_at:
                break
        return gone

    async def _trim_thread(self, connection: AsyncConnection, thread_id: str, limit: int) -> int:
        running = select(func.min(turns.c.first_seq)).where(turns.c.thread_id == thread_id, turns.c.finished_at.is_(None)).scalar_subquery()
        newest = select(threads.c.last_seq).where(threads.c.id == thread_id).scalar_subquery()
        is_old = (events.c.created_at < _before(self._settings.events_days)).label("is_old")
        first = (
            select(events.c.seq, is_old)
            .where(events.c.stream_id == thread_id, events.c.seq < newest, events.c.seq < func.coalesce(running, newest))
            .order_by(events.c.seq)
            .limit(limit)
        )
        old = list(takewhile(lambda row: row.is_old, (await connection.execute(first)).all()))
        if old:
            await connection.execute(delete(events).where(events.c.stream_id == thread_id, events.c.seq <= old[-1].seq))
        return len(old)

    async def _forget_deliveries(self, limit: int) -> int:
        before = _before(self._settings.deliveries_days)
        is_over = outbox.c.state.in_(("delivered", "failed")) & (outbox.c.due_at < before) & (outbox.c.updated_at < before)
        over = [row["id"] for row in await self._database.rows(select(outbox.c.id).where(is_over).limit(limit))]

        async def work(connection: AsyncConnection) -> int:
            # One that is being sent again meanwhile stays, with its attempts.
            still = select(outbox.c.id).where(outbox.c.id.in_(over), is_over).with_for_update(skip_locked=True)
            ids = (await connection.execute(still)).scalars().all()
            await connection.execute(delete(webhook_attempts).where(webhook_attempts.c.delivery_id.in_(ids)))
            return (await connection.execute(delete(outbox).where(outbox.c.id.in_(ids)))).rowcount

        return await self._database.write(work) if over else 0

    async def _forget_keys(self, limit: int) -> int:
        key = tuple_(idempotency_keys.c.tenant, idempotency_keys.c.scope, idempotency_keys.c.key)
        is_over = idempotency_keys.c.expires_at < db_now()
        columns = select(idempotency_keys.c.tenant, idempotency_keys.c.scope, idempotency_keys.c.key)
        over = [tuple(row.values()) for row in await self._database.rows(columns.where(is_over).order_by(idempotency_keys.c.expires_at).limit(limit))]

        async def work(connection: AsyncConnection) -> int:
            return (await connection.execute(delete(idempotency_keys).where(key.in_(over), is_over))).rowcount

        return await self._database.write(work) if over else 0

    async def _forget_responses(self, limit: int) -> int:
        """Those that no job answers for any more, or never did; the others go with their job."""
        has_job = exists().where(jobs.c.id == responses.c.job_id)
        stale = (responses.c.created_at < _before(self._settings.jobs_days)) & ~has_job
        unstored = (responses.c.is_stored == false()) & (responses.c.created_at < db_now() - self._settings.unstored_s) & ~has_job
        over: list[str] = []
        for is_over in (stale, unstored):
            rows = await self._database.rows(select(responses.c.id).where(is_over).order_by(responses.c.created_at).limit(limit))
            over += [row["id"] for row in rows]

        async def work(connection: AsyncConnection) -> int:
            return (await connection.execute(delete(responses).where(responses.c.id.in_(over)))).rowcount

        return await self._database.write(work) if over else 0

    async def _forget_decisions(self, limit: int) -> tuple[int, int]:
        """Decisions with their outcomes; approved labels stay, and take over the text that they were approved for."""
        is_over = decisions.c.created_at < _before(self._settings.decisions_days)
        rows = await self._database.rows(select(decisions.c.id).where(is_over).order_by(decisions.c.created_at).limit(limit))
        over = [row["id"] for row in rows]

        async def work(connection: AsyncConnection) -> tuple[int, int]:
            theirs = outcomes.c.decision_id.in_(over)
            # None is approved between the two statements.
            await connection.execute(select(outcomes.c.id).where(theirs).order_by(outcomes.c.id).with_for_update())
            text = select(decisions.c.text).where(decisions.c.id == outcomes.c.decision_id).scalar_subquery()
            await connection.execute(update(outcomes).where(theirs, outcomes.c.status == "approved", outcomes.c.text.is_(None)).values(text=text))
            gone_outcomes = (await connection.execute(delete(outcomes).where(theirs, outcomes.c.status != "approved"))).rowcount
            return (await connection.execute(delete(decisions).where(decisions.c.id.in_(over)))).rowcount, gone_outcomes

        return await self._database.write(work) if over else (0, 0)

    async def _forget_outcomes(self, limit: int) -> int:
        """Those that were not approved and whose decision is not in the log, as of collected rows."""
        is_over = outcomes.c.status.in_(("pending", "rejected")) & (outcomes.c.created_at < _before(self._settings.decisions_days))
        is_alone = ~exists().where(decisions.c.id == outcomes.c.decision_id)
        over = [row["id"] for row in await self._database.rows(select(outcomes.c.id).where(is_over, is_alone).limit(limit))]

        async def work(connection: AsyncConnection) -> int:
            # One that is approved meanwhile stays.
            return (await connection.execute(delete(outcomes).where(outcomes.c.id.in_(over), is_over))).rowcount

        return await self._database.write(work) if over else 0

    async def _forget_files(self, limit: int) -> int:
        """Uploaded files whose time is over; those without one stay until somebody deletes them."""
        is_over = files.c.expires_at <= db_now()
        rows = await self._database.rows(select(files.c.id).where(is_over).order_by(files.c.expires_at).limit(limit))
        over = [row["id"] for row in rows]

        async def work(connection: AsyncConnection, some: Sequence[str]) -> int:
            return (await connection.execute(delete(files).where(files.c.id.in_(some)))).rowcount

        gone = 0
        for start in range(0, len(over), _FILES_AT_ONCE):
            some = over[start : start + _FILES_AT_ONCE]
            gone += await self._database.write(lambda connection, some=some: work(connection, some))
        return gone

    async def _forget_tool_reports(self, limit: int) -> int:
        is_over = tool_reports.c.seen_at < db_now() - _REPORTS_KEPT_S
        columns = select(tool_reports.c.worker, tool_reports.c.name).where(is_over)
        over = [(row["worker"], row["name"]) for row in await self._database.rows(columns.order_by(tool_reports.c.seen_at).limit(limit))]

        async def work(connection: AsyncConnection) -> int:
            # A worker that speaks again meanwhile stays.
            theirs = tuple_(tool_reports.c.worker, tool_reports.c.name).in_(over)
            return (await connection.execute(delete(tool_reports).where(theirs, is_over))).rowcount

        return await self._database.write(work) if over else 0


@dataclass(frozen=True, slots=True)
class _Step:
    """What one transaction over some jobs did."""

    is_done: bool
    """False: events are left, and with them the jobs."""
    jobs: int
    events: int


def _before(days: float) -> ColumnElement[float]:
    return db_now() - days * _DAY_S


def _ended_before(days: float) -> ColumnElement[bool]:
    return jobs.c.finished_at < _before(days)


async def _forget(connection: AsyncConnection, job_ids: Sequence[str], limit: int) -> _Step:
    """Delete some of these jobs' events, or the jobs themselves once none is left. Locked first, as everybody else does who changes a job."""
    ended = select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.finished_at.is_not(None)).order_by(jobs.c.id).with_for_update(skip_locked=True)
    ids = (await connection.execute(ended)).scalars().all()
    trimmed = await _trim(connection, _oldest_events(ids, limit))
    if trimmed >= limit:
        return _Step(is_done=False, jobs=0, events=trimmed)
    await _drop(connection, ids, _BY_JOB)
    await connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    return _Step(is_done=True, jobs=len(ids), events=trimmed)


async def _drop(connection: AsyncConnection, job_ids: Sequence[str], tables: Sequence[Table]) -> list[int]:
    """Delete what refers to these jobs; returns the number of rows per table."""
    return [(await connection.execute(delete(table).where(table.c.job_id.in_(job_ids)))).rowcount for table in tables]


def _oldest_events(job_ids: Sequence[str], limit: int, *, but_newest: bool = False) -> Executable:
    statement = select(events.c.stream_id, events.c.seq).where(events.c.stream_id.in_(job_ids)).order_by(events.c.stream_id, events.c.seq)
    if but_newest:
        statement = statement.join(jobs, jobs.c.id == events.c.stream_id).where(events.c.seq < jobs.c.last_seq)
    return statement.limit(limit)


async def _trim(connection: AsyncConnection, oldest: Executable) -> int:
    """Delete these beginnings of logs."""
    found = (await connection.execute(oldest)).all()
    ends = {row.stream_id: row.seq for row in found}
    if ends:
        beginnings = [and_(events.c.stream_id == stream, events.c.seq <= seq) for stream, seq in ends.items()]
        await connection.execute(delete(events).where(or_(*beginnings)))
    return len(found)
