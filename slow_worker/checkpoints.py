"""Where the graph keeps its checkpoints: LangGraph's own savers, SQLite beside the database file or PostgreSQL where that holds the truth.

The serializer restores only the workspace's classes. A stale worker can write a checkpoint, but nothing it could write differs from what the fenced
effects ledger holds: every model reply is recorded there, under the epoch, before it reaches the workspace.
"""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from slow_worker.workspace import CHECKPOINTED
from tandem.errors import DependencyMissing, StorageUnavailable
from tandem.settings import Settings

if TYPE_CHECKING:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

_BUSY_TIMEOUT_S = 30.0
_POSTGRES_CONNECTIONS = 4
_IDLE_S = 300.0
_LIFETIME_S = 1_800.0


@asynccontextmanager
async def open_checkpoints(settings: Settings) -> AsyncGenerator[BaseCheckpointSaver[str]]:
    """The saver for these settings, its tables made; closed on leaving. Raises ``StorageUnavailable``."""
    opened = _postgres(settings) if settings.database_url.startswith("postgres") else _sqlite(settings)
    async with AsyncExitStack() as stack:
        try:
            saver = await stack.enter_async_context(opened)
            await saver.setup()
        except checkpoint_errors() as error:
            raise StorageUnavailable(f"the checkpoints cannot be opened: {error}; check TANDEM_HOME and TANDEM_DATABASE_URL") from error
        yield saver


def checkpoint_errors() -> tuple[type[Exception], ...]:
    """What the savers raise when their database is away or cannot commit."""
    try:
        from psycopg import Error  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return (sqlite3.Error,)
    return (sqlite3.Error, Error)


def _serializer() -> JsonPlusSerializer:
    return JsonPlusSerializer(allowed_msgpack_modules=[(kind.__module__, kind.__name__) for kind in CHECKPOINTED])


@asynccontextmanager
async def _sqlite(settings: Settings) -> AsyncGenerator["AsyncSqliteSaver"]:
    settings.home.mkdir(parents=True, exist_ok=True)
    async with aiosqlite.connect(settings.home / "checkpoints.sqlite3", timeout=_BUSY_TIMEOUT_S) as connection:
        # Power loss may cost the newest checkpoints, never their consistency; what they held is in the effects ledger, so nothing is asked twice.
        await connection.execute("pragma synchronous=normal")
        yield AsyncSqliteSaver(connection, serde=_serializer())


@asynccontextmanager
async def _postgres(settings: Settings) -> AsyncGenerator["AsyncPostgresSaver"]:
    try:
        # An extra: whoever stays on SQLite needs no PostgreSQL driver.
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: PLC0415
        from psycopg import AsyncConnection  # noqa: PLC0415
        from psycopg.rows import DictRow, dict_row  # noqa: PLC0415
        from psycopg_pool import AsyncConnectionPool  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise DependencyMissing(f"the library {error.name!r} is not installed; pip install 'tandem-agents[postgres]'") from None
    pool = AsyncConnectionPool[AsyncConnection[DictRow]](
        settings.database_url.replace("postgresql+asyncpg://", "postgresql://"),
        min_size=1,
        max_size=_POSTGRES_CONNECTIONS,
        max_idle=_IDLE_S,
        max_lifetime=_LIFETIME_S,
        kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": dict_row},
        check=AsyncConnectionPool[AsyncConnection[DictRow]].check_connection,
        open=False,
    )
    async with pool:
        yield AsyncPostgresSaver(pool, serde=_serializer())
