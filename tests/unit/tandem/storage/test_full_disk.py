"""A database that may not grow: what does not fit is refused as a whole, and all that was stored before stays whole."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import StorageFull
from tandem.ports import JobFilter
from tandem.schemas.jobs import JobRequest
from tandem.settings import DatabaseSettings, RetentionSettings
from tandem.storage.engine import Database
from tandem.storage.sql import SqlStorage
from tandem.testing.samples import ALICE, Samples

LARGE = "x" * 50_000
FREE_PAGES = 100


async def _set_pages(database: Database, free: int | None) -> None:
    """Let SQLite's file grow by that many pages, or without a limit."""

    async def work(connection: AsyncConnection) -> None:
        used = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        # Holds for the one writing connection until it is set again.
        await connection.exec_driver_sql(f"PRAGMA max_page_count={2**30 if free is None else used + free}")

    await database.write(work)


async def test_a_full_disk_refuses_a_job_and_keeps_the_others(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/tandem.sqlite3", DatabaseSettings())
    samples = Samples()
    storage = SqlStorage(database, samples.ids, RetentionSettings())
    await storage.migrate()
    await _set_pages(database, FREE_PAGES)
    stored: list[str] = []
    with pytest.raises(StorageFull) as refused:  # noqa: PT012 - which of them does not fit is SQLite's to say
        for _ in range(100):
            large = replace(samples.job(), request=JobRequest(input=LARGE))
            stored.append((await storage.jobs.create(large, max_unfinished=1_000)).job.id)
    assert (refused.value.code, refused.value.retryable, refused.value.retry_after_s) == ("storage_full", True, 60.0)
    assert "xxx" not in refused.value.message
    assert stored
    await _set_pages(database, None)
    jobs = await storage.jobs.list(ALICE, where=JobFilter(), after=None, limit=1_000)
    assert sorted(job.id for job in jobs) == stored
    assert (await storage.jobs.create(samples.job(), max_unfinished=1_000)).job.id
    check = await database.row(text("PRAGMA integrity_check"))
    assert check is not None
    assert check["integrity_check"] == "ok"
    await storage.close()
