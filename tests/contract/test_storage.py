"""The storage contract on SQLite and on PostgreSQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from tandem.ports import Storage
from tandem.settings import DatabaseSettings, Settings
from tandem.storage import open_storage
from tandem.storage.tables import METADATA
from tandem.testing.storage_suite import StorageConformance

PEERS = 3


@pytest.fixture(scope="module")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, copied for each test."""
    path = tmp_path_factory.mktemp("template") / "tandem.sqlite3"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="module")
def migrated_postgres_url(postgres_url: str) -> str:
    asyncio.run(_migrate(postgres_url))
    return postgres_url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated, empty database."""
    if request.param == "sqlite":
        path = tmp_path / "tandem.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("migrated_postgres_url")
    asyncio.run(_empty(url))
    return url


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        yield await _enter(stack, database_url)


@pytest.fixture
async def peers(database_url: str) -> AsyncIterator[Sequence[Storage]]:
    async with AsyncExitStack() as stack:
        yield [await _enter(stack, database_url) for _ in range(PEERS)]


async def _enter(stack: AsyncExitStack, url: str) -> Storage:
    storage = _open(url)
    stack.push_async_callback(storage.close)
    return storage


async def _migrate(url: str) -> None:
    async with AsyncExitStack() as stack:
        await (await _enter(stack, url)).migrate()


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    # Faster than TRUNCATE, which makes new files.
    await connection.execute("; ".join(str(table.delete()) for table in reversed(METADATA.sorted_tables)))
    await connection.close()


def _open(url: str) -> Storage:
    return open_storage(Settings(database=DatabaseSettings(url=SecretStr(url), synchronous="normal")))


class TestSqlStorage(StorageConformance):
    """SQLite and PostgreSQL keep every promise of the ports."""
