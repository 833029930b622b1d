"""The ``python`` tool: code written by a model, run by Monty (a Rust interpreter) in worker processes of its own.

Covered: no file, network, process, environment or clock of the host can be reached (no mounts; the job's files that a call names are answered from
memory, to be read only); time, memory, recursion and host round trips are limited per call; each call starts from nothing, so no call sees
another's state; a worker that crashes is replaced; the host gets plain JSON, never an object of the program's. Not covered: the workers share the
host's kernel, so a defect of Monty itself is contained only by its process and, where bubblewrap works, by a second wall
(``tools/sandbox/monty.py``); Python that Monty lacks (inheritance, ``yield``, ``del``, third-party modules) is refused with a sentence saying what
to use instead. Where Monty is missing the tool is not offered: there is no plain ``exec``.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import JsonValue
from pydantic_monty import AsyncMonty, Monty, MontyCrashedError, MontyError, MontyRuntimeError, MontySyntaxError, ResourceLimits

from tandem.errors import SandboxUnavailable, ToolFailed
from tandem.ports import Shelf, ToolContext
from tandem.schemas.tools import ToolExample, ToolResult, ToolSpec
from tandem.telemetry import get_logger
from tools.attached import MOST_FILES, files_for
from tools.base import as_json, refused
from tools.offers import Offer, Supplies
from tools.sandbox.memory_files import ReadableFiles
from tools.sandbox.monty import walled_monty

MODULES: Final = ("math", "json", "re", "datetime", "decimal", "itertools", "functools", "collections", "random", "csv", "base64", "hashlib")
"""What a program may import."""

SPEC: Final = ToolSpec(
    name="python",
    description=(
        "Runs Python and returns the value of solve() if defined, else of the last expression, else what was printed. "
        f"Modules: {', '.join(MODULES)}. It may read files of this job with open(name). No other files, no network, no class inheritance, "
        "no yield, no del."
    ),
    parameters={
        "type": "object",
        "properties": {
            "code": {"type": "string", "minLength": 1, "maxLength": 20_000, "description": "A whole Python program."},
            "files": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 200},
                "maxItems": MOST_FILES,
                "uniqueItems": True,
                "description": "Names of this job's files that the program reads; left out, those that it names.",
            },
        },
        "required": ["code"],
        "additionalProperties": False,
    },
    side_effect="exec",
    timeout_s=10.0,
    max_output_bytes=32_000,
    max_output_tokens=2_000,
    needs=["sandbox"],
    examples=[ToolExample(arguments={"code": "def solve():\n    return 12 * 7"})],
)

_DEFINES_SOLVE: Final = re.compile(r"^(?:async )?def solve\(", re.MULTILINE)
_UNSUPPORTED: Final = re.compile(r"does not yet support (?:the )?(.+)")
_INSTEAD: Final = {
    "class inheritance": "use functions or a single plain class",
    "yield": "build a list and return it",
    "'del'": "assign a new value instead",
}
_NO_FILES: Final = "there are no files here but those named in the argument `files`, to be read; put other data into the program"
_REMEDIES: Final = {
    "TimeoutError": "the program ran too long; use a formula or a smaller search",
    "MemoryError": "the program used too much memory or printed too much; work with smaller values",
    "RecursionError": "the recursion is too deep; use a loop",
    "ModuleNotFoundError": f"only these modules exist: {', '.join(MODULES)}; write the rest in plain Python",
    "PermissionError": _NO_FILES,
    "FileNotFoundError": _NO_FILES,
    "NameError": "define it first; input() and __import__ do not exist here",
}


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one call may use."""

    seconds: float = 3.0
    memory_bytes: int = 128 * 1024 * 1024
    recursion: int = 400
    suspensions: int = 16
    """Host round trips; a sleep counts as one, and so does each opening or reading of a file."""
    file_bytes: int = 4 * 1024 * 1024
    """All files that a program is given together: their text is held in its memory several times."""
    stdout_chars: int = 8_000
    workers: int = 2
    """Worker processes kept at most; further calls wait."""


def probe_python(binary: Path | None = None) -> None:
    """Run one expression in a worker process of its own; ``binary`` starts it, and None is Monty's own.

    Raises:
        SandboxUnavailable: Monty cannot start here or computes wrongly.
    """
    try:
        with Monty(binary_path=binary, min_processes=1, max_processes=1, checkout_timeout=10, request_timeout=10) as pool, pool.checkout() as session:
            result: object = session.feed_run("6 * 7")
    except (MontyError, OSError, RuntimeError) as error:
        raise SandboxUnavailable(f"pydantic-monty cannot run here: {error}; reinstall the `tools` extra") from error
    if result != 42:
        raise SandboxUnavailable(f"pydantic-monty answered {result!r} to 6 * 7; reinstall the `tools` extra")


async def offer(supplies: Supplies) -> Sequence[Offer]:
    """The tool, where Monty starts."""
    try:
        binary = await asyncio.to_thread(best_binary, supplies.settings.home / "run")
    except SandboxUnavailable as error:
        return [Offer(SPEC, None, error.message)]
    python = PythonTool(SandboxLimits(workers=supplies.settings.tools.python_workers), binary)
    return [Offer(SPEC, python, close=python.close)]


def best_binary(folder: Path) -> Path | None:
    """Monty behind a second wall where that works, else Monty's own program (None), as long as that works.

    Raises:
        SandboxUnavailable: Neither does.
    """
    try:
        walled = walled_monty(folder)
        probe_python(walled)
    except (SandboxUnavailable, OSError) as error:
        get_logger(__name__).info("monty_without_second_wall", reason=str(error))
        probe_python()
        return None
    return walled


class PythonTool:
    """Runs programs in a pool of worker processes that is opened by the first call, so after any fork, and lives until ``close``."""

    def __init__(self, limits: SandboxLimits | None = None, binary: Path | None = None) -> None:
        self._limits = limits or SandboxLimits()
        self._binary = binary
        self._pool: AsyncMonty | None = None
        self._opening = asyncio.Lock()

    @property
    def spec(self) -> ToolSpec:
        return SPEC

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        try:
            files = await self._brought(context.shelf, await files_for(str(arguments["code"]), arguments, context.shelf))
        except ToolFailed as error:
            return refused(error.message, "file_not_available")
        printed = _Printed(self._limits.stdout_chars)
        try:
            output = await self._execute(str(arguments["code"]), files, printed)
        except MontyCrashedError as error:
            return _lost(error, printed.text)
        except MontySyntaxError as error:
            return refused(_explain(error), "syntax_error", stdout=printed.text)
        except MontyRuntimeError as error:
            return refused(_explain(error), "runtime_error", stdout=printed.text)
        except TimeoutError:
            return refused("no sandbox became free in time", "sandbox_busy", retryable=True)
        return ToolResult(ok=True, output=output, stdout=printed.text, is_truncated=printed.is_truncated)

    async def close(self) -> None:
        """End the worker processes. A later call opens them anew."""
        async with self._opening:
            pool, self._pool = self._pool, None
            if pool is not None:
                await pool.__aexit__(None, None, None)

    async def _brought(self, shelf: Shelf, names: Sequence[str]) -> ReadableFiles | None:
        """The named files, all of them in memory; None when none are named."""
        found: dict[str, bytes] = {}
        for name in names:
            found[name] = await shelf.read(name)
            if sum(map(len, found.values())) > self._limits.file_bytes:
                most = self._limits.file_bytes // 1024**2
                raise ToolFailed(f"the files up to {name!r} are larger than {most} MB together; use python_full, or take fewer")
        return ReadableFiles(found) if found else None

    async def _execute(self, code: str, files: ReadableFiles | None, printed: "_Printed") -> JsonValue:
        pool = await self._open()
        limits = self._limits
        resources: ResourceLimits = {
            "max_feed_duration_secs": limits.seconds,
            "max_memory": limits.memory_bytes,
            "max_recursion_depth": limits.recursion,
            "max_suspensions": limits.suspensions * (4 if files else 1),
            "max_total_sleep_secs": 0.0,
        }
        async with pool.checkout(limits=resources, os_policy={"sleep": "zero", "random_start": {"seed": 0}}) as session:
            value: object = await session.feed_run(code, print_callback=printed.add, os=files)
            if _DEFINES_SOLVE.search(code):
                value = await session.feed_run("solve()", print_callback=printed.add, os=files)
        return as_json(value) if value is not None else printed.text.strip() or None

    async def _open(self) -> AsyncMonty:
        async with self._opening:
            if self._pool is None:
                limits = self._limits
                pool = AsyncMonty(
                    binary_path=self._binary,
                    min_processes=1,
                    max_processes=limits.workers,
                    checkout_timeout=limits.seconds * 2,
                    request_timeout=limits.seconds + 2,
                    max_checkouts_per_worker=200,
                )
                await pool.__aenter__()
                self._pool = pool
            return self._pool


class _Printed:
    """What a program prints, up to a limit; the rest is dropped and marked."""

    def __init__(self, max_chars: int) -> None:
        self._parts: list[str] = []
        self._left = max_chars
        self.is_truncated = False

    def add(self, _stream: Literal["stdout", "stderr"], text: str) -> None:
        self.is_truncated = self.is_truncated or len(text) > self._left
        if self._left > 0:
            self._parts.append(text[: self._left])
            self._left -= len(self._parts[-1])

    @property
    def text(self) -> str:
        return "".join(self._parts)


def _lost(error: MontyCrashedError, stdout: str) -> ToolResult:
    if error.timed_out:
        return refused(_REMEDIES["TimeoutError"], "runtime_error", stdout=stdout)
    return refused(f"the sandbox was lost ({error}); simplify the program", "sandbox_lost", retryable=True, stdout=stdout)


def _explain(error: MontySyntaxError | MontyRuntimeError) -> str:
    """The error, the line, and what to write instead: a model repairs from that."""
    cause = error.display("type-msg")
    frames = error.traceback()
    where = f" (line {frames[-1].line})" if frames else ""
    remedy = _REMEDIES.get(type(error.exception()).__name__, "")
    if unsupported := _UNSUPPORTED.search(cause):
        what = unsupported[1]
        cause = f"{what} is not supported"
        remedy = next((instead for key, instead in _INSTEAD.items() if key in what), "write it with plain functions and loops")
    return f"{cause}{where}" + (f"; {remedy}" if remedy else "")
