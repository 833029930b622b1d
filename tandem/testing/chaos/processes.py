"""Process groups that a chaos test starts, freezes and kills; each ended by its id, whatever happens (Linux)."""

import asyncio
import os
import resource
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
PATIENCE_S: Final = 120.0
"""Longest wait for what has to come: beyond anything that a busy machine delays. It costs nothing where all is well."""


@dataclass(slots=True)
class Group:
    """A process in a session of its own, with all that it starts."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    home: Path
    """Its ``TANDEM_HOME``."""
    is_plain: bool = True
    """Started as a town starts it, without a test's own settings."""
    is_leaving: bool = False
    """It was asked to stop."""
    rss_mb: list[float] = field(default_factory=list[float])
    """What ``sample`` has seen of the first process."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """To every process of the group."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """``kill -9`` of the whole group, and the wait for its first process."""
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def terminate(self) -> None:
        """SIGTERM to the first process, as a supervisor does."""
        self.is_leaving = True
        self.process.terminate()

    def children(self) -> list[int]:
        """The pids that the first process has started itself."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        except OSError:
            return []
        return [int(pid) for pid in text.split()]

    def sample(self) -> None:
        """Note the resident memory of the first process."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):
            return
        self.rss_mb.append(pages * os.sysconf("SC_PAGE_SIZE") / 1_048_576)

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log, the beginning of each."""
        text = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:] if self.log.exists() else []
        return "\n".join([f"--- {self.name} (pid {self.pid}, exit {self.process.poll()})", *(line[:700] for line in text)])


def start_group(
    name: str,
    command: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
    *,
    max_file_bytes: int | None = None,
    max_memory_bytes: int | None = None,
) -> Group:
    """Start ``command`` in a session of its own; its output goes to ``folder/NAME.log``.

    Args:
        name: For messages and the log.
        command: Program and arguments.
        environ: Its whole environment.
        folder: Where the log is.
        max_file_bytes: No file may grow beyond it: what a full disk looks like from inside (a pipe takes the output then).
        max_memory_bytes: Address space of each process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"

    def limit() -> None:
        if max_file_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
        if max_memory_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, max_memory_bytes))

    limits = limit if max_file_bytes is not None or max_memory_bytes is not None else None
    with log.open("ab") as sink:
        process = subprocess.Popen(
            list(command), env=dict(environ), stdout=sink, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True, preexec_fn=limits
        )
    return Group(name, process, log, Path(environ.get("TANDEM_HOME", str(folder))))


async def until(
    holds: Callable[[], bool] | Callable[[], Awaitable[bool]],
    what: str,
    explain: Callable[[], str],
    *,
    timeout_s: float = PATIENCE_S,
    every_s: float = 0.05,
) -> float:
    """Wait until ``holds``; returns the seconds it took.

    Args:
        holds: What is looked at, again and again.
        what: The same in words, for the message.
        explain: What else the message says: logs, counts.
        timeout_s: Longest wait.
        every_s: Pause between two looks.

    Raises:
        AssertionError: The time is over. The message says what did not come, how often and how slowly it was looked for, and how busy the machine is.
    """
    begun = time.monotonic()
    looks, slowest_s = 0, 0.0
    while True:
        looked = time.monotonic()
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return time.monotonic() - begun
        looks, slowest_s = looks + 1, max(slowest_s, time.monotonic() - looked)
        if time.monotonic() - begun > timeout_s:
            load = " ".join(f"{value:.1f}" for value in os.getloadavg())
            seen = f"{looks} looks, the slowest took {slowest_s:.2f} s; load {load} on {os.cpu_count()} cores"
            raise AssertionError(f"{what}: not within {timeout_s:g} s ({seen})\n{explain()}")
        await asyncio.sleep(every_s)
