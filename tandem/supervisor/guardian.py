"""Ends what a dead supervisor left behind. Run as a script in a session of its own; knows nothing of Tandem.

``python -I -S guardian.py GRACE_S GROUP...`` is told of the process groups that live, and then by lines on standard input: ``+7`` says that group 7
lives, ``-7`` that it has ended. The pipe's other end is held by the supervisor alone, so its end means that the supervisor is gone, however it died.
Then the leaders of all groups left get SIGTERM, and after the grace every group gets SIGKILL. It ignores the signals of a terminal or an init that
stops everything: the supervisor's own orderly stop comes first.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

_POLL_S = 0.05


def main(grace_s: float, known: Iterable[int]) -> int:
    """Follow the supervisor's words until it is gone, then clear up."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups = _listen(0, set(known))
    for group in groups:
        _send(os.kill, group, signal.SIGTERM)  # the leader alone: it ends its own children in its own order
    deadline = time.monotonic() + grace_s
    while any(_is_alive(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for group in groups:
        _send(os.killpg, group, signal.SIGKILL)
    return 0


def _listen(descriptor: int, groups: set[int]) -> set[int]:
    pending = b""
    while chunk := os.read(descriptor, 4_096):
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            group = int(line[1:])
            if line.startswith(b"+"):
                groups.add(group)
            else:
                groups.discard(group)
    return groups


def _is_alive(group: int) -> bool:
    return _send(os.killpg, group, 0)


def _send(send: Callable[[int, int], None], target: int, number: int) -> bool:
    try:
        send(target, number)
    except (ProcessLookupError, PermissionError):  # gone; macOS answers EPERM for a zombie
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), map(int, sys.argv[2:])))
