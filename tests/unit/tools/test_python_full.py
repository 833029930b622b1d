"""The tool python_full over a scripted runner: what a model reads, and which files come and go. The real sandbox is in tests/sandbox."""

import asyncio
from collections.abc import Mapping
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
from tools.python_full import PythonFullTool, offer
from tools.sandbox.answer import Answer, Fault, Made
from tools.sandbox.limits import Limits
from tools.wrappers import guarded


class ScriptedRunner:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Answer | Exception) -> None:
        self._answer = answer
        self.asked: list[tuple[str, dict[str, bytes]]] = []

    async def run(self, code: str, files: Mapping[str, bytes]) -> Answer:
        self.asked.append((code, dict(files)))
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def answered(
    value: JsonValue = None, *, printed: str = "", files: tuple[Made, ...] = (), left_out: tuple[str, ...] = (), fault: Fault | None = None
) -> Answer:
    return Answer("ended", 0, value, fault, printed, files=files, left_out=left_out, has_replied=True)


async def call(answer: Answer | Exception, *, shelf: MemoryShelf | None = None, **arguments: JsonValue) -> ToolResult:
    tool = guarded(PythonFullTool(ScriptedRunner(answer), Limits(), places=1))
    context = ToolContext(tenant=TenantId("t"), job_id=JobId("job_1"), call_id="c1", shelf=shelf or MemoryShelf())
    return await tool.run({"code": "1", **arguments}, context)


async def test_gives_the_value_or_what_was_printed() -> None:
    assert (await call(answered({"价格": [1, 2.5]}))).output == {"价格": [1, 2.5]}
    assert (await call(answered(None, printed="看\n"))).output == "看"
    assert (await call(answered(None))).output is None


async def test_an_integer_of_hundreds_of_bits_comes_as_digits() -> None:
    assert (await call(answered(2**200))).output == str(2**200)


async def test_named_files_are_put_beside_the_program() -> None:
    runner = ScriptedRunner(answered(1))
    tool = PythonFullTool(runner, Limits(), places=1)
    context = ToolContext(tenant=TenantId("t"), job_id=JobId("j"), call_id="c", shelf=MemoryShelf({"价格.csv": b"a,b"}))

    await tool.run({"code": "1", "files": ["价格.csv"]}, context)

    assert runner.asked == [("1", {"价格.csv": b"a,b"})]


async def test_a_file_that_is_not_there_names_those_that_are() -> None:
    result = await call(answered(1), shelf=MemoryShelf({"prices.csv": b""}), files=["price.csv"])

    assert result.error is not None
    assert (result.error.code, "prices.csv" in result.error.message) == ("file_not_available", True)


async def test_files_that_are_too_large_together_are_refused() -> None:
    large = MemoryShelf({"a": bytes(20 << 20), "b": bytes(20 << 20)})

    result = await call(answered(1), shelf=large, files=["a", "b"])

    assert result.error is not None
    assert "32 MB" in result.error.message


async def test_what_the_program_made_is_kept_with_a_clean_name_and_a_type() -> None:
    shelf = MemoryShelf()
    made = (Made("plot-1.png", b"\x89PNG"), Made("../表.csv", b"a"), Made("dir/data", b"x"))

    result = await call(answered(1, files=made), shelf=shelf)

    assert result.artifacts == ["plot-1.png", "表.csv", "dir-data"]
    assert [media for media, _ in shelf.kept.values()] == ["image/png", "text/csv", "application/octet-stream"]


async def test_what_is_not_kept_is_told() -> None:
    made = (Made("a.png", b""), Made("b.png", b""))

    result = await call(answered(1, files=made, left_out=("big.bin",)), shelf=MemoryShelf(max_kept=1))

    assert (result.artifacts, result.is_truncated) == (["a.png"], True)
    assert "'big.bin' was not kept" in result.stdout
    assert "'b.png' was not kept: the job keeps too many" in result.stdout


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        (Fault("SyntaxError", "invalid syntax", 3), "syntax_error", "line 3"),
        (Fault("ModuleNotFoundError", "No module named 'requests'"), "runtime_error", "numpy, pandas, sympy and matplotlib"),
        (Fault("PermissionError", "[Errno 1] Operation not permitted", 2, "socket.py"), "runtime_error", "no network"),
        (Fault("gaierror", "Temporary failure in name resolution"), "runtime_error", "no network"),
        (Fault("PermissionError", "[Errno 1] Operation not permitted", 2, "asyncio"), "runtime_error", "asyncio cannot start"),
        (Fault("RuntimeError", "no running event loop"), "runtime_error", "asyncio cannot start"),
        (Fault("FileNotFoundError", "'ls'", 1, "subprocess.py"), "runtime_error", "no other programs"),
        (Fault("FileNotFoundError", "'a.csv'"), "runtime_error", "'prices.csv'"),
        (Fault("OSError", "Read-only file system"), "runtime_error", "only the working folder"),
        (Fault("RuntimeError", "input(): lost sys.stdin"), "runtime_error", "nobody to type"),
        (Fault("RuntimeError", "can't start new thread"), "runtime_error", "do it in one"),
        (Fault("BlockingIOError", "Resource temporarily unavailable"), "runtime_error", "do it in one"),
        (Fault("MemoryError", ""), "runtime_error", "less data"),
        (Fault("KeyError", "'价格'", 7), "runtime_error", "KeyError: '价格' (line 7)"),
    ],
)
async def test_a_failure_says_what_to_write_instead(fault: Fault, code: str, says: str) -> None:
    result = await call(answered(fault=fault, printed="before"), shelf=MemoryShelf({"prices.csv": b""}), files=["prices.csv"])

    assert result.error is not None
    assert (result.ok, result.error.code, result.stdout) == (False, code, "before")
    assert says in result.error.message


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (Answer("time", 137), "timeout", "30 s"),
        (Answer("memory", 137), "out_of_memory", "1024 MB"),
        (Answer("flood", 137), "runtime_error", "printed without end"),
        (Answer("stopped", 137), "runtime_error", "stopped from outside"),
        (Answer("ended", 139), "runtime_error", "signal 11"),
        (Answer("ended", 3), "runtime_error", "status 3"),
    ],
)
async def test_a_program_that_did_not_end_by_itself_says_why(answer: Answer, code: str, says: str) -> None:
    result = await call(answer)

    assert result.error is not None
    assert (result.error.code, says in result.error.message) == (code, True)


async def test_a_sandbox_that_vanished_is_an_error_of_the_call() -> None:
    result = await call(SandboxUnavailable("the sandbox cannot be started: gone"))

    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("sandbox_unavailable", False)


async def test_when_every_place_is_taken_the_call_may_be_made_again() -> None:
    result = await call(BlockingIOError("all 64 user ids are taken"))

    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("sandbox_busy", True)


async def test_no_more_programs_run_at_once_than_there_are_places() -> None:
    running = most = 0

    class Counting:
        async def run(self, code: str, files: Mapping[str, bytes]) -> Answer:
            nonlocal running, most
            running, most = running + 1, max(most, running + 1)
            await asyncio.sleep(0)
            running -= 1
            return answered(1)

    tool = PythonFullTool(Counting(), Limits(), places=2)
    context = ToolContext(tenant=TenantId("t"), job_id=JobId("j"), call_id="c")

    await asyncio.gather(*(tool.run({"code": "1"}, context) for _ in range(10)))

    assert most == 2


async def offered(tmp_path: Path, **environ: str) -> tuple[bool, str]:
    settings = Settings.load({"TANDEM_HOME": str(tmp_path), **environ})
    (made,) = await offer(Supplies(settings, GuardedClient(settings.egress), IdFactory(now_ms=lambda: 0)))
    return made.tool is not None, made.reason


async def test_without_its_packages_it_is_not_offered(tmp_path: Path) -> None:
    is_offered, reason = await offered(tmp_path, TANDEM_TOOLS_SANDBOX_PACKAGES=str(tmp_path / "missing"))

    assert (is_offered, "make setup" in reason) == (False, True)


async def test_a_remote_sandbox_that_is_away_is_not_replaced_by_anything(tmp_path: Path) -> None:
    is_offered, reason = await offered(tmp_path, TANDEM_TOOLS_SANDBOX_URL="http://127.0.0.1:9")

    assert (is_offered, "remote sandbox" in reason) == (False, True)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n", "No permissions to create a new namespace"),
        ("#!/bin/sh\nexit 0\n", "could not be run"),
        ("#!/missing/interpreter\n", "cannot be started"),
    ],
    ids=["is not let", "does nothing", "cannot start"],
)
async def test_a_bubblewrap_that_does_not_hold_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text(script, encoding="ascii")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    is_offered, reason = await offered(tmp_path, TANDEM_TOOLS_SANDBOX_PACKAGES=str(tmp_path))

    assert (is_offered, says in reason) == (False, True), reason
