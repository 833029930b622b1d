"""The one-shot before a deployment: schema and local key, repeatable, patient with a database that starts late."""

import stat
from pathlib import Path
from typing import cast

import pytest

from gateway.setup import WAIT_S, set_up
from tandem.errors import StorageUnavailable
from tandem.ports import KeyStore, Storage
from tandem.schemas.keys import ALL_SCOPES
from tandem.secrets import load_local_key, parse_token
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.testing.clock import FakeClock


async def test_the_first_run_makes_the_local_key_and_later_ones_leave_it(tmp_path: Path) -> None:
    settings, clock = Settings(home=tmp_path), FakeClock()
    storage = open_storage(settings)
    assert await set_up(settings, storage, clock) is True
    token = load_local_key(settings)
    assert token is not None
    assert await set_up(settings, storage, clock) is False
    assert load_local_key(settings) == token
    parsed = parse_token(token)
    assert parsed is not None
    found = await storage.keys.find(parsed.key_id)
    assert found is not None
    assert found[0].scopes == list(ALL_SCOPES)
    assert stat.S_IMODE((tmp_path / "secrets" / "local_key").stat().st_mode) == 0o600
    await storage.close()


class LateStorage:
    """Unavailable so many times."""

    def __init__(self, inner: Storage, failures: int) -> None:
        self._inner = inner
        self.failures = failures

    @property
    def keys(self) -> KeyStore:
        return self._inner.keys

    async def migrate(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("still starting")
        await self._inner.migrate()


async def test_a_database_that_starts_late_is_waited_for(tmp_path: Path) -> None:
    settings, clock = Settings(home=tmp_path), FakeClock()
    storage = open_storage(settings)
    late = cast("Storage", LateStorage(storage, failures=3))
    assert await set_up(settings, late, clock) is True
    assert clock.sleeps == [1.0, 1.0, 1.0]
    await storage.close()


async def test_a_database_that_stays_away_ends_the_set_up(tmp_path: Path) -> None:
    settings, clock = Settings(home=tmp_path), FakeClock()
    late = cast("Storage", LateStorage(open_storage(settings), failures=10_000))
    with pytest.raises(StorageUnavailable):
        await set_up(settings, late, clock)
    assert clock.monotonic() == WAIT_S
