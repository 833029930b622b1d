"""Real services for the contract tests: throw-away databases and a Valkey of their own."""

import asyncio
import os
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import asyncpg
import pytest

pytest.register_assert_rewrite(*(f"tandem.testing.{name}_suite" for name in ("job", "thread", "record", "race", "notifier")))

from tandem.testing.samples import Samples  # noqa: E402 - after the line that makes its neighbours' assertions explain themselves

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://127.0.0.1:5432")


@pytest.fixture
def samples() -> Samples:
    return Samples()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """An empty database that lives as long as the tests."""
    with _throw_away_database() as url:
        yield url


@pytest.fixture
def empty_postgres_url() -> Iterator[str]:
    """An empty database for one test."""
    with _throw_away_database() as url:
        yield url


@contextmanager
def _throw_away_database() -> Generator[str]:
    name = f"tandem_test_{uuid.uuid4().hex[:12]}"
    try:
        asyncio.run(_administer(f'CREATE DATABASE "{name}"'))
    except (OSError, asyncpg.PostgresError) as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"no PostgreSQL at {POSTGRES}: {error}")
    try:
        yield f"{POSTGRES}/{name}"
    finally:
        asyncio.run(_administer(f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _administer(statement: str) -> None:
    connection = await asyncpg.connect(f"{POSTGRES}/postgres", timeout=5)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
