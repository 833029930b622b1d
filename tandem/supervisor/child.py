"""One running process in a session and process group of its own. Knows nothing of restarts."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, Self

from tandem.supervisor.launcher import GO
from tandem.supervisor.logs import rotate, tail
from tandem.supervisor.memory import group_rss_bytes

LAUNCHER_SCRIPT: Final = Path(__file__).with_name("launcher.py")


class Guard(Protocol):
    """Whoever ends process groups when the supervisor cannot."""

    def add(self, group: int) -> None: ...

    def remove(self, group: int) -> None: ...


class Child:
    """A started process; made by ``spawn``."""

    def __init__(self, process: asyncio.subprocess.Process, guard: Guard, log_path: Path, log_start: int) -> None:
        self._process = process
        self._guard = guard
        self._log_path = log_path
        self._log_start = log_start
        self._is_cleared = False
        self.started_at = time.time()
        """Unix seconds, to be compared with files it touches."""

    @classmethod
    async def spawn(cls, command: tuple[str, ...], environment: Mapping[str, str], log_path: Path, guard: Guard) -> Self:
        """Start a process; nothing of it runs before the guard knows its group."""
        rotate(log_path)
        with log_path.open("ab") as log:
            start = log.tell()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(LAUNCHER_SCRIPT), str(os.getpid()), *command,
                stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
        child = cls(process, guard, log_path, start)
        guard.add(process.pid)
        assert process.stdin is not None  # noqa: S101 - asked for above
        process.stdin.write(GO)
        process.stdin.close()
        return child

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for its end, then end what is left of its group. Negative is the number of the signal that ended it."""
        code = await self._process.wait()
        if not self._is_cleared:  # once: later the number may be a stranger's
            self._is_cleared = True
            self._signal_group(signal.SIGKILL)
            self._guard.remove(self.pid)
        return code

    async def stop(self, grace_s: float) -> None:
        """Ask it to end; after the grace end its whole group."""
        if self.is_running:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)  # the leader alone: it ends its own children in its own order
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            self.kill()
        await self.wait()

    def kill(self) -> None:
        """End its whole group at once."""
        if not self._is_cleared:
            self._signal_group(signal.SIGKILL)

    def rss_bytes(self) -> int | None:
        return group_rss_bytes(self.pid) if self.is_running else None

    def last_lines(self) -> str:
        """What it has written last, indented; empty when it said nothing."""
        return tail(self._log_path, self._log_start)

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # empty; macOS answers EPERM when only a zombie is left
            os.killpg(self.pid, number)
