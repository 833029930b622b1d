"""Gives way to others: the slow model must not take the processor from the fast one.

Linux applies niceness only among the processes of one session where automatic grouping is on (``sched_autogroup``, the default of many
distributions): between sessions it is the group's own niceness that counts. So a process that leads its session sets both.
"""

import os
from pathlib import Path
from typing import Final

AUTOGROUP: Final = Path("/proc/self/autogroup")


def give_way(niceness: int, autogroup: Path = AUTOGROUP) -> None:
    """Raise this process's niceness to at least ``niceness`` (0..19). Call it before threads start: they inherit it."""
    if niceness > os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    leads_session = os.getsid(0) == os.getpid()
    if niceness and leads_session and autogroup.exists():
        autogroup.write_text(str(niceness), encoding="ascii")
