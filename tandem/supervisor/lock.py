"""One ``tandem up`` per ``TANDEM_HOME``."""

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from tandem.errors import ProcessFailed

_ORPHANS_END_WITHIN_S: Final = 15.0
"""The guardian of a killed supervisor needs its grace and a moment before the lock is free."""
_POLL_S: Final = 0.1


class HomeLock:
    """An exclusive lock on a home folder; a killed holder's guardian keeps it until everything has ended."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def acquire(cls, home: Path, url: str, *, sleep: Callable[[float], None] = time.sleep) -> Self:
        """Take the lock and write who holds it.

        Raises:
            ProcessFailed: Another ``tandem up`` holds it; the message names its process and address.
        """
        path = home / "run" / "up.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        attempts = int(_ORPHANS_END_WITHIN_S / _POLL_S)
        while not _try_lock(descriptor):
            pid, holder_url = _read_holder(descriptor)
            attempts -= 1
            if attempts <= 0 or (pid is not None and _is_alive(pid)):
                os.close(descriptor)
                raise ProcessFailed(
                    f"a `tandem up` already runs for TANDEM_HOME {str(home)!r}: process {pid}, {holder_url}; "
                    f"use it, stop it (kill {pid}), or set another TANDEM_HOME and other ports"
                )
            sleep(_POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)
        return cls(descriptor)

    @staticmethod
    def is_held(home: Path) -> bool:
        """Whether a ``tandem up`` runs for this home."""
        try:
            descriptor = os.open(home / "run" / "up.lock", os.O_RDWR)
        except OSError:  # never started, or somebody else's
            return False
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def release(self) -> None:
        os.close(self.descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(descriptor: int) -> tuple[int | None, str]:
    try:
        holder = json.loads(os.pread(descriptor, 4_096, 0))
        return int(holder["pid"]), str(holder["url"])
    except (ValueError, KeyError, TypeError):  # it has locked but not written yet
        return None, "starting"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
