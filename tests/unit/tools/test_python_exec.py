"""The sandboxed Python tool: what it computes, what it refuses, and that nothing of it stays behind."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from tandem.egress import GuardedClient
from tandem.errors import SandboxUnavailable
from tandem.ids import IdFactory, JobId, TenantId
from tandem.ports import ToolContext
from tandem.schemas.tools import ToolResult
from tandem.settings import Settings
from tandem.testing.shelves import MemoryShelf
from tools.offers import Supplies
from tools.python_exec import PythonTool, SandboxLimits, best_binary, offer, probe_python
from tools.wrappers import guarded

CONTEXT = ToolContext(tenant=TenantId("t"), job_id=JobId("job_1"), call_id="c1")
QUICK = SandboxLimits(seconds=0.3, memory_bytes=32 * 1024 * 1024, stdout_chars=500)


@pytest.fixture
async def python() -> AsyncIterator[PythonTool]:
    tool = PythonTool(QUICK)
    yield tool
    await tool.close()


async def run(tool: PythonTool, code: str) -> ToolResult:
    return await guarded(tool).run({"code": code}, CONTEXT)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1 + 1", 2),
        ("def solve():\n    return 6 * 7", 42),
        ("def solve():\n    return 6 * 7\nprint(solve())", 42),
        ("print('a')\nprint('b')", "a\nb"),
        ("x = 3", None),
        ("{'a': (1, 2), 3: {4}}", {"a": [1, 2], "3": [4]}),
        ("10 ** 30", "1" + "0" * 30),
        ("float('nan')", "nan"),
        ("from decimal import Decimal\nDecimal('1.50')", "1.50"),
        ("import datetime\ndatetime.date(2024, 2, 29)", "2024-02-29"),
        ("'价格：' + '猫' * 3", "价格：猫猫猫"),
        ("import math\nmath.gcd(12, 18)", 6),
    ],
)
async def test_gives_the_value_of_solve_or_of_the_last_expression_or_what_was_printed(python: PythonTool, code: str, expected: JsonValue) -> None:
    result = await run(python, code)

    assert (result.ok, result.output) == (True, expected), result.error


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def f(:\n  pass", "SyntaxError"),
        ("class A:\n  pass\nclass B(A):\n  pass", "use functions"),
        ("def g():\n  yield 1\nlist(g())", "build a list"),
        ("x = 1\ndel x", "assign a new value"),
        ("import sympy", "only these modules exist"),
        ("import subprocess", "only these modules exist"),
        ("__import__('os')", "__import__"),
        ("import os\nos.listdir('/')", "no files here"),
        ("open('/etc/passwd').read()", "no files here"),
        ("import os\nos.fork()", "fork"),
        ("import os\nos.system('true')", "system"),
        ("import socket", "only these modules exist"),
        ("().__class__.__bases__[0].__subclasses__()", "AttributeError"),
        ("1 / 0", "ZeroDivisionError"),
        ("x = 'a' * 10**9", "too much memory"),
        ("9**9**9", "too much memory"),
        ("def f(n):\n  return f(n + 1)\nf(0)", "use a loop"),
        ("a = 1\nb = 2\nraise ValueError('bad')", "line 3"),
    ],
)
async def test_a_refusal_says_what_to_write_instead(python: PythonTool, code: str, says: str) -> None:
    result = await run(python, code)

    assert not result.ok
    assert says in said(result)


async def test_an_infinite_loop_ends_at_the_time_limit(python: PythonTool) -> None:
    result = await run(python, "while True:\n    pass")

    assert (result.ok, code_of(result)) == (False, "runtime_error")
    assert result.seconds < 2


async def test_a_loop_that_catches_everything_ends_too(python: PythonTool) -> None:
    result = await run(python, "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass")

    assert not result.ok
    assert result.seconds < 3


async def test_a_number_that_keeps_growing_ends(python: PythonTool) -> None:
    result = await run(python, "x = 3\nwhile True:\n    x = x * x")

    assert (result.ok, code_of(result)) == (False, "runtime_error")


async def test_a_flood_of_output_is_cut(python: PythonTool) -> None:
    result = await run(python, "for i in range(2000):\n    print('x' * 100)\n1")

    assert result.is_truncated
    assert len(result.stdout) == QUICK.stdout_chars


async def test_no_call_sees_what_an_earlier_one_left(python: PythonTool) -> None:
    await run(python, "secret = 41")

    assert "secret" in said(await run(python, "secret + 1"))


async def test_the_tool_works_again_after_a_bomb(python: PythonTool) -> None:
    await run(python, "[0] * 10**12")

    assert (await run(python, "2 + 2")).output == 4


async def test_closing_leaves_no_process() -> None:
    before = children()
    tool = PythonTool(QUICK)
    await run(tool, "1")
    assert children() - before

    await tool.close()

    assert children() <= before


def test_the_probe_passes_where_the_sandbox_is_installed_and_leaves_no_process() -> None:
    before = children()

    probe_python()

    assert children() <= before


@pytest.mark.parametrize("arguments", [{}, {"code": 3}, {"code": "1", "file": "a.csv"}, {"code": ""}])
async def test_arguments_outside_the_schema_never_reach_the_sandbox(arguments: dict[str, JsonValue]) -> None:
    result = await guarded(PythonTool(QUICK)).run(arguments, CONTEXT)

    assert (result.ok, code_of(result)) == (False, "invalid_arguments")
    assert '"code"' in said(result)


async def read(tool: PythonTool, code: str, *names: str, shelf: MemoryShelf | None = None) -> ToolResult:
    brought = shelf or MemoryShelf({"prices.csv": "水果,价格\n苹果,3\n梨,4\n".encode(), "raw.bin": b"\xff\x00"})
    context = ToolContext(tenant=TenantId("t"), job_id=JobId("job_1"), call_id="c1", shelf=brought)
    return await guarded(tool).run({"code": code, "files": list(names)}, context)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("open('prices.csv').read()[:5]", "水果,价格"),
        ("import csv\nsum(int(row['价格']) for row in csv.DictReader(open('prices.csv')))", 7),
        ("with open('prices.csv') as f:\n    lines = [line.strip() for line in f]\nlines[1]", "苹果,3"),
        ("from pathlib import Path\nPath('prices.csv').read_text().count('\\n')", 3),
        ("len(open('raw.bin', 'rb').read())", 2),
        ("import os\nos.listdir('/')", ["prices.csv", "raw.bin"]),
        ("import os\ndict(os.environ)", {}),
    ],
)
async def test_a_program_reads_the_files_that_the_call_names(python: PythonTool, code: str, expected: JsonValue) -> None:
    result = await read(python, code, "prices.csv", "raw.bin")

    assert (result.ok, result.output) == (True, expected), result.error


@pytest.mark.parametrize(
    "code",
    [
        "open('prices.csv', 'w').write('x')",
        "open('new.csv', 'w')",
        "open('prices.csv', 'a')",
        "from pathlib import Path\nPath('new').mkdir()",
        "from pathlib import Path\nPath('prices.csv').unlink()",
        "from pathlib import Path\nPath('prices.csv').rename('b')",
        "from pathlib import Path\nPath('b').write_text('x' * 1000)",
        "from pathlib import Path\nPath('b').write_bytes(b'x')",
    ],
)
async def test_a_program_changes_no_file(python: PythonTool, code: str) -> None:
    result = await read(python, code, "prices.csv")

    assert (result.ok, code_of(result)) == (False, "runtime_error")
    assert "only be read" in said(result)


async def test_a_file_that_was_not_named_does_not_exist(python: PythonTool) -> None:
    result = await read(python, "open('raw.bin').read()", "prices.csv")

    assert "argument `files`" in said(result)


async def test_naming_a_file_that_the_job_does_not_have_says_which_there_are(python: PythonTool) -> None:
    result = await read(python, "1", "missing.csv")

    assert (result.ok, code_of(result)) == (False, "file_not_available")
    assert "prices.csv" in said(result)


async def test_files_that_are_too_large_are_refused_before_the_program_runs(python: PythonTool) -> None:
    result = await read(python, "1", "big", shelf=MemoryShelf({"big": bytes(QUICK.file_bytes + 1)}))

    assert "python_full" in said(result)


async def test_the_second_wall_computes_the_same_and_leaves_no_process(tmp_path: Path) -> None:
    before = children()
    binary = best_binary(tmp_path)
    if binary is None:
        pytest.skip("bubblewrap does not work here: Monty runs without its second wall")
    tool = PythonTool(QUICK, binary)

    result = await run(tool, "'墙' * 2")
    await tool.close()

    assert (result.output, children() <= before) == ("墙墙", True)


def test_without_bubblewrap_monty_runs_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "bwrap"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")

    assert best_binary(tmp_path) is None


async def test_a_monty_that_does_not_start_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONTY_BIN", str(tmp_path / "missing"))

    def nowhere(_scheme: str) -> str:
        return str(tmp_path)

    monkeypatch.setattr("sysconfig.get_path", nowhere)

    with pytest.raises(SandboxUnavailable, match="pydantic-monty"):
        probe_python()
    settings = Settings.load({"TANDEM_HOME": str(tmp_path)})
    (offered,) = await offer(Supplies(settings, GuardedClient(settings.egress), IdFactory(now_ms=lambda: 0)))

    assert (offered.tool, "pydantic-monty" in offered.reason) == (None, True)


def said(result: ToolResult) -> str:
    return result.error.message if result.error else ""


def code_of(result: ToolResult) -> str:
    return result.error.code if result.error else ""


def children() -> set[int]:
    return {
        int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text(encoding="ascii").split() if alive(int(pid))
    }


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
