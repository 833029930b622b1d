"""Memory of a process group, for people to read; None where the system does not tell."""

import os
from pathlib import Path


def group_rss_bytes(group: int, proc: Path = Path("/proc")) -> int | None:
    """Resident bytes of all processes of a group; pages they share count once per process."""
    if not (proc / "self" / "statm").exists():
        return None
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(page * _resident_pages(entry) for entry in proc.iterdir() if entry.name.isdigit() and _group_of(entry) == group)


def _group_of(entry: Path) -> int:
    try:
        fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return -1
    return int(fields[2])  # proc_pid_stat(5): state, ppid, pgrp


def _resident_pages(entry: Path) -> int:
    try:
        return int((entry / "statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
