"""Real services for the contract tests: throw-away databases and a Valkey of their own."""

import asyncio
import os
import uuid
from collections.abc import Iterator

import asyncpg
import pytest

pytest.register_assert_rewrite("tandem.testing")

from tandem.testing.samples import Samples  # noqa: E402 - after the line that makes its neighbours' assertions explain themselves

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://127.0.0.1:5432")


@pytest.fixture
def samples() -> Samples:
    return Samples()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """An empty database that is dropped at the end."""
    name = f"tandem_test_{uuid.uuid4().hex[:12]}"
    try:
        asyncio.run(_administer(f'CREATE DATABASE "{name}"'))
    except (OSError, asyncpg.PostgresError) as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"no PostgreSQL at {POSTGRES}: {error}")
    yield f"{POSTGRES}/{name}"
    asyncio.run(_administer(f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _administer(statement: str) -> None:
    connection = await asyncpg.connect(f"{POSTGRES}/postgres", timeout=5)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
