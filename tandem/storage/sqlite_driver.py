"""aiosqlite without the trips to its thread that our short statements do not need.

SQLAlchemy's adapter opens a cursor, executes, fetches and closes, each a trip through two queues and an event-loop wake-up; on statements of some
tens of microseconds those trips cost more than SQLite itself. Here a statement and its rows are one trip, and none at all inside a write
transaction: only BEGIN, which may wait for another process's lock, and COMMIT, which waits for the disk, go to the thread. Reads go to it too, since
a listing may take longer than an event loop should stand still.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import aiosqlite

Result = TypeVar("Result")


async def connect(path: str, timeout_s: float, *, is_writer: bool) -> aiosqlite.Connection:
    """A connection for SQLAlchemy's ``async_creator``.

    Args:
        path: The database file.
        timeout_s: Longest wait for a lock.
        is_writer: Statements after BEGIN run in the event loop's thread: for short statements on few rows only.
    """
    # Two threads use the connection, never at once: the adapter runs one statement after the other.
    return await _Connection(lambda: sqlite3.connect(path, timeout=timeout_s, check_same_thread=not is_writer), is_writer)


class _Connection(aiosqlite.Connection):
    def __init__(self, connector: Callable[[], sqlite3.Connection], is_writer: bool) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._is_writer = is_writer

    def cursor(self) -> "_Cursor":  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        return _Cursor(self)

    async def run(self, work: Callable[[sqlite3.Connection], Result], *, may_wait: bool) -> Result:
        """Run a function of the raw connection, in its thread where it may take long."""
        if self._is_writer and not may_wait:
            return work(self._conn)
        result: Result = await self._execute(lambda: work(self._conn))
        return result


class _Cursor:
    """The part of a cursor that SQLAlchemy's adapter uses. Rows are read whole, as the adapter would do anyway."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._rows: Sequence[Any] = ()
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> "_Cursor":
        return self

    async def execute(self, sql: str, parameters: Any = ()) -> "_Cursor":
        await self._connection.run(lambda raw: self._take(raw.execute(sql, parameters)), may_wait=sql.startswith(("BEGIN", "PRAGMA")))
        return self

    async def executemany(self, sql: str, parameters: Any) -> "_Cursor":
        await self._connection.run(lambda raw: self._take(raw.executemany(sql, parameters)), may_wait=False)
        return self

    async def fetchall(self) -> Sequence[Any]:
        rows, self._rows = self._rows, ()
        return rows

    async def close(self) -> None:
        self._rows = ()

    def _take(self, cursor: sqlite3.Cursor) -> None:
        self.description = cursor.description
        if cursor.description is not None:
            self._rows = cursor.fetchall()
        self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        cursor.close()
