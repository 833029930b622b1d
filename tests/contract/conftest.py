"""Real services for the contract tests: throw-away databases and a Valkey of their own."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite(*(f"tandem.testing.{name}_suite" for name in ("job", "thread", "record", "race", "notifier")))

from tandem.testing.samples import Samples  # noqa: E402 - after the line that makes its neighbours' assertions explain themselves
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
