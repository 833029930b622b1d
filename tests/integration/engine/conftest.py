"""A workshop per test: one process with storage on a file, the graph, the sandbox, and a scripted model."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slow_worker.testing import Workshop, open_workshop
from tandem.settings import DatabaseSettings, Settings, WorkerSettings
from tandem.storage import open_storage
from tools.python_exec import PythonTool
from tools.registry import Toolbox
from tools.wrappers import guarded


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables, to be copied: migrating anew for each test would take most of its time."""
    home = tmp_path_factory.mktemp("migrated")

    async def migrate() -> None:
        storage = open_storage(Settings(home=home))
        await storage.migrate()
        await storage.close()

    asyncio.run(migrate())
    return home / "tandem.sqlite3"


@pytest.fixture
async def toolbox() -> AsyncIterator[Toolbox]:
    python = PythonTool()
    yield Toolbox({"python": guarded(python)})
    await python.close()


@pytest.fixture
async def workshop(tmp_path: Path, migrated: Path, toolbox: Toolbox) -> AsyncIterator[Workshop]:
    shutil.copy(migrated, tmp_path / "tandem.sqlite3")
    settings = Settings(home=tmp_path, worker=WorkerSettings(lease_s=1, model_patience_s=0), database=DatabaseSettings(synchronous="normal"))
    async with open_workshop(settings, toolbox) as workshop:
        yield workshop
