"""The worker's side: starts a child for one piece of work, feeds it, reads a bounded answer, and leaves nothing running.

Knows nothing of what the work is. A child is fresh: Python starts in 40 ms, and what hostile content did to one is gone with it.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final, cast

from tandem.telemetry import get_logger
from tools.confined.work import Done, Json, Limits, WorkRefused

_BOOT: Final = "import sys; sys.path.insert(0, sys.argv.pop(1)); from tools.confined.{side} import main; main()"
_LONGEST_LINE: Final = 4 * 1024 * 1024
_ROOT: Final = str(Path(__file__).resolve().parents[2])
GRACE_S: Final = 0.5
"""The child ends itself at its limit; the parent comes after it."""


class Confinement:
    """Runs work in child processes, a few at a time.

    Args:
        slots: Children at the same time; further calls wait.
    """

    def __init__(self, slots: int = 2) -> None:
        self._slots = asyncio.Semaphore(slots)

    async def run(self, module: str, request: Mapping[str, object], parts: Sequence[bytes], limits: Limits) -> Done:
        """What the module's ``work`` made of the request and the parts.

        Raises:
            WorkRefused: It refused, or its child was stopped at a limit or died. Nothing of it is left.
        """
        async with self._slots:
            process = await start("child", module, limits)
            try:
                return await _converse(process, request, parts, limits)
            finally:
                await end(process)


async def start(side: str, module: str, limits: Limits, *more: str) -> asyncio.subprocess.Process:
    """A process that runs ``main`` of ``tools.confined.<side>``: nothing of our environment, a group of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-X", "utf8", "-c", _BOOT.format(side=side), _ROOT, module, json.dumps(asdict(limits)), *more),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LONGEST_LINE,
        env={},
        cwd="/",
        start_new_session=True,
    )


async def _converse(process: asyncio.subprocess.Process, request: Mapping[str, object], parts: Sequence[bytes], limits: Limits) -> Done:
    head = json.dumps({**request, "sizes": [len(part) for part in parts]}, ensure_ascii=False).encode() + b"\n"
    feeding = asyncio.create_task(_feed(process, head, parts))
    try:
        async with asyncio.timeout(limits.seconds + GRACE_S):
            answer = await _collect(process, limits.output_bytes)
            code = await process.wait()
    except TimeoutError:
        raise too_slow(limits) from None
    finally:
        feeding.cancel()
        await asyncio.wait([feeding])
    if code != 0:
        raise died(code, limits)
    return _parsed(answer)


async def _feed(process: asyncio.subprocess.Process, head: bytes, parts: Sequence[bytes]) -> None:
    stdin = process.stdin
    if stdin is None:
        raise RuntimeError("the child was started without a pipe")
    # A child that ended early says why in its answer or by its code.
    with suppress(BrokenPipeError, ConnectionResetError):
        for part in (head, *parts):
            stdin.write(part)
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def _collect(process: asyncio.subprocess.Process, limit: int) -> bytes:
    stdout = process.stdout
    if stdout is None:
        raise RuntimeError("the child was started without a pipe")
    collected = bytearray()
    while chunk := await stdout.read(1 << 18):
        collected += chunk
        if len(collected) > limit:
            raise WorkRefused("too_large", f"it gives more than {limit} bytes; ask for less or use a smaller file")
    return bytes(collected)


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill it and whatever it started."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _parsed(answer: bytes) -> Done:
    line, _, part = answer.partition(b"\n")
    said = cast("Json", json.loads(line))
    if fault := said.get("fault"):
        raise WorkRefused(str(fault["code"]), str(fault["message"]))
    return Done(said["answer"], part[: said["part"]])


def too_slow(limits: Limits) -> WorkRefused:
    """It reached its time limit."""
    return WorkRefused("timeout", f"it took longer than {limits.seconds:g} s and was stopped; use a smaller file or ask for less")


def died(code: int, limits: Limits) -> WorkRefused:
    """It ended with this code (negative for a signal) instead of an answer."""
    if -code in {signal.SIGALRM, signal.SIGXCPU, signal.SIGKILL}:
        return too_slow(limits)
    get_logger(__name__).warning("confined_child_died", code=code)
    return WorkRefused("unreadable", "its content made the reader fail; it is damaged or not what its name says, use another file")
