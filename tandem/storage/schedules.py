"""Jobs that come again. The promises are those of ``ScheduleStore``.

A turn is taken by moving ``next_run_at`` on, in the transaction that makes its job: of several dispatchers one finds the old moment.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from json import loads
from typing import Final

from pydantic import ValidationError
from sqlalchemy import ColumnElement, case, delete, func, insert, select, tuple_, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import CallerError, NotFound, TooManyRequests
from tandem.ids import KeyId, ScheduleId, TenantId
from tandem.ports import Created, DueSchedule, NewJob, Once, ScheduleUpdate
from tandem.schemas.jobs import JobFailure, JobRequest
from tandem.schemas.schedules import Schedule, ScheduleCreate
from tandem.storage.engine import Database
from tandem.storage.idempotency import find_earlier, remember
from tandem.storage.job_creation import create_job
from tandem.storage.tables import jobs, schedules
from tandem.storage.times import db_now, to_datetime

_QUOTA_RETRY_S: Final = 60.0
_OVERLAP: Final = JobFailure(
    code="overlap_skipped", message="The job before had not ended, so this turn was left out; choose overlap 'allow' to start beside it."
)


class SqlScheduleStore:
    """Implements ``ScheduleStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def now(self) -> datetime:
        (row,) = await self._database.rows(select(db_now().label("now_s")))
        return to_datetime(row["now_s"])

    async def add(
        self,
        schedule_id: ScheduleId,
        tenant: TenantId,
        key_id: KeyId | None,
        new: ScheduleCreate,
        next_run_at: datetime | None,
        *,
        max_schedules: int,
        once: Once | None = None,
    ) -> tuple[Schedule, bool]:
        statement = insert(schedules).values(
            id=schedule_id,
            tenant=tenant,
            key_id=key_id,
            name=new.name,
            cron=new.cron,
            timezone=new.timezone,
            request=new.request.model_dump(mode="json", by_alias=True),
            overlap=new.overlap,
            is_enabled=new.is_enabled,
            next_run_at=_moment(next_run_at),
            created_at=db_now(),
        )

        async def work(connection: AsyncConnection) -> tuple[Schedule, bool]:
            await self._database.lock(connection, f"schedules:{tenant}")
            earlier = await find_earlier(self._database, connection, tenant, once)
            if earlier is not None:
                row = (await connection.execute(select(schedules).where(_is(earlier, tenant)))).mappings().one_or_none()
                if row is None:
                    raise NotFound(f"schedule {earlier!r}, which this Idempotency-Key made, is gone; use a fresh key", param="Idempotency-Key")
                return _schedule_from(row), True
            await _check_quota(connection, tenant, max_schedules)
            await remember(connection, tenant, once, schedule_id)
            return _schedule_from((await connection.execute(statement.returning(schedules))).mappings().one()), False

        return await self._database.write(work)

    async def get(self, schedule_id: ScheduleId, tenant: TenantId) -> Schedule:
        row = await self._database.row(select(schedules).where(_is(schedule_id, tenant)))
        if row is None:
            raise _unknown(schedule_id)
        return _schedule_from(row)

    async def list(self, tenant: TenantId, *, after: ScheduleId | None, limit: int) -> Sequence[Schedule]:
        statement = select(schedules).where(schedules.c.tenant == tenant).order_by(schedules.c.created_at.desc(), schedules.c.id.desc()).limit(limit)
        if after is not None:
            cursor = await self._database.row(select(schedules.c.created_at).where(_is(after, tenant)))
            if cursor is None:
                raise NotFound(f"no schedule {after!r} to list after; take `next_after` of the page before", param="after")
            statement = statement.where(tuple_(schedules.c.created_at, schedules.c.id) < (cursor["created_at"], after))
        return [_schedule_from(row) for row in await self._database.rows(statement)]

    async def change(self, schedule_id: ScheduleId, tenant: TenantId, update: ScheduleUpdate) -> Schedule:
        """The next moment stays while cron, zone and switch do: a dispatcher may have moved it on since the caller looked."""
        keeps_time = (schedules.c.cron == update.cron) & (schedules.c.timezone == update.timezone) & (schedules.c.is_enabled.is_(update.is_enabled))
        values = {
            "name": update.name,
            "cron": update.cron,
            "timezone": update.timezone,
            "request": loads(update.request_json),
            "overlap": update.overlap,
            "is_enabled": update.is_enabled,
            "next_run_at": case((keeps_time, schedules.c.next_run_at), else_=_moment(update.next_run_at)),
            **({} if update.key_id is None else {"key_id": update.key_id}),
        }
        row = await self._set(_is(schedule_id, tenant), values)
        if row is None:
            raise _unknown(schedule_id)
        return _schedule_from(row)

    async def remove(self, schedule_id: ScheduleId, tenant: TenantId) -> None:
        statement = delete(schedules).where(_is(schedule_id, tenant)).returning(schedules.c.id)

        async def work(connection: AsyncConnection) -> str | None:
            return (await connection.execute(statement)).scalar_one_or_none()

        if await self._database.write(work) is None:
            raise _unknown(schedule_id)

    async def due(self, limit: int) -> Sequence[DueSchedule]:
        is_due = schedules.c.is_enabled.is_(True) & (schedules.c.next_run_at <= db_now())
        statement = select(schedules, db_now().label("now_s")).where(is_due).order_by(schedules.c.next_run_at).limit(limit)
        return [_due_from(row) for row in await self._database.rows(statement)]

    async def fire(
        self, due: DueSchedule, new: NewJob, next_run_at: datetime | None, *, max_unfinished: int, note: JobFailure | None = None
    ) -> Created | None:
        """A refusal other than the quota's (a thread or an endpoint that is gone) is kept in ``last_error`` as well."""

        async def work(connection: AsyncConnection) -> Created | None:
            if not await _take_turn(connection, due, next_run_at):
                return None
            if due.schedule.overlap == "skip" and await _has_unfinished(connection, due):
                await _note(connection, due, last_error=_OVERLAP.model_dump())
                return None
            try:
                async with connection.begin_nested():
                    created = await create_job(self._database, connection, new, max_unfinished)
            except CallerError as refusal:
                await _note(connection, due, last_error={"code": refusal.code, "message": refusal.message})
                return None
            await _note(connection, due, last_error=None if note is None else note.model_dump(), last_job_id=new.id, last_run_at=db_now())
            return created

        return await self._database.write(work)

    async def put_off(self, due: DueSchedule, error: JobFailure, next_run_at: datetime | None) -> None:
        """No effect when another dispatcher was first."""

        async def work(connection: AsyncConnection) -> None:
            if await _take_turn(connection, due, next_run_at):
                await _note(connection, due, last_error=error.model_dump())

        await self._database.write(work)

    async def _set(self, condition: ColumnElement[bool], values: Mapping[str, object]) -> RowMapping | None:
        statement = update(schedules).where(condition).values(**values).returning(schedules)

        async def work(connection: AsyncConnection) -> RowMapping | None:
            return (await connection.execute(statement)).mappings().one_or_none()

        return await self._database.write(work)


async def _check_quota(connection: AsyncConnection, tenant: TenantId, max_schedules: int) -> None:
    count = (await connection.execute(select(func.count()).where(schedules.c.tenant == tenant))).scalar_one()
    if count >= max_schedules:
        raise TooManyRequests(f"there are {count} schedules already, {max_schedules} are allowed; delete one", retry_after_s=_QUOTA_RETRY_S)


async def _take_turn(connection: AsyncConnection, due: DueSchedule, next_run_at: datetime | None) -> bool:
    """Move a due schedule on and lock it; false when it is no longer as it was: another dispatcher was first, or its owner changed it."""
    is_as_seen = (
        (schedules.c.id == due.schedule.id) & schedules.c.is_enabled.is_(True) & (schedules.c.next_run_at == _moment(due.schedule.next_run_at))
    )
    values: dict[str, object] = {"next_run_at": _moment(next_run_at)}
    if next_run_at is None:
        values["is_enabled"] = False
    taken = update(schedules).where(is_as_seen).values(**values).returning(schedules.c.id)
    return (await connection.execute(taken)).scalar_one_or_none() is not None


async def _has_unfinished(connection: AsyncConnection, due: DueSchedule) -> bool:
    unfinished = select(jobs.c.id).where(jobs.c.schedule_id == due.schedule.id, jobs.c.finished_at.is_(None)).limit(1)
    return (await connection.execute(unfinished)).scalar_one_or_none() is not None


async def _note(connection: AsyncConnection, due: DueSchedule, **values: object) -> None:
    await connection.execute(update(schedules).where(schedules.c.id == due.schedule.id).values(**values))


def _is(schedule_id: str, tenant: TenantId) -> ColumnElement[bool]:
    return (schedules.c.id == schedule_id) & (schedules.c.tenant == tenant)


def _moment(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _due_from(row: RowMapping) -> DueSchedule:
    key_id = None if row["key_id"] is None else KeyId(row["key_id"])
    return DueSchedule(_schedule_from(row), TenantId(row["tenant"]), key_id, to_datetime(row["now_s"]))


def _schedule_from(row: RowMapping) -> Schedule:
    return Schedule(
        id=row["id"],
        name=row["name"],
        cron=row["cron"],
        timezone=row["timezone"],
        request=_request_from(row["request"]),
        overlap=row["overlap"],
        is_enabled=row["is_enabled"],
        next_run_at=None if row["next_run_at"] is None else to_datetime(row["next_run_at"]),
        last_run_at=None if row["last_run_at"] is None else to_datetime(row["last_run_at"]),
        last_job_id=row["last_job_id"],
        last_error=None if row["last_error"] is None else JobFailure.model_validate(row["last_error"]),
        created_at=to_datetime(row["created_at"]),
    )


def _request_from(stored: object) -> JobRequest | None:
    """None for what an older version took and this one does not: one such row must not keep the others from being read."""
    try:
        return JobRequest.model_validate(stored)
    except ValidationError:
        return None


def _unknown(schedule_id: str) -> NotFound:
    return NotFound(f"no schedule {schedule_id!r}; check the id, and that the key belongs to the same tenant", param="schedule_id")
