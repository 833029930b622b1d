"""Becomes a supervised process, but not before somebody watches over it. Run as a script; knows nothing of Tandem.

``python -I -S launcher.py SUPERVISOR_PID COMMAND…`` waits at standard input for one byte, the supervisor's word that the guardian knows this
process group, then executes the command in its own place. A supervisor that dies earlier closes the pipe, and nothing is started. On Linux
the process is also sent SIGTERM by the kernel when the supervisor dies: a second belt for the case that the guardian dies with it.
"""

import ctypes
import os
import signal
import sys

GO = b"g"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_COMMAND_NOT_FOUND = 127  # as a shell says it


def main(arguments: list[str]) -> int:
    """Wait for the word, then execute; returns only when nothing was executed."""
    supervisor, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor or os.read(0, 1) != GO:
        return 0
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is the supervisor's fixed list
    except OSError as error:
        sys.stderr.write(f"cannot execute {command[0]!r}: {error.strerror}\n")
        return _COMMAND_NOT_FOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
