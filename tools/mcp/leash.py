"""A small program between Tandem and an MCP server: ``python leash.py COMMAND [ARGS]...``. When Tandem goes, nothing of the server stays.

It starts the command on its own standard streams, without reading them, and watches. The end comes when the command ends, when whoever holds the
other end of standard input goes away (also by SIGKILL: the kernel closes the pipe), or with SIGTERM. Then the command has a moment to leave by
itself, its process group is ended, and on Linux also whatever had left the group: orphans below are handed to this process (PR_SET_CHILD_SUBREAPER).
On Linux the command dies as well when this process is killed. Uses the standard library only, because it runs as ``python -I -S``.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

GRACE_S: Final = 2.0
"""For a server whose input was closed: the protocol's way to tell it to stop."""
TERM_S: Final = 1.0
"""Between SIGTERM and SIGKILL."""
_NOT_FOUND: Final = 127
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_SWEEPS: Final = 50
_IS_LINUX: Final = sys.platform == "linux"


class _Told(Exception):
    """SIGTERM came."""


def main(command: list[str]) -> int:
    """Run the command to its end; returns its exit code."""
    signal.signal(signal.SIGTERM, _on_terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _IS_LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        child = subprocess.Popen(command, process_group=0, preexec_fn=_die_with_parent if _IS_LINUX else None)
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]!r}: {error.strerror}\n")
        return _NOT_FOUND
    try:
        _watch(child)
        child.wait(GRACE_S)
    except (_Told, subprocess.TimeoutExpired):
        # Told to hurry, or the grace is over; either way the group is ended below.
        pass
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _watch(child: "subprocess.Popen[bytes]") -> None:
    """Wait until the command ends or the other side of standard input is gone."""
    poll = select.poll()
    poll.register(0, 0)  # reports a hang-up only; what is to be read is the command's
    if _IS_LINUX:
        poll.register(os.pidfd_open(child.pid), select.POLLIN)
    while child.poll() is None:
        if any(fd == 0 for fd, _ in poll.poll(1_000)):
            return


def _end(child: "subprocess.Popen[bytes]") -> None:
    _signal_group(child.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(TERM_S)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()
    for _ in range(_SWEEPS if _IS_LINUX else 0):
        orphans = list(_children())
        if not orphans:
            return
        for pid in orphans:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _children() -> Iterator[int]:
    me = str(os.getpid())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The second field, the name, may hold spaces and brackets; the parent is the second one behind it.
                if (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1] == me:
                    yield int(entry.name)


def _on_terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Told


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
