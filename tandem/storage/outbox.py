"""Webhook deliveries that wait to be sent. Knows nothing of HTTP, signatures or retry schedules.

A claim moves ``due_at`` to the end of its lease, so a delivery whose dispatcher died is simply due again.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import DeliveryId, JobId, TenantId
from tandem.ports import Delivery
from tandem.storage.engine import Database
from tandem.storage.tables import outbox
from tandem.storage.times import db_now

_STATES: Final = ("pending", "delivered", "failed")
_IS_PENDING: Final = outbox.c.state == "pending"
"""SQL: still to be sent."""


class SqlOutbox:
    """Implements ``Outbox``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, limit: int, lease_s: float) -> Sequence[Delivery]:
        """Oldest due first."""
        is_due = _IS_PENDING & (outbox.c.due_at <= db_now())
        if await self._database.row(select(outbox.c.id).where(is_due).limit(1)) is None:
            return ()
        # PostgreSQL steps over rows that another dispatcher is claiming; SQLite has one writer at a time. Choosing is a statement of its own:
        # as a subquery of the UPDATE it may be run once per row, and then claims more than the limit.
        due = select(outbox.c.id).where(is_due).order_by(outbox.c.due_at).limit(limit).with_for_update(skip_locked=True)
        claim = update(outbox).values(attempt=outbox.c.attempt + 1, due_at=db_now() + lease_s, updated_at=db_now()).returning(outbox)

        async def work(connection: AsyncConnection) -> Sequence[RowMapping]:
            chosen = (await connection.execute(due)).scalars().all()
            return (await connection.execute(claim.where(outbox.c.id.in_(chosen)))).mappings().all()

        rows = sorted(await self._database.write(work), key=lambda row: (row["created_at"], row["id"]))
        return [_delivery_from(row) for row in rows]

    async def succeed(self, delivery: Delivery, status_code: int) -> None:
        """Holds even when the lease ran out meanwhile: the receiver has it."""
        await self._set(outbox.c.id == delivery.id, state="delivered", status_code=status_code, reason=None)

    async def retry(self, delivery: Delivery, after_s: float, reason: str) -> None:
        """No effect when another dispatcher has claimed the delivery meanwhile."""
        await self._set(_is_mine(delivery), due_at=db_now() + after_s, reason=reason)

    async def give_up(self, delivery: Delivery, reason: str) -> None:
        """No effect when another dispatcher has claimed the delivery meanwhile."""
        await self._set(_is_mine(delivery), state="failed", reason=reason)

    async def counts(self) -> Mapping[str, int]:
        rows = await self._database.rows(select(outbox.c.state, func.count().label("deliveries")).group_by(outbox.c.state))
        return dict.fromkeys(_STATES, 0) | {row["state"]: row["deliveries"] for row in rows}

    async def _set(self, condition: ColumnElement[bool], **values: object) -> None:
        statement = update(outbox).where(condition).values(**values, updated_at=db_now())

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(statement)

        await self._database.write(work)


def _is_mine(delivery: Delivery) -> ColumnElement[bool]:
    """SQL: still waiting, and nobody has claimed it after this claim."""
    return (outbox.c.id == delivery.id) & _IS_PENDING & (outbox.c.attempt == delivery.attempt)


def _delivery_from(row: RowMapping) -> Delivery:
    return Delivery(
        id=DeliveryId(row["id"]),
        job_id=JobId(row["job_id"]),
        tenant=TenantId(row["tenant"]),
        url=row["url"],
        body=row["body"],
        attempt=row["attempt"],
    )
