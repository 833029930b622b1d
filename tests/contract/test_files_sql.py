"""What files, memories, the audit log and the tool board ask of SQLite: every read walks an index."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tandem.ids import FileId, JobId, MemoryId
from tandem.ports import Storage
from tandem.schemas.audit import AuditEntry
from tandem.schemas.memories import Provenance
from tandem.settings import DatabaseSettings, Settings
from tandem.storage import open_storage
from tandem.testing.samples import ALICE, Samples
from tandem.testing.statements import plans_of, watched_selects
from tandem.testing.suites.file import new_file
from tandem.testing.suites.tool_board import reported

BIG = 4_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tandem.sqlite3"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[Storage]:
    storage = open_storage(Settings(database=DatabaseSettings(url=SecretStr(f"sqlite:///{path}"), synchronous="normal")))
    await storage.migrate()
    yield storage
    await storage.close()


async def test_every_read_walks_an_index(path: Path, storage: Storage, samples: Samples) -> None:
    new = new_file(samples)
    await storage.files.add(new, max_total_bytes=BIG)
    memory = await storage.memories.add(samples.ids.memory(), ALICE, "x", Provenance(origin="caller"), max_memories=9)
    await storage.audit.append(ALICE, AuditEntry(kind="grant"))
    await storage.tools.report("host", [reported()])
    with watched_selects() as selects:
        await storage.files.content(new.id, ALICE)
        await storage.files.find([new.id], ALICE)
        for is_oldest_first in (False, True):
            await storage.files.list(ALICE, purpose="user_data", after=FileId(new.id), limit=5, is_oldest_first=is_oldest_first)
        await storage.memories.get(MemoryId(memory.id), ALICE)
        await storage.memories.list(ALICE, after=MemoryId(memory.id), limit=5)
        await storage.audit.read(ALICE, after=0, limit=5)
        await storage.audit.read(ALICE, after=0, limit=5, job_id=JobId("job_1"))
        await storage.audit.verify(ALICE)
        await storage.audit.tenants()
        await storage.tools.read(60)
        await storage.files.add(new_file(samples), max_total_bytes=BIG)
        await storage.memories.add(samples.ids.memory(), ALICE, "y", Provenance(origin="caller"), max_memories=9)
    plans = plans_of(path, selects)
    assert len(plans) >= 12
    for sql, plan in plans.items():
        assert "SEARCH" in plan or "CONSTANT ROW" in plan, (sql, plan)
        assert "SCAN files" not in plan, (sql, plan)
        assert "TEMP B-TREE" not in plan, (sql, plan)


@pytest.mark.usefixtures("storage")
def test_a_files_bytes_are_the_last_column_of_its_row(path: Path) -> None:
    """SQLite follows a row's pages up to the last column asked for: a listing must not read through what it does not show."""
    connection = sqlite3.connect(path)
    assert [row[1] for row in connection.execute("PRAGMA table_info(files)")][-1] == "content"
    connection.close()
