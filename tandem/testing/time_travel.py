"""Let hours pass in a database within a moment: the database's clock cannot be moved, so everything it has stamped is moved into the past instead."""

from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import Column, Table, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.settings import DatabaseSettings
from tandem.storage.engine import Database
from tandem.storage.tables import METADATA, MOMENT

_DURATIONS: Final = frozenset({"hint_wait_s", "seconds"})
"""Columns of that type that hold spans, not moments."""


async def let_pass(database_url: str, seconds: float) -> None:
    """Make everything in the database that many seconds older."""
    database = Database(database_url, DatabaseSettings(url=SecretStr(database_url), synchronous="normal"))

    async def work(connection: AsyncConnection) -> None:
        for table in METADATA.sorted_tables:
            if moments := _moments(table):
                await connection.execute(update(table).values({column: column - seconds for column in moments}))

    try:
        await database.write(work)
    finally:
        await database.close()


def _moments(table: Table) -> list[Column[Any]]:
    return [column for column in table.columns if column.type is MOMENT and column.name not in _DURATIONS]


__all__ = ["let_pass"]
