"""Choosing the next job in line and owning it. Hints name no job: whoever has time takes what is due.

Line: abandoned jobs, then keys by running jobs and by how long they went unserved, then a key's levels by effective priority. Only the oldest job
of each level can be next, so a long queue costs what a short one does. PostgreSQL steps over rows that another claim holds; SQLite has one writer
at a time.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from math import floor
from typing import Final

from sqlalchemy import ColumnElement, Select, bindparam, func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import JobId, KeyId, TenantId, ThreadId
from tandem.ports import Appended, Claim, NewEvent
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputRequest
from tandem.schemas.jobs import JobRequest, JobStatus, JobView
from tandem.storage.engine import Database
from tandem.storage.job_rows import OWNED, change_job
from tandem.storage.tables import jobs, shares
from tandem.storage.times import db_now

_LEVELS: Final = range(10)
"""Priorities."""
_IS_OPEN: Final = jobs.c.finished_at.is_(None)
_IS_QUEUED: Final = _IS_OPEN & (jobs.c.status == JobStatus.QUEUED)
_IS_IN_TIME: Final = jobs.c.deadline_at.is_(None) | (jobs.c.deadline_at > db_now())
"""SQL: a job past its deadline is the reaper's to end."""
_IS_LOST: Final = _IS_OPEN & (jobs.c.status == JobStatus.IN_PROGRESS) & (jobs.c.lease_until < db_now())
_IS_ABANDONED: Final = _IS_LOST & (jobs.c.lost + 1 < bindparam("max_attempts")) & _IS_IN_TIME
"""SQL: its worker is gone, and it may have another."""


@dataclass(frozen=True, slots=True)
class Claiming:
    """Who claims, and by which rules."""

    worker: str
    lease_s: float
    max_attempts: int
    ageing_s: float


async def claim_next(database: Database, claiming: Claiming) -> Claim | None:
    """See ``JobWork.claim``."""

    async def work(connection: AsyncConnection) -> Claim | None:
        async for candidate, which in _line(connection, claiming):
            if (row := (await connection.execute(candidate, which)).mappings().first()) is not None:
                return await _own(database, connection, row, claiming)
        return None

    return await database.write(work)


async def claim_one(database: Database, job_id: JobId, claiming: Claiming) -> Claim | None:
    """Own this job if it is in line, or None."""
    is_in_line = (_IS_QUEUED & _IS_IN_TIME) | _IS_ABANDONED
    candidate = select(jobs, db_now().label("now_s")).where(jobs.c.id == job_id, is_in_line).with_for_update(key_share=True, of=jobs)

    async def work(connection: AsyncConnection) -> Claim | None:
        row = (await connection.execute(candidate, {"max_attempts": claiming.max_attempts})).mappings().first()
        return None if row is None else await _own(database, connection, row, claiming)

    return await database.write(work)


async def _line(connection: AsyncConnection, claiming: Claiming) -> AsyncIterator[tuple[Select[*tuple[object, ...]], dict[str, object]]]:
    """What to look for, one after the other, and its parameters."""
    yield _ABANDONED, {"max_attempts": claiming.max_attempts}
    for key in (await connection.execute(_KEYS)).scalars().all():
        for level in await _levels(connection, key, claiming.ageing_s):
            yield _QUEUED, {"key": key, "level": level}


async def _levels(connection: AsyncConnection, key: str, ageing_s: float) -> Sequence[int]:
    """Priorities at which the key has queued jobs, by the effective priority of each one's oldest."""
    row = (await connection.execute(_OLDEST, {"key": key})).mappings().one()
    now_s: float = row["now_s"]
    waiting: dict[int, float] = {level: row[f"p{level}"] for level in _LEVELS if row[f"p{level}"] is not None}
    return sorted(waiting, key=lambda level: (level - floor(max(0.0, now_s - waiting[level]) / ageing_s), waiting[level]))


def _first(condition: ColumnElement[bool], order: ColumnElement[float]) -> Select[*tuple[object, ...]]:
    """SQL: the first job in that order, locked; those that others hold are stepped over."""
    candidates = select(jobs, db_now().label("now_s")).where(condition).order_by(order).limit(1)
    return candidates.with_for_update(skip_locked=True, key_share=True, of=jobs)


def _keys() -> Select[str]:
    """SQL: keys with queued jobs, whose turn it is first. Hops through the index from key to key, however many jobs each has."""
    first = select(func.min(jobs.c.share_key).label("key")).where(_IS_QUEUED)
    keys = first.cte("keys", recursive=True)
    following = select(func.min(jobs.c.share_key)).where(_IS_QUEUED, jobs.c.share_key > keys.c.key).correlate(keys).scalar_subquery()
    keys = keys.union_all(select(following).where(keys.c.key.is_not(None)))
    # Without _IS_OPEN, which would lead SQLite to the index of ended jobs, and so through all that are open.
    running = select(jobs.c.share_key, func.count().label("jobs")).where(jobs.c.status.in_(OWNED)).group_by(jobs.c.share_key).subquery()
    return (
        select(keys.c.key)
        .outerjoin(running, running.c.share_key == keys.c.key)
        .outerjoin(shares, shares.c.key == keys.c.key)
        .where(keys.c.key.is_not(None))
        .order_by(func.coalesce(running.c.jobs, 0), func.coalesce(shares.c.served_at, 0.0), keys.c.key)
    )


def _oldest() -> Select[*tuple[float, ...]]:
    """SQL: when the oldest queued job of each priority began to wait, as ``p0`` to ``p9``."""
    is_theirs = _IS_QUEUED & (jobs.c.share_key == bindparam("key"))
    oldest = [select(func.min(jobs.c.queued_at)).where(is_theirs, jobs.c.priority == level).scalar_subquery().label(f"p{level}") for level in _LEVELS]
    return select(*oldest, db_now().label("now_s"))


# Built once: building them takes longer than the database takes to answer.
_ABANDONED: Final = _first(_IS_ABANDONED, jobs.c.lease_until)
_KEYS: Final = _keys()
_OLDEST: Final = _oldest()
_QUEUED: Final = _first(_IS_QUEUED & _IS_IN_TIME & (jobs.c.share_key == bindparam("key")) & (jobs.c.priority == bindparam("level")), jobs.c.queued_at)


async def _own(database: Database, connection: AsyncConnection, row: RowMapping, claiming: Claiming) -> Claim:
    is_lost = row["status"] == JobStatus.IN_PROGRESS
    attempt: int = row["attempt"] + 1
    change: dict[str, object] = {
        "status": JobStatus.IN_PROGRESS,
        "epoch": jobs.c.epoch + 1,
        "attempt": attempt,
        "lost": jobs.c.lost + int(is_lost),
        "owner": claiming.worker,
        "lease_until": db_now() + claiming.lease_s,
        "beat_at": db_now(),
        "event_at": db_now(),
        "hint_at": 0.0,
        "hint_wait_s": 0.0,
        "expires_at": None,
        "result": None,  # the best so far of a job that waited for a budget
        "error": None,
        "open_item": None,
        "started_at": func.coalesce(jobs.c.started_at, db_now()),
    }
    events = [NewEvent(JobEvent.ATTEMPT_LOST, {"attempt": row["attempt"]})] if is_lost else []
    if row["open_item"] is not None:
        events.append(NewEvent(JobEvent.TEXT_RESET, {"item_id": row["open_item"], "output_index": row["items"] - 1}))
    events.append(NewEvent(JobEvent.IN_PROGRESS, {"status": JobStatus.IN_PROGRESS}))
    events.append(NewEvent(JobEvent.ATTEMPT_STARTED, {"attempt": attempt}))
    await _note_turn(database, connection, row["share_key"])
    changed, appended = await change_job(connection, row, change, events)
    return _claim_from(changed, appended)


async def _note_turn(database: Database, connection: AsyncConnection, key: str) -> None:
    """The key was served now. Another claim of this key that holds the line says so too: nobody waits for it."""
    known = select(shares.c.key).where(shares.c.key == key)
    free = known.with_for_update(skip_locked=True).scalar_subquery()
    served = await connection.execute(update(shares).where(shares.c.key.in_(free)).values(served_at=db_now()))
    if served.rowcount or (await connection.execute(known)).first() is not None:
        return
    await database.lock(connection, f"share:{key}")  # the key's first claims ever come one after the other
    if (await connection.execute(known)).first() is None:
        await connection.execute(insert(shares).values(key=key, served_at=db_now()))


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
        inputs=[InputRequest.model_validate(each) for each in row["inputs"]],
        deadline_left_s=None if row["deadline_at"] is None else row["deadline_at"] - row["now_s"],
        key_id=None if row["key_id"] is None else KeyId(row["key_id"]),
        tools=row["tools"],
        items=row["items"],
        appended=appended,
    )
