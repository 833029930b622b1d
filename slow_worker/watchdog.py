"""The last resort against a job that blocks its process: when nobody feeds the watchdog, the process dies with the stacks of all threads in its log.

An endless loop or a stuck call into C stops the event loop, and with it heartbeat, cancel flag and every other guard. The timer is the
interpreter's own thread and needs no GIL. The pool replaces the process, the lease gives the job to another, and the cap on lost attempts ends it.
"""

import faulthandler
import sys
from dataclasses import dataclass
from typing import Protocol


class Watchdog(Protocol):
    """Guards one process while it runs a job."""

    def feed(self) -> None:
        """The event loop is alive; starts or restarts the timer."""
        ...

    def rest(self) -> None:
        """No job runs."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessWatchdog:
    """Ends this process ``patience_s`` after the last feeding."""

    patience_s: float

    def feed(self) -> None:
        # ``sys.__stderr__``: the log itself, whatever has been put in front of it.
        faulthandler.dump_traceback_later(self.patience_s, exit=True, file=sys.__stderr__ or sys.stderr)

    def rest(self) -> None:
        faulthandler.cancel_dump_traceback_later()
