"""What the SQL storage does when the database is away, foreign, frozen, shared by processes, or when callers vanish."""

import asyncio
import multiprocessing
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import create_async_engine

from tandem.errors import SettingsInvalid, StorageNotMigrated, StorageUnavailable
from tandem.ids import JobId, StreamId
from tandem.ports import JobFilter, NewEvent, NewJob, Storage
from tandem.settings import DatabaseSettings, Settings
from tandem.storage import open_storage
from tandem.storage.tables import METADATA
from tandem.testing.samples import ALICE, Samples

PROCESSES = 4
APPENDS = 15


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state' / 'tandem.sqlite3'}"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def open_at(stack: AsyncExitStack, url: str) -> Storage:
    storage = open_storage(Settings(database=DatabaseSettings(url=SecretStr(url))))
    stack.push_async_callback(storage.close)
    return storage


async def create(storage: Storage, new: NewJob) -> JobId:
    return JobId((await storage.jobs.create(new, max_unfinished=1_000)).job.id)


class TestMigration:
    async def test_a_fresh_database_is_not_migrated_and_says_so(self, stack: AsyncExitStack, sqlite_url: str, samples: Samples) -> None:
        storage = open_at(stack, sqlite_url)
        for attempt in (storage.check(), create(storage, samples.job()), storage.jobs.get(samples.ids.job(), ALICE)):
            with pytest.raises(StorageNotMigrated, match="tandem up"):
                await attempt

    async def test_the_database_folder_is_the_owners_alone(self, stack: AsyncExitStack, sqlite_url: str, tmp_path: Path) -> None:
        await open_at(stack, sqlite_url).migrate()
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700

    async def test_peers_may_migrate_sqlite_at_once(self, stack: AsyncExitStack, sqlite_url: str) -> None:
        peers = [open_at(stack, sqlite_url) for _ in range(4)]
        await asyncio.gather(*(peer.migrate() for peer in peers))
        await asyncio.gather(*(peer.check() for peer in peers))

    @pytest.mark.integration
    async def test_peers_may_migrate_postgresql_at_once(self, stack: AsyncExitStack, empty_postgres_url: str) -> None:
        peers = [open_at(stack, empty_postgres_url) for _ in range(4)]
        await asyncio.gather(*(peer.migrate() for peer in peers))
        await asyncio.gather(*(peer.check() for peer in peers))

    @pytest.mark.integration
    async def test_migrated_postgresql_equals_the_metadata(self, stack: AsyncExitStack, empty_postgres_url: str) -> None:
        await open_at(stack, empty_postgres_url).migrate()
        engine = create_async_engine(empty_postgres_url.replace("postgresql://", "postgresql+asyncpg://"))
        stack.push_async_callback(engine.dispose)
        async with engine.connect() as connection:
            differences = await connection.run_sync(lambda synchronous: compare_metadata(MigrationContext.configure(synchronous), METADATA))
        assert differences == []

    async def test_a_database_of_a_later_version_is_left_alone(self, stack: AsyncExitStack, sqlite_url: str) -> None:
        storage = open_at(stack, sqlite_url)
        await storage.migrate()
        with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.close()
        with pytest.raises(StorageNotMigrated, match="9999"):
            await storage.migrate()


class TestUnavailable:
    async def test_a_folder_that_cannot_be_made_is_unavailable(self, stack: AsyncExitStack, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("not a folder", encoding="utf-8")
        with pytest.raises(StorageUnavailable):
            await open_at(stack, f"sqlite:///{tmp_path}/file/tandem.sqlite3").migrate()

    async def test_a_file_that_is_no_database_is_unavailable(self, stack: AsyncExitStack, tmp_path: Path) -> None:
        (tmp_path / "tandem.sqlite3").write_bytes(b"certainly not a database" * 100)
        with pytest.raises(StorageUnavailable):
            await open_at(stack, f"sqlite:///{tmp_path}/tandem.sqlite3").check()

    async def test_a_refused_connection_is_unavailable_at_once(self, stack: AsyncExitStack, unused_tcp_port: int, samples: Samples) -> None:
        storage = open_at(stack, f"postgresql://user:hidden@127.0.0.1:{unused_tcp_port}/tandem")
        for attempt in (storage.check(), create(storage, samples.job())):
            with pytest.raises(StorageUnavailable) as raised:
                await asyncio.wait_for(attempt, 2)
            assert "hidden" not in str(raised.value)

    @pytest.mark.integration
    async def test_an_unknown_database_is_unavailable(self, stack: AsyncExitStack, empty_postgres_url: str) -> None:
        with pytest.raises(StorageUnavailable):
            await open_at(stack, f"{empty_postgres_url}_absent").check()

    @pytest.mark.integration
    async def test_connections_ended_by_the_server_are_replaced(self, stack: AsyncExitStack, empty_postgres_url: str, samples: Samples) -> None:
        storage = open_at(stack, empty_postgres_url)
        await storage.migrate()
        job_id = await create(storage, samples.job())
        administrator = await asyncpg.connect(empty_postgres_url)
        await administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await administrator.close()
        assert (await storage.jobs.get(job_id, ALICE)).id == job_id
        assert await storage.work.claim("w1", 10, 3, job_id=job_id) is not None

    @pytest.mark.parametrize("url", ["mysql://127.0.0.1/tandem", "sqlite://", "sqlite:///:memory:", "no url"])
    def test_an_unsupported_url_stops_the_start(self, url: str) -> None:
        with pytest.raises(SettingsInvalid, match=r"database\.url"):
            open_storage(Settings(database=DatabaseSettings(url=SecretStr(url))))


class TestSharing:
    async def test_a_locked_sqlite_file_is_waited_for(self, stack: AsyncExitStack, sqlite_url: str, samples: Samples) -> None:
        storage = open_at(stack, sqlite_url)
        await storage.migrate()
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        creating = asyncio.create_task(create(storage, samples.job()))
        await asyncio.sleep(0.2)
        assert not creating.done()
        other.execute("COMMIT")
        other.close()
        await asyncio.wait_for(creating, 5)

    async def test_callers_that_vanish_leave_no_lock_and_no_half(self, stack: AsyncExitStack, sqlite_url: str, samples: Samples) -> None:
        storage, other = open_at(stack, sqlite_url), open_at(stack, sqlite_url)
        await storage.migrate()
        for wait_ms in range(12):
            creating = asyncio.create_task(create(storage, samples.job(tenant=ALICE)))
            await asyncio.sleep(wait_ms / 2_000)
            creating.cancel()
            await asyncio.wait({creating})
            await asyncio.wait_for(create(other, samples.job()), 2)
        for job in await storage.jobs.list(ALICE, where=JobFilter(), after=None, limit=100):
            assert await storage.events.last_seq(StreamId(job.id)) == job.last_seq

    async def test_four_processes_append_to_one_job_without_a_gap(self, stack: AsyncExitStack, sqlite_url: str, samples: Samples) -> None:
        storage = open_at(stack, sqlite_url)
        await storage.migrate()
        job_id = await create(storage, samples.job())
        claim = await storage.work.claim("w1", 60, 3, job_id=job_id)
        assert claim is not None
        spawning = multiprocessing.get_context("spawn")
        writers = [spawning.Process(target=_append_in_process, args=(sqlite_url, job_id, claim.epoch)) for _ in range(PROCESSES)]
        for writer in writers:
            writer.start()
        for writer in writers:
            await asyncio.to_thread(writer.join, 30)
        assert [writer.exitcode for writer in writers] == [0] * PROCESSES
        events = await storage.events.read(StreamId(job_id), -1, 1_000)
        assert [event.sequence_number for event in events] == list(range(4 + PROCESSES * APPENDS))


def _append_in_process(url: str, job_id: JobId, epoch: int) -> None:
    async def work() -> None:
        async with AsyncExitStack() as stack:
            storage = open_at(stack, url)
            await storage.migrate()
            for number in range(APPENDS):
                await storage.work.append(job_id, epoch, [NewEvent("tick", {"number": number})])

    asyncio.run(work())
