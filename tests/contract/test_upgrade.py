"""A database of the version before is carried over whole, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from alembic import command
from pydantic import SecretStr
from sqlalchemy import JSON, column, insert, inspect, table
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import StorageNotMigrated
from tandem.ports import Storage
from tandem.settings import DatabaseSettings, Settings
from tandem.storage import open_storage
from tandem.storage.engine import Database
from tandem.storage.migrations import migration_config
from tandem.storage.tables import METADATA
from tandem.testing.samples import ALICE, BOB

BEFORE: Final = "0002"
OLD: Final[dict[str, Any]] = {
    "lane": "slow",
    "effort": "medium",
    "p_slow": 0.75,
    "threshold": 0.5,
    "margin": 0.25,
    "policy_version": "settings-0.5",
    "model_version": "m1",
    "override": None,
    "reasons": [{"feature": "chars", "weight": 0.5}],
    "language": "zh",
    "latency_us": 12.5,
}
"""A decision as it was written before bands and rollouts."""
ROWS: Final = (
    ("dec_1", "alice", OLD, 5, "chat", 10.0),
    ("dec_2", "alice", OLD | {"lane": "fast", "override": "lane", "latency_us": 0.0}, 6, "jobs", 20.25),
    ("dec_3", "bob", OLD, 7, "threads", 30.5),
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tandem.sqlite3'}"
    postgres_url: str = request.getfixturevalue("empty_postgres_url")
    return postgres_url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """At the version before, with rows in it."""
    database = Database(url, DatabaseSettings(url=SecretStr(url)))
    await database.write(_make_old)
    yield database
    await database.close()


@pytest.fixture
async def storage(url: str, database: Database) -> AsyncIterator[Storage]:
    storage = open_storage(Settings(database=DatabaseSettings(url=SecretStr(url))))
    yield storage
    await storage.close()


async def test_an_old_database_says_that_it_is_to_be_migrated(storage: Storage) -> None:
    with pytest.raises(StorageNotMigrated, match=BEFORE):
        await storage.check()


async def test_every_decision_is_carried_over_and_completed(storage: Storage) -> None:
    await storage.migrate()
    await storage.check()
    second, first = await storage.decisions.recent(ALICE, 10)
    (third,) = await storage.decisions.recent(BOB, 10)
    assert [(each.id, each.text_chars, each.door, each.text) for each in (first, second, third)] == [
        ("dec_1", 5, "chat", None),
        ("dec_2", 6, "jobs", None),
        ("dec_3", 7, "threads", None),
    ]
    assert [each.created_at.timestamp() for each in (first, second, third) if each.created_at] == [10.0, 20.25, 30.5]
    assert first.decision.model_dump(include=set(OLD)) == OLD
    assert (first.decision.band, first.decision.check_at, first.decision.arm, first.decision.signs.turns) == ("slow", 0.5, "stable", 0)
    assert (second.decision.band, second.decision.override) == ("fast", "lane")


async def test_old_decisions_are_counted_with_the_new_ones(storage: Storage) -> None:
    await storage.migrate()
    (figures,) = await storage.decisions.stats(1e12)
    assert (figures.version, figures.arm, figures.decisions, figures.auto, figures.slow, figures.checked) == ("settings-0.5", "stable", 3, 2, 2, 0)
    assert figures.mean_latency_us == pytest.approx(25 / 3)


async def test_an_old_database_gets_the_tables_and_indexes_of_a_new_one(storage: Storage, database: Database) -> None:
    await storage.migrate()

    def look(connection: Any) -> dict[str, tuple[list[tuple[str, bool]], set[str]]]:
        found = inspect(connection)
        return {
            name: (
                [(each["name"], each["nullable"]) for each in found.get_columns(name)],
                {str(each["name"]) for each in found.get_indexes(name)},
            )
            for name in METADATA.tables
        }

    tables = await database.read(lambda connection: connection.run_sync(look))
    for name, wanted in METADATA.tables.items():
        columns, indexes = tables[name]
        assert sorted(columns) == sorted((each.name, bool(each.nullable)) for each in wanted.columns)
        assert indexes == {str(each.name) for each in wanted.indexes}


async def _make_old(connection: AsyncConnection) -> None:
    await connection.run_sync(lambda synchronous: command.upgrade(migration_config(synchronous), BEFORE))
    log = table("decisions", *map(column, ("id", "tenant")), column("decision", JSON()), *map(column, ("text_chars", "door", "created_at")))
    await connection.execute(insert(log), [dict(zip(log.columns.keys(), row, strict=True)) for row in ROWS])
