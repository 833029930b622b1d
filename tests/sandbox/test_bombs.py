"""Programs that would use up the machine end at their limits, cost this machine next to nothing, leave nothing running, and harm no neighbour."""

import asyncio
import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tandem.ids import JobId, TenantId
from tandem.ports import ToolContext
from tandem.schemas.tools import ToolResult
from tests.sandbox.bombs import BOMBS, SYSTEM_BOMBS
from tests.sandbox.conftest import Driver
from tools.python_exec import PythonTool, SandboxLimits, best_binary
from tools.wrappers import guarded

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CONTEXT = ToolContext(tenant=TenantId("t"), job_id=JobId("job_1"), call_id="c1")
SECONDS = 0.8
SPARE_S = 1.7
"""For starting, for ending, and for other tests on the same processors: 2.5 s in all."""
MOST_GROWTH = 150 << 20


@pytest.mark.parametrize("code", [*BOMBS.values(), *SYSTEM_BOMBS.values()], ids=[*BOMBS, *SYSTEM_BOMBS])
def test_python_full_contains(driver: Driver, code: str) -> None:
    bomb, neighbour = driver.run_all([code, "'安好'"], [{"seconds": SECONDS, "memory_bytes": 256 << 20}, {}])

    assert bomb["seconds"] < SECONDS + SPARE_S
    assert bomb["grown_bytes"] < MOST_GROWTH
    assert bomb["value"] is not False, bomb
    assert driver.left_behind() == []
    assert neighbour["value"] == "安好"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[[str], ToolResult]]:
    tool = PythonTool(
        SandboxLimits(seconds=SECONDS, memory_bytes=64 << 20, stdout_chars=1_000, workers=1), best_binary(tmp_path_factory.mktemp("run"))
    )
    with asyncio.Runner() as runner:
        yield lambda code: runner.run(guarded(tool).run({"code": code}, CONTEXT))
        runner.run(tool.close())


@pytest.mark.parametrize("code", BOMBS.values(), ids=BOMBS)
def test_python_contains(python: Callable[[str], ToolResult], code: str) -> None:
    before = resident_bytes()

    result = python(code)

    assert result.seconds < SECONDS + SPARE_S
    assert resident_bytes() - before < MOST_GROWTH
    assert python("'安好'").output == "安好"


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
