"""Real services for tests: throw-away PostgreSQL databases, and keys of one's own in a Redis. What is missing skips on a laptop and fails in CI.

``TEST_POSTGRES_URL`` and ``TEST_REDIS_URL`` name other servers than those on loopback.
"""

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import pytest

POSTGRES: Final = os.environ.get("TEST_POSTGRES_URL", "postgresql://127.0.0.1:5432")
REDIS: Final = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


@asynccontextmanager
async def throw_away_database() -> AsyncGenerator[str]:
    """The URL of an empty database, dropped in the end."""
    name = f"tandem_test_{uuid.uuid4().hex[:12]}"
    try:
        await _administer(f'CREATE DATABASE "{name}"')
    except (OSError, asyncpg.PostgresError) as error:
        _without(f"no PostgreSQL at {POSTGRES}: {error}")
    try:
        yield f"{POSTGRES}/{name}"
    finally:
        await _administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def throw_away_database_here() -> Generator[str]:
    """``throw_away_database`` where no event loop runs."""
    with asyncio.Runner() as runner:
        database = throw_away_database()
        url = runner.run(database.__aenter__())
        try:
            yield url
        finally:
            runner.run(database.__aexit__(None, None, None))


def redis_prefix() -> str:
    """A prefix for keys that nobody else has, for the Redis at ``REDIS``."""
    address = urlsplit(REDIS)
    try:
        socket.create_connection((address.hostname or "127.0.0.1", address.port or 6379), timeout=3).close()
    except OSError as error:
        _without(f"no Redis at {REDIS}: {error}")
    return f"tandem-test-{uuid.uuid4().hex[:12]}:"


def _without(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; CI must have it")
    pytest.skip(reason)


async def _administer(statement: str) -> None:
    connection = await asyncpg.connect(f"{POSTGRES}/postgres", timeout=5)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
