"""The append-only logs: reading pages, and appending inside another store's transaction.

A log's newest sequence number stands on the row that owns it (``jobs.last_seq``, ``threads.last_seq``), so an append costs the same however long
the log is, and the owner's row lock makes the sequence gap-free.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import StreamId
from tandem.ports import NewEvent
from tandem.schemas.events import Event
from tandem.storage.engine import Database
from tandem.storage.tables import events, threads
from tandem.storage.times import db_now, to_datetime

BEFORE_FIRST: Final = -1
"""``last_seq`` of an empty log."""


class SqlEventLog:
    """Reads every log, a job's or a thread's alike."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, stream: StreamId, after: int, limit: int) -> Sequence[Event]:
        statement = select(events).where(events.c.stream_id == stream, events.c.seq > after).order_by(events.c.seq).limit(limit)
        return [
            Event(type=row["type"], sequence_number=row["seq"], created_at=to_datetime(row["created_at"]), stream_id=stream, data=row["data"])
            for row in await self._database.rows(statement)
        ]

    async def first_seq(self, stream: StreamId) -> int | None:
        row = await self._database.row(select(func.min(events.c.seq).label("seq")).where(events.c.stream_id == stream))
        return None if row is None else row["seq"]

    async def last_seq(self, stream: StreamId) -> int:
        row = await self._database.row(select(func.max(events.c.seq).label("seq")).where(events.c.stream_id == stream))
        return BEFORE_FIRST if row is None or row["seq"] is None else row["seq"]


@dataclass(frozen=True, slots=True)
class Reserved:
    """Sequence numbers a transaction has taken from a log."""

    first_seq: int
    last_seq: int
    now_s: float
    """The database's time when they were taken."""
    title: str = ""
    """The thread's title."""


async def reserve_in_thread(connection: AsyncConnection, thread_id: str, count: int, *, tenant: str | None = None) -> Reserved | None:
    """Take the next ``count`` sequence numbers of a thread and lock it; None when it is unknown (or not the tenant's)."""
    statement = update(threads).where(threads.c.id == thread_id).values(last_seq=threads.c.last_seq + count)
    if tenant is not None:
        statement = statement.where(threads.c.tenant == tenant)
    row = (await connection.execute(statement.returning(threads.c.last_seq, threads.c.title, db_now().label("now_s")))).mappings().one_or_none()
    if row is None:
        return None
    return Reserved(row["last_seq"] - count + 1, row["last_seq"], row["now_s"], row["title"])


async def insert_events(
    connection: AsyncConnection, stream: str, first_seq: int, new: Sequence[NewEvent], now_s: float, *, epoch: int | None = None
) -> None:
    """Write events under numbers that the caller has reserved on the owner's row."""
    rows = [
        {"stream_id": stream, "seq": first_seq + offset, "type": each.type, "data": each.data, "created_at": now_s, "epoch": epoch}
        for offset, each in enumerate(new)
    ]
    await connection.execute(insert(events), rows)
