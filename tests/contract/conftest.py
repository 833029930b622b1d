"""Real services for the contract tests: throw-away databases and a Valkey of their own."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

pytest.register_assert_rewrite("tandem.testing.suites")

# After the line that makes the suites' assertions explain themselves.
from tandem.ports import Storage  # noqa: E402
from tandem.settings import DatabaseSettings, RetentionSettings, Settings  # noqa: E402
from tandem.storage import open_storage  # noqa: E402
from tandem.storage.tables import METADATA  # noqa: E402
from tandem.testing.samples import Samples  # noqa: E402
from tandem.testing.services import throw_away_database_here  # noqa: E402


@pytest.fixture
def samples() -> Samples:
    return Samples()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """An empty database that lives as long as the tests."""
    with throw_away_database_here() as url:
        yield url


@pytest.fixture
def empty_postgres_url() -> Iterator[str]:
    """An empty database for one test."""
    with throw_away_database_here() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, copied for each test."""
    path = tmp_path_factory.mktemp("template") / "tandem.sqlite3"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
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
async def open_peer(database_url: str) -> AsyncIterator[Callable[[RetentionSettings], Storage]]:
    """Opens the test's database once more, as another process would; all are closed in the end."""
    async with AsyncExitStack() as stack:

        def open_peer(retention: RetentionSettings) -> Storage:
            storage = _open(database_url, retention)
            stack.push_async_callback(storage.close)
            return storage

        yield open_peer


@pytest.fixture
def storage(open_peer: Callable[[RetentionSettings], Storage]) -> Storage:
    return open_peer(RetentionSettings())


def _open(url: str, retention: RetentionSettings) -> Storage:
    database = DatabaseSettings(url=SecretStr(url), synchronous="normal")
    return open_storage(Settings(database=database, retention=retention))


async def _migrate(url: str) -> None:
    storage = _open(url, RetentionSettings())
    await storage.migrate()
    await storage.close()


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    # Faster than TRUNCATE, which makes new files.
    await connection.execute("; ".join(str(table.delete()) for table in reversed(METADATA.sorted_tables)))
    await connection.close()
