"""The tool python_full on this machine's own sandbox: what programs can do, what comes back, and that calls end when they must."""

import asyncio
import os
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from tandem.errors import SandboxUnavailable
from tandem.ids import JobId, TenantId
from tandem.ports import ToolContext
from tandem.schemas.tools import ToolResult
from tandem.testing.shelves import MemoryShelf
from tests.sandbox.conftest import missing
from tools.python_full import PythonFullTool
from tools.sandbox.limits import Limits
from tools.sandbox.probe import PROGRAM, faults_of, open_sandbox, sandbox_packages
from tools.sandbox.process import memory_of
from tools.sandbox.sandbox import Sandbox
from tools.wrappers import guarded

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Call = Callable[..., ToolResult]
LIMITS = Limits(seconds=20.0)
CSV = "月份,销量\n一月,3\n二月,5\n三月,4\n"


@pytest.fixture(scope="module")
def loop() -> Generator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def sandbox(loop: asyncio.Runner) -> Sandbox:
    try:
        return loop.run(open_sandbox(sandbox_packages(None), LIMITS))
    except SandboxUnavailable as error:
        missing(f"PYTHON_FULL NOT TESTED: {error.message}")
        raise


@pytest.fixture(scope="module")
def call(loop: asyncio.Runner, sandbox: Sandbox) -> Call:
    tool = guarded(PythonFullTool(sandbox, LIMITS, places=2))

    def run(code: str, shelf: MemoryShelf | None = None, files: list[JsonValue] | None = None) -> ToolResult:
        context = ToolContext(tenant=TenantId("t"), job_id=JobId("job_1"), call_id="c1", shelf=shelf or MemoryShelf())
        return loop.run(tool.run({"code": code, "files": files or []}, context))

    return run


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1 + 1", 2),
        ("def solve():\n    return 6 * 7", 42),
        ("def solve():\n    return 6 * 7\nprint(solve())", "42"),
        ("async def solve():\n    return '价格'", "价格"),
        ("print('a')\nprint('b')", "a\nb"),
        ("x = 3", None),
        ("import sys\nsys.exit()", None),
        ("class A:\n    pass\nclass B(A):\n    pass\n[x for x in (y for y in range(3))]", [0, 1, 2]),
        ("{'a': (1, 2), 3: {4}}", {"a": [1, 2], "3": [4]}),
        ("10 ** 30", str(10**30)),
        ("float('nan')", "nan"),
        ("from fractions import Fraction\nFraction(1, 3)", "1/3"),
        ("import numpy as np\nnp.arange(6).reshape(2, 3)", [[0, 1, 2], [3, 4, 5]]),
        ("import numpy as np\nnp.float64(0.5)", 0.5),
        ("import pandas as pd\npd.DataFrame({'水果': ['梨'], 'n': [4]})", {"columns": ["水果", "n"], "rows": [["梨", 4]], "row_count": 1}),
        ("import pandas as pd\npd.Series([1.5, 2.5], index=['a', 'b'])", {"a": 1.5, "b": 2.5}),
        ("import sympy as s\nx = s.Symbol('x')\ns.integrate(x ** 2, x)", "x**3/3"),
        ("import threading\nt = threading.Thread(target=print, args=('线程',))\nt.start()\nt.join()", "线程"),
        ("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(5)'], capture_output=True, text=True).stdout", "5\n"),
        ("import tempfile\nwith tempfile.TemporaryFile() as file:\n    file.write(b'x')", None),
    ],
)
def test_gives_the_value(call: Call, code: str, expected: JsonValue) -> None:
    result = call(code)

    assert (result.ok, result.output) == (True, expected), result


def test_a_plot_over_a_file_of_the_job_comes_back_as_an_image(call: Call) -> None:
    shelf = MemoryShelf({"销量.csv": CSV.encode()})
    code = (
        "import pandas as pd\nimport matplotlib.pyplot as plt\nframe = pd.read_csv('销量.csv')\n"
        "frame.plot(x='月份', y='销量', kind='bar', title='每月销量')\n"
        "frame.to_csv('out/copy.csv', index=False)\nint(frame['销量'].sum())"
    )

    result = call(code, shelf, ["销量.csv"])

    assert (result.ok, result.output, sorted(result.artifacts)) == (True, 12, ["copy.csv", "plot-1.png"]), result
    assert shelf.kept["plot-1.png"][0] == "image/png"
    assert shelf.kept["plot-1.png"][1].startswith(b"\x89PNG")
    assert shelf.kept["copy.csv"] == ("text/csv", CSV.encode())
    assert "missing from font" not in result.stdout


def test_a_figure_that_the_program_saved_is_not_saved_again(call: Call) -> None:
    shelf = MemoryShelf()

    call("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('mine.png')\nplt.show()", shelf)

    assert list(shelf.kept) == ["mine.png"]


def test_a_file_that_was_only_read_is_not_made(call: Call) -> None:
    shelf = MemoryShelf({"a.txt": b"x"})

    assert call("open('a.txt').read()", shelf, ["a.txt"]).output == "x"
    assert shelf.kept == {}


def test_too_many_files_are_told(call: Call) -> None:
    shelf = MemoryShelf()

    result = call("for number in range(20):\n    open(f'{number:02}.txt', 'w').write('x')", shelf)

    assert (len(shelf.kept), result.is_truncated, "'16.txt' was not kept" in result.stdout) == (LIMITS.files, True, True)


def test_a_long_value_is_cut_and_marked(call: Call) -> None:
    result = call("list(range(10**6))")

    assert (result.ok, result.is_truncated) == (True, True)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import requests", "nothing can be installed"),
        ("import urllib.request\nurllib.request.urlopen('http://example.com')", "no network"),
        ("import socket\nsocket.socket()", "no network"),
        ("import asyncio\nasyncio.run(asyncio.sleep(0))", "asyncio cannot start"),
        ("input()", "nobody to type"),
        ("open('missing.csv')", "given no files"),
        ("open('/usr/lib/x', 'w')", "only the working folder"),
        ("def f(:", "line 1"),
        ("x = 1\n\nraise ValueError('坏')", "ValueError: 坏 (line 3)"),
        ("class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Odd", "<Odd>"),
        ("import os\nos._exit(3)", "status 3"),
        ("import subprocess\nsubprocess.run(['ls'])", "no other programs"),
    ],
)
def test_a_failure_says_what_to_write_instead(call: Call, code: str, says: str) -> None:
    result = call(code)

    assert result.error is not None, result
    assert says in result.error.message


def test_no_call_sees_what_an_earlier_one_left(call: Call) -> None:
    call("open('left', 'w').write('x')\nopen('/dev/shm/left', 'w').write('x')\nleft = 1")

    assert call("import os\n[os.listdir('.'), os.listdir('/dev/shm'), 'left' in globals()]").output == [["out"], [], False]


def test_a_cancelled_call_kills_its_program_and_what_that_started(loop: asyncio.Runner, sandbox: Sandbox) -> None:
    program = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\nwhile True:\n    pass"

    async def cancel() -> float:
        work = asyncio.ensure_future(sandbox.run(program, {}))
        await asyncio.sleep(0.5)
        started = time.monotonic()
        work.cancel()
        await asyncio.wait([work])
        assert work.cancelled()
        return time.monotonic() - started

    assert loop.run(cancel()) < 5
    assert memory_of_children() == 0


def test_no_control_group_is_left_after_a_program_that_had_to_be_killed(loop: asyncio.Runner, sandbox: Sandbox) -> None:
    if sandbox.groups is None:
        pytest.skip("no control groups can be made here")
    limited = replace(sandbox, limits=replace(LIMITS, seconds=0.3))

    answers = [loop.run(limited.run("while True:\n    pass", {})) for _ in range(3)]

    assert {answer.cause for answer in answers} == {"time"}
    assert [folder for parent in sandbox.groups.parents for folder in parent.glob(f"tandem-sandbox-{os.getpid()}-*")] == []


def test_a_call_that_is_cancelled_before_it_begins_leaves_nothing(loop: asyncio.Runner, sandbox: Sandbox) -> None:
    async def cancel() -> None:
        work = asyncio.ensure_future(sandbox.run("1", {}))
        await asyncio.sleep(0)
        work.cancel()
        await asyncio.wait([work])

    loop.run(cancel())

    assert memory_of_children() == 0


def test_a_bubblewrap_that_vanishes_between_two_calls_is_an_error_of_the_second(loop: asyncio.Runner, sandbox: Sandbox, tmp_path: Path) -> None:
    copy = tmp_path / "bwrap"
    copy.symlink_to(sandbox.recipe.bwrap)
    moved = replace(sandbox, recipe=replace(sandbox.recipe, bwrap=copy))
    tool = guarded(PythonFullTool(moved, LIMITS, places=1))
    context = ToolContext(tenant=TenantId("t"), job_id=JobId("j"), call_id="c")
    assert loop.run(tool.run({"code": "1"}, context)).output == 1

    copy.unlink()
    result = loop.run(tool.run({"code": "1"}, context))

    assert result.error is not None
    assert result.error.code == "sandbox_unavailable"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"root": ["etc", "usr"]}, "it sees"),
        ({"uids": [0] * 6}, "user and group ids"),
        ({"capabilities": "c0"}, "capabilities"),
        ({"has_filter": False}, "filter of system calls"),
        ({"has_no_new_privileges": False}, "gain privileges"),
        ({"interfaces": ["lo", "eth0"]}, "network interfaces"),
        ({"refuses_writing": False}, "write outside"),
        ({"refuses_sysctl": False}, "kernel's settings"),
        ({"environment": ["TANDEM_PEPPER"]}, "environment"),
        ({"packages": ["numpy"]}, "make setup"),
    ],
)
def test_the_probe_refuses_a_sandbox_with_any_one_hole(loop: asyncio.Runner, sandbox: Sandbox, found: dict[str, Any], says: str) -> None:
    good = loop.run(sandbox.run(PROGRAM, {}))
    assert faults_of(good, sandbox) == []

    (fault,) = faults_of(replace(good, value={**good.value, **found}), sandbox)

    assert says in fault


def memory_of_children() -> int:
    """Of sandboxes; the wait is for the kernel, which takes a killed tree down by itself."""
    deadline = time.monotonic() + 1
    while (found := _sandboxes()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return sum(memory_of(pid) for pid in found)


def _sandboxes() -> list[int]:
    pids = [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text(encoding="ascii").split()]
    return [pid for pid in pids if b"bwrap" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""
