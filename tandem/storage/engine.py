"""Runs transactions on SQLite or PostgreSQL: connections, locks, retries and the translation of driver errors.

Knows nothing of jobs or threads. A *read* is statements without a transaction; a *write* is one transaction that is repeated as a whole when the
database surely undid it, so its work must do nothing but talk to the database.

SQLite: WAL, one writing connection per process (writers queue in the event loop, not in SQLite's busy handler) whose transactions begin
IMMEDIATE, so that no read lock is ever upgraded, and a few reading connections. A process frozen inside a write stops all writers until it goes
on or is killed: several machines need PostgreSQL, where the server ends such a transaction after ``_IDLE_IN_TRANSACTION_MS``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Executable, event, text
from sqlalchemy.engine import URL, RowMapping, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from tandem.errors import SettingsInvalid
from tandem.settings import DatabaseSettings
from tandem.storage.failures import DRIVER_ERRORS, Verdict, judge, translate
from tandem.storage.sqlite_driver import connect

Result = TypeVar("Result")
Work = Callable[[AsyncConnection], Awaitable[Result]]
Sleep = Callable[[float], Awaitable[None]]

_BUSY_TIMEOUT_MS: Final = 5_000
_SQLITE_READERS: Final = 4
_POOL_WAIT_S: Final = 10.0
_CONNECT_TIMEOUT_S: Final = 5.0
_STATEMENT_TIMEOUT_MS: Final = 30_000
_IDLE_IN_TRANSACTION_MS: Final = 10_000
_RETRY_WAITS_S: Final = {Verdict.ROLLED_BACK: (0.0, 0.01, 0.03, 0.1, 0.3), Verdict.DISCONNECTED: (0.05,)}
"""Waits before each repetition. SQLite's busy timeout is inside each try: a blocked write gives up after half a minute. One reconnection is enough
for connections that went stale in the pool; a database that is really away is told to the caller at once."""


class Database:
    """Two ways into one database: ``read`` and ``write``. Makes no connection before the first use.

    Args:
        url: ``sqlite:///absolute/path`` or ``postgresql://…``.
        settings: Pool size and durability.
        sleep: Waits between repetitions.
    """

    def __init__(self, url: str, settings: DatabaseSettings, sleep: Sleep = asyncio.sleep) -> None:
        parsed = _parse(url)
        self._sleep = sleep
        self._path = Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
        self._reader, self._writer = _sqlite_engines(parsed, settings) if self._path else _postgresql_engines(parsed, settings)

    async def read(self, work: Work[Result]) -> Result:
        """Run statements that change nothing, each on its own snapshot; repeated once when the connection was stale."""
        return await self._repeat(self._reader, work, is_writing=False)

    async def write(self, work: Work[Result]) -> Result:
        """Run one transaction; commits when ``work`` returns, rolls back when it raises."""
        return await self._repeat(self._writer, work, is_writing=True)

    async def rows(self, statement: Executable) -> Sequence[RowMapping]:
        """All rows of one reading statement."""

        async def work(connection: AsyncConnection) -> Sequence[RowMapping]:
            return (await connection.execute(statement)).mappings().all()

        return await self.read(work)

    async def row(self, statement: Executable) -> RowMapping | None:
        """The first row of one reading statement, or None."""
        rows = await self.rows(statement)
        return rows[0] if rows else None

    @property
    def is_sqlite(self) -> bool:
        return self._path is not None

    async def lock(self, connection: AsyncConnection, name: str) -> None:
        """Exclude other transactions that ask for the same name until this one ends (SQLite's writers exclude each other anyway)."""
        if not self.is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"tandem:{name}"})

    async def close(self) -> None:
        await self._reader.dispose()
        if self._writer is not self._reader:
            await self._writer.dispose()

    async def _repeat(self, engine: AsyncEngine, work: Work[Result], *, is_writing: bool) -> Result:
        waits = {verdict: iter(seconds) for verdict, seconds in _RETRY_WAITS_S.items()}
        while True:
            progress = _Progress()
            try:
                self._make_folder()
                async with engine.connect() as connection:
                    return await _undisturbed(_write(connection, work, progress) if is_writing else _read(connection, work))
            except DRIVER_ERRORS as error:
                verdict = judge(error)
                # A connection lost while the commit was under way may have committed: repeating could do the work twice.
                is_repeatable = verdict in waits and not (verdict is Verdict.DISCONNECTED and progress.is_committing)
                wait_s = next(waits[verdict], None) if is_repeatable else None
                if wait_s is None:
                    if (translated := translate(error, verdict)) is None:
                        raise
                    raise translated from error
            await self._sleep(wait_s)

    def _make_folder(self) -> None:
        """The database file holds everybody's conversations: its folder, when we make it, is the owner's alone."""
        if self._path is not None and not self._path.parent.is_dir():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


@dataclass(slots=True)
class _Progress:
    """How far a transaction came."""

    is_committing: bool = False


async def _read(connection: AsyncConnection, work: Work[Result]) -> Result:
    return await work(connection)


async def _write(connection: AsyncConnection, work: Work[Result], progress: _Progress) -> Result:
    await connection.begin()
    result = await work(connection)
    progress.is_committing = True
    await connection.commit()
    return result


async def _undisturbed(work: Coroutine[Any, Any, Result]) -> Result:
    """Finish what was begun even when the caller is cancelled, and deliver the cancellation then.

    A connection dropped in the middle of a statement keeps SQLite's locks until its cursors are collected, and costs a new connection anywhere.
    The wait is bounded by the database's own time-outs.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # the caller is gone: mark it as seen
    raise cancelled


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsInvalid("database.url cannot be read; write postgresql://user:password@host/name or sqlite:///absolute/path") from None
    if parsed.get_backend_name() not in {"sqlite", "postgresql"} or not parsed.database or parsed.database == ":memory:":
        raise SettingsInvalid(f"database.url {parsed.render_as_string()!r} is not supported; write postgresql://… or sqlite:///absolute/path")
    return parsed


def _to_json(value: object) -> str:
    return dumps(value, separators=(",", ":"), allow_nan=False)


def _sqlite_engines(url: URL, settings: DatabaseSettings) -> tuple[AsyncEngine, AsyncEngine]:
    path = url.database or ""
    url = url.set(drivername="sqlite+aiosqlite")
    reader = create_async_engine(
        url,
        async_creator=lambda: connect(path, _BUSY_TIMEOUT_MS / 1_000, is_writer=False),
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_size=_SQLITE_READERS,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_S,
        json_serializer=_to_json,
    )
    writer = create_async_engine(
        url,
        async_creator=lambda: connect(path, _BUSY_TIMEOUT_MS / 1_000, is_writer=True),
        pool_size=1,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_S,
        json_serializer=_to_json,
    )
    pragmas = (f"busy_timeout={_BUSY_TIMEOUT_MS}", "journal_mode=WAL", "foreign_keys=ON", f"synchronous={settings.synchronous.upper()}")
    _on_connect(reader, (*pragmas, "query_only=ON"))
    _on_connect(writer, pragmas)
    event.listen(writer.sync_engine, "begin", _begin_immediate)
    return reader, writer


def _on_connect(engine: AsyncEngine, pragmas: Sequence[str]) -> None:
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver shall not begin transactions on its own
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _postgresql_engines(url: URL, settings: DatabaseSettings) -> tuple[AsyncEngine, AsyncEngine]:
    arguments: dict[str, Any] = {
        "timeout": _CONNECT_TIMEOUT_S,
        "server_settings": {
            "application_name": "tandem",
            "jit": "off",  # compiling costs more than our short statements
            "statement_timeout": str(_STATEMENT_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_MS),
        },
    }
    if "sslmode" in url.query:  # libpq's name for what asyncpg calls ssl
        arguments["ssl"] = url.query["sslmode"]
        url = url.difference_update_query(["sslmode"])
    writer = create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_S,
        connect_args=arguments,
        json_serializer=_to_json,
    )
    return writer.execution_options(isolation_level="AUTOCOMMIT"), writer
