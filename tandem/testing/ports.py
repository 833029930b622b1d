"""Loopback ports for servers that a test starts, kills and starts again: nobody else gets them meanwhile.

A port that the system chooses is free only until somebody binds it, or calls out from it: two test processes could be given the same one, and a
server that is down for a moment could find its place taken. These ports are below the range that the system chooses from, and each is kept from other
test processes by a name that goes with this process (an abstract Unix socket; elsewhere than on Linux only by chance).
"""

import random
import socket
import sys
from typing import Final

_FIRST: Final = 20_000
_LAST: Final = 32_000
"""Linux chooses from 32768 upwards."""
_TRIES: Final = 1_000


def free_ports(count: int) -> list[int]:
    """That many different free loopback ports, this process's own until it ends.

    Raises:
        OSError: None is free.
    """
    chosen: list[int] = []
    for port in random.SystemRandom().sample(range(_FIRST, _LAST), _TRIES):
        if len(chosen) == count:
            return chosen
        if _is_free(port) and _is_ours(port):
            chosen.append(port)
    raise OSError(f"no {count} free ports among {_TRIES} between {_FIRST} and {_LAST}; close what listens there")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_ours(port: int) -> bool:
    if sys.platform != "linux":
        return True
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0tandem-test-port-{port}")
    except OSError:
        name.close()
        return False
    name.detach()  # open until this process ends
    return True


__all__ = ["free_ports"]
