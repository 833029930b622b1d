"""The migrations lead exactly to the tables the stores use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect

from tandem.storage.migrations import migration_config, upgrade
from tandem.storage.tables import METADATA, SCHEMA_VERSION


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path}/test.sqlite3")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_the_newest_migration_is_the_version_the_code_expects(connection: Connection) -> None:
    assert ScriptDirectory.from_config(migration_config(connection)).get_current_head() == SCHEMA_VERSION


def test_migrated_tables_equal_the_metadata(connection: Connection) -> None:
    upgrade(connection)
    assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_migrated_indexes_equal_the_metadata(connection: Connection) -> None:
    upgrade(connection)
    for table in METADATA.tables.values():
        migrated = {str(index["name"]): index["column_names"] for index in inspect(connection).get_indexes(table.name)}
        assert migrated == {str(index.name): [column.name for column in index.columns] for index in table.indexes}
