"""One town per database, shared by the tests of a run; each test has a scene in it, and a line in the chaos table."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tandem.testing.chaos.receiver import Receiver, receiving
from tandem.testing.chaos.scene import Scene, Tally, seed_of_run, staged
from tandem.testing.chaos.table import table
from tandem.testing.chaos.town import Town, founded
from tandem.testing.services import throw_away_database_here

DATABASES = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("sqlite", "postgresql")]
PROPERTY = "chaos"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "workers(count, **settings): the workers that the test begins with; two plain ones without it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session", params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('database') / 'tandem.sqlite3'}"
        return
    with throw_away_database_here() as url:
        yield url


@pytest.fixture(scope="session")
def town(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Town]:
    """Whole at the start of each test; what a test kills is started again."""
    town = Town(tmp_path_factory.mktemp("town"), database_url)
    try:
        asyncio.run(town.found())
        yield town
    finally:
        town.raze()


@pytest.fixture
def row(request: pytest.FixtureRequest) -> int:
    """The number in the test's name: ``test_row_07_…`` is row 7."""
    named = re.match(r"test_row_(\d+)_", request.node.name)
    assert named, request.node.name
    return int(named[1])


@pytest.fixture
async def scene(town: Town, row: int, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> AsyncGenerator[Scene]:
    """A whole town, and the audit of its database afterwards."""
    marked = request.node.get_closest_marker("workers")
    count: int = marked.args[0] if marked else 2
    settings: dict[str, str] = dict(marked.kwargs) if marked else {}
    await town.make_whole(workers=0 if settings else count)
    if settings:
        await town.only_workers(count, **settings)
    async with staged(town, row, seed_of_run()) as scene:
        yield scene
        record_property(PROPERTY, scene.tally.as_json())


OpenTown = Callable[..., AbstractAsyncContextManager[Town]]


@pytest.fixture(params=DATABASES)
def own_town(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[OpenTown]:
    """Opens a town of the test's own, with other settings: ``async with own_town(RETENTION_SWEEP_S="0.5") as town``."""

    def opener(url: str) -> OpenTown:
        def opened(**changes: str) -> AbstractAsyncContextManager[Town]:
            return founded(tmp_path, url, **changes)

        return opened

    if request.param == "sqlite":
        yield opener(f"sqlite:///{tmp_path / 'tandem.sqlite3'}")
        return
    with throw_away_database_here() as url:
        yield opener(url)


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The chaos table: one line per row and database."""
    tallies: dict[tuple[int, str], Tally] = {}
    # The report of the teardown has what the fixtures recorded; it is nobody's success or failure.
    for report in terminalreporter.getreports(""):
        for name, value in getattr(report, "user_properties", []):
            if name == PROPERTY:
                tally = Tally(**json.loads(str(value)))
                if (key := (tally.row, tally.database)) in tallies:
                    tallies[key].add(tally)
                else:
                    tallies[key] = tally
    if tallies:
        terminalreporter.write_sep("-", f"chaos table, seed {seed_of_run()}")
        terminalreporter.write_line(table(list(tallies.values())))


@pytest.fixture(scope="session")
def shifted_clock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library to preload: moves the wall clock of whoever loads it."""
    compiler = shutil.which("cc")
    if compiler is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no C compiler; CI must have one")
    library = tmp_path_factory.mktemp("clock") / "shifted_clock.so"
    source = Path(__file__).with_name("shifted_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return str(library)
