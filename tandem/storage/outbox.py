"""Webhook deliveries that wait to be sent, the log of their attempts, and the health of their endpoints.

Knows nothing of HTTP, signatures or retry schedules. A claim moves ``due_at`` to the end of its lease, so a delivery whose dispatcher died is simply
due again. ``tries`` counts claims and never goes back while one is in flight: it tells a late dispatcher from its successor.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, delete, func, insert, literal, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import DeliveryId, EndpointId, IdFactory, JobId, TenantId
from tandem.ports import INTERNAL, Answered, Delivery, SealedSecret
from tandem.storage.engine import Database
from tandem.storage.tables import outbox, webhook_attempts, webhook_endpoints
from tandem.storage.times import db_now
from tandem.storage.webhook_rows import ENDPOINT_DISABLED, ENDPOINT_REMOVED, SENDABLE, disable_endpoint, lock_endpoint

_STATES: Final = ("pending", "delivered", "failed")
_IS_PENDING: Final = outbox.c.state == "pending"
"""SQL: still to be sent."""
_WINDOW: Final = 1_000
"""Due deliveries that one claim looks at, so that a long backlog does not make each claim slow."""
_MAX_CLAIMS: Final = 20
"""Claims of one delivery since its start or restart, twice the schedule's attempts: more means that sending it, or recording that, breaks us."""


class SqlOutbox:
    """Implements ``Outbox``."""

    def __init__(self, database: Database, ids: IdFactory) -> None:
        self._database = database
        self._ids = ids

    async def claim(self, limit: int, lease_s: float, *, per_receiver: int = 32, room: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        """Oldest due first. A delivery that has no enabled endpoint any more fails here."""
        # As a subquery the time is read once, so that PostgreSQL can use it as the bound of its index.
        is_due = _IS_PENDING & (outbox.c.due_at <= select(db_now()).scalar_subquery())
        room = room or {}
        if full := [url for url, places in room.items() if places <= 0]:
            is_due &= outbox.c.url.not_in(full)
        if await self._database.row(select(outbox.c.id).where(is_due).limit(1)) is None:
            return ()
        due = _choice(is_due, limit, per_receiver, room)

        async def work(connection: AsyncConnection) -> list[Delivery]:
            chosen = (await connection.execute(due)).mappings().all()
            endpoints = await _load_endpoints(connection, chosen)
            ready = await _settle_hopeless(connection, chosen, endpoints)
            values = {"attempt": outbox.c.attempt + 1, "tries": outbox.c.tries + 1, "due_at": db_now() + lease_s, "updated_at": db_now()}
            claim = update(outbox).where(outbox.c.id.in_(ready)).values(**values).returning(outbox)
            rows = sorted((await connection.execute(claim)).mappings().all(), key=lambda row: (row["created_at"], row["id"]))
            return [_delivery_from(row, endpoints.get(row["endpoint_id"])) for row in rows]

        return await self._database.write(work)

    async def defer(self, delivery: Delivery, after_s: float) -> None:
        values = {"attempt": outbox.c.attempt - 1, "tries": outbox.c.tries - 1, "due_at": db_now() + after_s, "updated_at": db_now()}

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(outbox).where(_is_mine(delivery)).values(**values))

        await self._database.write(work)

    async def succeed(self, delivery: Delivery, answered: Answered) -> None:
        """Holds even when the lease ran out meanwhile: the receiver has it."""

        async def work(connection: AsyncConnection) -> None:
            if delivery.endpoint_id is not None:
                is_failing = (webhook_endpoints.c.id == delivery.endpoint_id) & webhook_endpoints.c.failing_since.is_not(None)
                await connection.execute(update(webhook_endpoints).where(is_failing).values(failing_since=None))
            if await _log(connection, delivery, answered):
                await _set(connection, outbox.c.id == delivery.id, answered, state="delivered")

        await self._database.write(work)

    async def retry(self, delivery: Delivery, after_s: float, answered: Answered, *, disable_after_s: float) -> bool:
        """Logs the attempt, and changes nothing else when another dispatcher has claimed the delivery meanwhile."""
        return await self._fail(delivery, answered, disable_after_s, is_gone=False, due_at=db_now() + after_s)

    async def give_up(self, delivery: Delivery, answered: Answered, *, disable_after_s: float, is_gone: bool = False) -> bool:
        """Logs the attempt, and changes nothing else when another dispatcher has claimed the delivery meanwhile."""
        return await self._fail(delivery, answered, disable_after_s, is_gone=is_gone, state="failed")

    async def counts(self) -> Mapping[str, int]:
        rows = await self._database.rows(select(outbox.c.state, func.count().label("deliveries")).group_by(outbox.c.state))
        return dict.fromkeys(_STATES, 0) | {row["state"]: row["deliveries"] for row in rows}

    async def _fail(self, delivery: Delivery, answered: Answered, disable_after_s: float, *, is_gone: bool, **values: Any) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            endpoint = None if delivery.endpoint_id is None else await lock_endpoint(connection, delivery.endpoint_id)
            if not await _log(connection, delivery, answered) or not await _set(connection, _is_mine(delivery), answered, **values):
                return False
            if endpoint is None or not endpoint["is_enabled"] or answered.reason == INTERNAL:
                return False
            if (reason := await _note_failure(connection, endpoint, disable_after_s, is_gone=is_gone)) is None:
                return False
            await disable_endpoint(connection, self._ids, endpoint, reason)
            return True

        return await self._database.write(work)


def _choice(is_due: ColumnElement[bool], limit: int, per_receiver: int, room: Mapping[str, int]) -> Select[Any, Any, Any]:
    """The deliveries to claim, locked: oldest due first, as many of one URL as it has room for."""
    window = select(outbox.c.id, outbox.c.url, outbox.c.due_at).where(is_due).order_by(outbox.c.due_at).limit(_WINDOW).subquery()
    place = func.row_number().over(partition_by=window.c.url, order_by=(window.c.due_at, window.c.id)).label("place")
    ranked = select(window.c.id, window.c.url, place).subquery()
    places = case(room, value=ranked.c.url, else_=per_receiver) if room else literal(per_receiver)
    # PostgreSQL steps over rows that another dispatcher is claiming; SQLite has one writer at a time. Choosing is a statement of its own:
    # as a subquery of the UPDATE it may be run once per row, and then claims more than the limit.
    return (
        select(outbox.c.id, outbox.c.endpoint_id, outbox.c.attempt)
        .join(ranked, ranked.c.id == outbox.c.id)
        .where(is_due, ranked.c.place <= places)
        .order_by(outbox.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=outbox)
    )


async def _load_endpoints(connection: AsyncConnection, chosen: Sequence[RowMapping]) -> dict[str, RowMapping]:
    wanted = {row["endpoint_id"] for row in chosen} - {None}
    if not wanted:
        return {}
    rows = (await connection.execute(select(*SENDABLE).where(webhook_endpoints.c.id.in_(wanted)))).mappings().all()
    return {row["id"]: row for row in rows}


async def _settle_hopeless(connection: AsyncConnection, chosen: Sequence[RowMapping], endpoints: Mapping[str, RowMapping]) -> list[str]:
    """Fail what cannot be sent; ids of the others. A delivery is queued without a lock on its endpoint, which may be switched off just then."""
    ready: list[str] = []
    hopeless: dict[str, list[str]] = {}
    for row in chosen:
        endpoint = endpoints.get(row["endpoint_id"])
        if row["attempt"] >= _MAX_CLAIMS:
            hopeless.setdefault(INTERNAL, []).append(row["id"])
        elif row["endpoint_id"] is not None and endpoint is None:
            hopeless.setdefault(ENDPOINT_REMOVED, []).append(row["id"])
        elif endpoint is not None and not endpoint["is_enabled"]:
            hopeless.setdefault(ENDPOINT_DISABLED, []).append(row["id"])
        else:
            ready.append(row["id"])
    for reason, failed in hopeless.items():
        await connection.execute(update(outbox).where(outbox.c.id.in_(failed)).values(state="failed", reason=reason, updated_at=db_now()))
    return ready


async def _log(connection: AsyncConnection, delivery: Delivery, answered: Answered) -> bool:
    """Write the attempt down; false when retention has swept its delivery."""
    if (await connection.execute(select(outbox.c.id).where(outbox.c.id == delivery.id).with_for_update())).one_or_none() is None:
        return False
    attempt = (webhook_attempts.c.delivery_id == delivery.id) & (webhook_attempts.c.number == delivery.tries)
    await connection.execute(delete(webhook_attempts).where(attempt))
    await connection.execute(
        insert(webhook_attempts).values(
            delivery_id=delivery.id,
            number=delivery.tries,
            status_code=answered.status_code,
            reason=answered.reason,
            seconds=answered.seconds,
            answer=answered.answer,
            created_at=db_now(),
        )
    )
    return True


async def _set(connection: AsyncConnection, condition: ColumnElement[bool], answered: Answered, **values: Any) -> bool:
    seen = {"status_code": answered.status_code, "reason": answered.reason, "updated_at": db_now()}
    changed = await connection.execute(update(outbox).where(condition).values(**seen, **values).returning(outbox.c.id))
    return changed.one_or_none() is not None


async def _note_failure(connection: AsyncConnection, endpoint: RowMapping, disable_after_s: float, *, is_gone: bool) -> str | None:
    """Remember since when the endpoint fails; why it is to be disabled, if it is."""
    since_s: float | None = endpoint["failing_since"]
    if since_s is None:
        since_s = endpoint["now_s"]
        await connection.execute(update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint["id"]).values(failing_since=since_s))
    if is_gone:
        return "gone"
    return "failing" if endpoint["now_s"] - since_s >= disable_after_s else None


def _is_mine(delivery: Delivery) -> ColumnElement[bool]:
    """SQL: still waiting, and nobody has claimed it after this claim."""
    return (outbox.c.id == delivery.id) & _IS_PENDING & (outbox.c.tries == delivery.tries)


def _delivery_from(row: RowMapping, endpoint: RowMapping | None) -> Delivery:
    secrets: list[SealedSecret] = []
    if endpoint is not None:
        secrets.append(SealedSecret(endpoint["signing"], endpoint["secret"]))
        if endpoint["old_secret"] is not None and endpoint["is_old_live"]:
            secrets.append(SealedSecret(endpoint["signing"], endpoint["old_secret"]))
    return Delivery(
        id=DeliveryId(row["id"]),
        job_id=None if row["job_id"] is None else JobId(row["job_id"]),
        tenant=TenantId(row["tenant"]),
        url=row["url"] if endpoint is None else endpoint["url"],
        body=row["body"],
        attempt=row["attempt"],
        tries=row["tries"],
        endpoint_id=None if endpoint is None else EndpointId(endpoint["id"]),
        secrets=tuple(secrets),
    )
