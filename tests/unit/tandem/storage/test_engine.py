"""Transactions: repetition, rollback, and what a cancelled caller leaves behind."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import StorageUnavailable
from tandem.settings import DatabaseSettings
from tandem.storage.engine import Database
from tandem.storage.times import db_now


class Waits:
    """Records the pauses between repetitions instead of waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
async def database(tmp_path: Path, waits: Waits) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/test.sqlite3", DatabaseSettings(synchronous="normal"), sleep=waits)
    await database.write(lambda connection: _run(connection, "CREATE TABLE facts (fact TEXT UNIQUE)"))
    yield database
    await database.close()


async def _run(connection: AsyncConnection, statement: str) -> None:
    await connection.execute(text(statement))


async def _facts(database: Database) -> list[str]:
    return [row["fact"] for row in await database.rows(text("SELECT fact FROM facts ORDER BY fact"))]


def _busy() -> DBAPIError:
    cause = sqlite3.OperationalError("database is locked")
    cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return DBAPIError("", {}, cause)


async def test_a_write_that_was_rolled_back_is_repeated_as_a_whole(database: Database, waits: Waits) -> None:
    tries: list[str] = []

    async def work(connection: AsyncConnection) -> None:
        await _run(connection, "INSERT INTO facts VALUES ('a')")
        tries.append("try")
        if len(tries) < 3:
            raise _busy()

    await database.write(work)
    assert (len(tries), waits.seconds, await _facts(database)) == (3, [0.0, 0.01], ["a"])


async def test_a_write_that_is_always_locked_gives_up_as_unavailable(database: Database, waits: Waits) -> None:
    async def work(_connection: AsyncConnection) -> None:
        raise _busy()

    with pytest.raises(StorageUnavailable, match="locked") as raised:
        await database.write(work)
    assert (len(waits.seconds), raised.value.retry_after_s) == (5, 1.0)


async def test_an_error_of_the_work_rolls_back(database: Database) -> None:
    async def work(connection: AsyncConnection) -> None:
        await _run(connection, "INSERT INTO facts VALUES ('a')")
        raise KeyError("ours")

    with pytest.raises(KeyError):
        await database.write(work)
    assert await _facts(database) == []


async def test_a_broken_constraint_is_our_defect_and_goes_up_unchanged(database: Database) -> None:
    await database.write(lambda connection: _run(connection, "INSERT INTO facts VALUES ('a')"))
    with pytest.raises(IntegrityError):
        await database.write(lambda connection: _run(connection, "INSERT INTO facts VALUES ('a')"))


async def test_a_reading_connection_cannot_write(database: Database) -> None:
    with pytest.raises(StorageUnavailable, match="readonly"):
        await database.read(lambda connection: _run(connection, "INSERT INTO facts VALUES ('a')"))


async def test_a_write_whose_caller_is_cancelled_is_finished_first(database: Database) -> None:
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def work(connection: AsyncConnection) -> None:
        await _run(connection, "INSERT INTO facts VALUES ('a')")
        has_begun.set()
        await may_end.wait()

    writing = asyncio.create_task(database.write(work))
    await has_begun.wait()
    writing.cancel()
    await asyncio.sleep(0)
    writing.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await _facts(database) == ["a"]


async def test_the_databases_clock_ticks_in_utc_seconds(database: Database) -> None:
    from_sql = await database.row(text("SELECT CAST(strftime('%s', 'now') AS INTEGER) AS now_s"))

    async def work(connection: AsyncConnection) -> float:
        return (await connection.execute(db_now().select())).scalar_one()

    assert from_sql is not None
    assert abs(await database.read(work) - from_sql["now_s"]) < 2


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
async def test_durability_follows_the_settings(tmp_path: Path, synchronous: str, level: int) -> None:
    settings = DatabaseSettings.model_validate({"synchronous": synchronous})
    database = Database(f"sqlite:///{tmp_path}/test.sqlite3", settings)

    async def work(connection: AsyncConnection) -> list[object]:
        return [(await connection.execute(text(f"PRAGMA {name}"))).scalar_one() for name in ("synchronous", "journal_mode", "foreign_keys")]

    try:
        assert await database.write(work) == [level, "wal", 1]
    finally:
        await database.close()
