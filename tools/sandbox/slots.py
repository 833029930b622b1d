"""A user id of its own for each program that runs at the same moment on this machine, also when several workers start them.

The kernel counts processes per user id: two programs under one id could use up each other's share, and signal each other outside of their own
process namespaces. An id is taken by a lock on a file, which the kernel gives back whatever becomes of the process that held it.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UIDS: Final = range(60_800, 60_864)
"""Nobody's by systemd's table of user ids (60706 to 61183 are unused), and within what a container maps."""
FOLDER: Final = Path("/run/tandem-sandbox")
"""Only root takes an id, and only root can write there."""


@dataclass(frozen=True, slots=True)
class UidSlots:
    """The ids that programs of this machine take in turns."""

    folder: Path = FOLDER
    uids: range = UIDS

    @contextmanager
    def take(self) -> Generator[int]:
        """An id that nobody else has until the block ends.

        Raises:
            BlockingIOError: All are taken.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for uid in self.uids:
            lock = os.open(self.folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield uid
                return
            finally:
                os.close(lock)
        raise BlockingIOError(f"all {len(self.uids)} user ids of sandboxed programs are taken")
