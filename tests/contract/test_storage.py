"""The storage contract on SQLite and on PostgreSQL."""

from collections.abc import Callable, Sequence

import pytest

from tandem.ports import Retention, Storage
from tandem.settings import RetentionSettings
from tandem.testing.suites.storage import StorageConformance

PEERS = 3


@pytest.fixture
def peers(open_peer: Callable[[RetentionSettings], Storage]) -> Sequence[Storage]:
    return [open_peer(RetentionSettings()) for _ in range(PEERS)]


@pytest.fixture
def forgetting(open_peer: Callable[[RetentionSettings], Storage]) -> Callable[[RetentionSettings], Retention]:
    """Sweeps with settings of their own over the database of ``storage``."""
    return lambda settings: open_peer(settings).retention


class TestSqlStorage(StorageConformance):
    """SQLite and PostgreSQL keep every promise of the ports."""
