"""Memory of a process group."""

import os
from pathlib import Path

from tandem.supervisor.memory import group_rss_bytes


def test_all_processes_of_the_group_are_counted(tmp_path: Path) -> None:
    for pid, group in ((10, 10), (11, 10), (12, 12)):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} (odd ) name) S 1 {group} {group} 0", encoding="utf-8")
        (folder / "statm").write_text("500 3 1 1 0 1 0", encoding="ascii")
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "statm").touch()
    assert group_rss_bytes(10, tmp_path) == 2 * 3 * os.sysconf("SC_PAGE_SIZE")


def test_a_system_without_proc_says_nothing(tmp_path: Path) -> None:
    assert group_rss_bytes(10, tmp_path) is None
