"""The tool ``python_full``: CPython with NumPy, pandas, SymPy and Matplotlib, in a sandbox that has shown at start that it holds.

Without such a sandbox, ours or the configured remote one, the tool is not offered: there is no other way to run a program. Knows what a model
should read when its program fails; how the program is confined is ``tools/sandbox``'s matter.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from pydantic import JsonValue

from tandem.errors import SandboxUnavailable, ToolFailed
from tandem.ports import Shelf, ToolContext
from tandem.schemas.tools import ToolExample, ToolResult, ToolSpec
from tools.attached import MOST_FILES, files_for
from tools.base import as_json, refused
from tools.offers import Offer, Supplies
from tools.sandbox.answer import Answer, Cause, Fault, Made, ProgramRunner
from tools.sandbox.limits import MEBIBYTE, Limits
from tools.sandbox.names import clean_name, media_type
from tools.sandbox.piston import PistonSandbox
from tools.sandbox.probe import open_sandbox, sandbox_packages

_WAIT_S: Final = 20.0
"""Longest wait for a place: programs take their turns."""
SPEC: Final = ToolSpec(
    name="python_full",
    description=(
        "Runs a program in full Python with NumPy, pandas, SymPy and Matplotlib; returns the value of solve() if defined and not called, else of the "
        "last expression, else what was printed. Files of this job that it names lie in the working folder. Files that the program writes there "
        "are kept with the job, and open Matplotlib figures as plot-1.png, plot-2.png. No network, no pip, nothing stays for the next call."
    ),
    parameters={
        "type": "object",
        "properties": {
            "code": {"type": "string", "minLength": 1, "maxLength": 100_000, "description": "A whole Python program."},
            "files": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 200},
                "maxItems": MOST_FILES,
                "uniqueItems": True,
                "description": "Names of this job's files to put there; left out, those that the program names.",
            },
        },
        "required": ["code"],
        "additionalProperties": False,
    },
    side_effect="exec",
    timeout_s=60.0,
    max_output_bytes=64_000,
    max_output_tokens=4_000,
    needs=["sandbox"],
    examples=[ToolExample(arguments={"code": "import pandas as pd\nprint(pd.read_csv('data.csv').describe())"}, note="looks at a file of the job")],
)

_CAUSES: Final[Mapping[Cause, str]] = {
    "time": "the program ran longer than {seconds:g} s and was stopped; use less data, NumPy instead of loops, or a formula",
    "flood": "the program printed without end and was stopped; print results only",
    "memory": "the program used more than {megabytes} MB of memory and was stopped; work in smaller parts",
    "stopped": "the program was stopped from outside; nothing came of it",
}
_REMEDIES: Final[Mapping[str, str]] = {
    "ModuleNotFoundError": "only the standard library, numpy, pandas, sympy and matplotlib exist here, and nothing can be installed",
    "MemoryError": "work with less data at once",
    "RecursionError": "use a loop",
    "URLError": "there is no network here; use a tool that fetches, and pass the data in",
    "gaierror": "there is no network here; use a tool that fetches, and pass the data in",
    "BlockingIOError": "few processes and threads may run here; do it in one",
}


async def offer(supplies: Supplies) -> Sequence[Offer]:
    """The tool, on the configured remote sandbox, else on this machine's own where that holds."""
    settings = supplies.settings.tools
    limits = Limits()
    try:
        if settings.sandbox_url:
            key = settings.sandbox_key.get_secret_value() if settings.sandbox_key else None
            runner: ProgramRunner = PistonSandbox(settings.sandbox_url, supplies.egress, limits, key)
            await _require_sense(runner)
        else:
            runner = await open_sandbox(sandbox_packages(settings.sandbox_packages), limits)
    except SandboxUnavailable as error:
        return [Offer(SPEC, None, error.message)]
    return [Offer(SPEC, PythonFullTool(runner, limits, places=settings.python_workers))]


async def _require_sense(runner: ProgramRunner) -> None:
    answer = await runner.run("6 * 7", {})
    if answer.value != 42:
        raise SandboxUnavailable(f"the remote sandbox answered {answer.value!r} to 6 * 7 ({answer.printed.strip()[:200]!r})")


class PythonFullTool:
    """Runs each program in a sandbox of its own; so many at once as it has places, the others wait."""

    def __init__(self, runner: ProgramRunner, limits: Limits, places: int) -> None:
        self._runner = runner
        self._limits = limits
        self._places = asyncio.Semaphore(places)

    @property
    def spec(self) -> ToolSpec:
        return SPEC

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        code = str(arguments["code"])
        try:
            files = await self._brought(context.shelf, await files_for(code, arguments, context.shelf))
        except ToolFailed as error:
            return refused(error.message, "file_not_available")
        try:
            answer = await self._in_turn(code, files)
        except (TimeoutError, BlockingIOError):
            return refused("no sandbox became free in time; try again", "sandbox_busy", retryable=True)
        except SandboxUnavailable as error:
            return refused(error.message, error.code)
        if answer.fault is not None or not answer.has_replied:
            return refused(self._explain(answer, list(files)), _code(answer), stdout=answer.printed)
        kept, notes = await _keep(context.shelf, answer)
        printed = answer.printed.strip()
        return ToolResult(
            ok=True,
            output=as_json(answer.value) if answer.value is not None else printed or None,
            stdout="\n".join(part for part in (printed, *notes) if part),
            is_truncated=answer.is_cut or bool(notes),
            artifacts=kept,
        )

    async def _in_turn(self, code: str, files: Mapping[str, bytes]) -> Answer:
        async with asyncio.timeout(_WAIT_S):
            await self._places.acquire()
        try:
            return await self._runner.run(code, files)
        finally:
            self._places.release()

    async def _brought(self, shelf: Shelf, names: Sequence[str]) -> dict[str, bytes]:
        """The files by the names that the program opens."""
        found: dict[str, bytes] = {}
        for name in names:
            found[PurePosixPath(name).name] = await shelf.read(name)
            if sum(map(len, found.values())) > self._limits.brought_bytes:
                most = self._limits.brought_bytes // MEBIBYTE
                raise ToolFailed(f"the files up to {name!r} are larger than {most} MB together, more than a program here can get; take fewer")
        return found

    def _explain(self, answer: Answer, files: Sequence[str]) -> str:
        """What went wrong, where, and what to write instead: a model repairs from that."""
        if answer.fault is not None:
            return _explained(answer.fault, files)
        if answer.cause == "ended":
            signal = f" by signal {answer.status - 128}" if answer.status > 128 else f" with status {answer.status}"
            return f"the program ended its own interpreter{signal}; use no os._exit, os.kill or ctypes, and recursion only a thousand levels deep"
        limits = self._limits
        return _CAUSES[answer.cause].format(seconds=limits.seconds, megabytes=limits.memory_bytes // MEBIBYTE)


def _code(answer: Answer) -> str:
    if answer.fault is not None:
        return "syntax_error" if answer.fault.type in {"SyntaxError", "IndentationError", "TabError"} else "runtime_error"
    return {"time": "timeout", "memory": "out_of_memory"}.get(answer.cause, "runtime_error")


def _explained(fault: Fault, files: Sequence[str]) -> str:
    where = f" (line {fault.line})" if fault.line else ""
    remedy = _remedy(fault, files)
    return f"{fault.type}: {fault.message}{where}" + (f"; {remedy}" if remedy else "")


def _remedy(fault: Fault, files: Sequence[str]) -> str:
    if fault.where == "asyncio" or "event loop" in fault.message:
        return "asyncio cannot start here, because it needs socketpair; call plain functions"
    if fault.where == "socket.py":
        return "there is no network here; use a tool that fetches, and pass the data in"
    if fault.where == "subprocess.py":
        return "there are no other programs here; do it in Python"
    if fault.type == "FileNotFoundError":
        return f"the working folder was given {', '.join(map(repr, files)) or 'no files'}; name what is needed in the argument `files`"
    if fault.type in {"PermissionError", "OSError"}:
        return "only the working folder can be written, some megabytes of it; much else of the system is closed"
    if fault.type == "RuntimeError" and "stdin" in fault.message:
        return "there is nobody to type; put the data into the program"
    if fault.type == "RuntimeError" and "thread" in fault.message:
        return "few threads may run here; do it in one"
    return _REMEDIES.get(fault.type, "")


async def _keep(shelf: Shelf, answer: Answer) -> tuple[list[str], list[str]]:
    """Names of the files that the job keeps, and what to say of the others."""
    kept: list[str] = []
    notes = [f"[{clean_name(name)!r} was not kept: too many or too large files]" for name in answer.left_out]
    for file in answer.files:
        try:
            kept.append(await _kept(shelf, file))
        except ToolFailed as error:
            notes.append(f"[{clean_name(file.name)!r} was not kept: {error.message}]")
    return kept, notes


async def _kept(shelf: Shelf, file: Made) -> str:
    name = clean_name(file.name)
    return await shelf.keep(name, media_type(name), file.content)
