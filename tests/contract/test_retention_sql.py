"""What retention asks of SQLite: every search walks an index, and keys go when their day is over."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tandem.ports import Once, Storage, Swept
from tandem.settings import DatabaseSettings, Settings
from tandem.storage import open_storage
from tandem.testing.samples import ALICE, Samples
from tandem.testing.statements import plans_of, watched_selects


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tandem.sqlite3"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[Storage]:
    storage = open_storage(Settings(database=DatabaseSettings(url=SecretStr(f"sqlite:///{path}"), synchronous="normal")))
    await storage.migrate()
    yield storage
    await storage.close()


async def test_keys_go_when_their_day_is_over(path: Path, storage: Storage, samples: Samples) -> None:
    for key in ("old", "young"):
        await storage.threads.create(samples.ids.thread(), ALICE, "", once=Once("POST /v1/threads", key, "digest"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE idempotency_keys SET expires_at = 1.0 WHERE key = 'old'")
    connection.close()
    assert await storage.retention.sweep() == Swept(keys=1)
    assert await storage.retention.sweep() == Swept()
    threads = len(await storage.threads.list(ALICE, after=None, limit=10))
    await storage.threads.create(samples.ids.thread(), ALICE, "", once=Once("POST /v1/threads", "young", "digest"))
    assert len(await storage.threads.list(ALICE, after=None, limit=10)) == threads


async def test_every_search_walks_an_index_in_order(path: Path, storage: Storage) -> None:
    with watched_selects() as selects:
        await storage.retention.sweep()
        await storage.schedules.due(10)
    plans = plans_of(path, selects)
    assert len(plans) >= 9
    for sql, plan in plans.items():
        assert "INDEX" in plan, sql
        assert "SCAN" not in plan, sql
        assert "TEMP B-TREE FOR ORDER BY" not in plan, sql
