"""Processes under measurement: started on a core of their own, weighed by /proc, ended by their id. Linux only."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Peer:
    """A server under measurement."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], core: int | None, log: Path) -> None:
        self.name = name
        self.started = time.perf_counter()
        self._log = log.open("wb")
        prefix = ["taskset", "-c", str(core)] if core is not None else []
        self._process = subprocess.Popen(
            [*prefix, *command], env=dict(environment), stdout=subprocess.PIPE, stderr=self._log, start_new_session=True, text=True
        )
        self.start_s = 0.0

    def first_line(self) -> str:
        """What the process says first."""
        return "" if self._process.stdout is None else self._process.stdout.readline()

    def wait_until_up(self, url: str, limit_s: float) -> None:
        """Poll until the address answers 200; notes how long that took since the start."""
        while time.perf_counter() - self.started < limit_s:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}; see {self._log.name}")
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        self.start_s = time.perf_counter() - self.started
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not answer within {limit_s:.0f} s; see {self._log.name}")

    def cpu_s(self) -> float:
        """User and system seconds of the process and its children so far."""
        return sum(_cpu_s(pid) for pid in self._tree())

    def rss_mb(self) -> float:
        return sum(_rss_mb(pid) for pid in self._tree())

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
                try:
                    self._process.wait(timeout=8)
                except subprocess.TimeoutExpired:
                    continue
        self._log.close()

    def _tree(self) -> list[int]:
        parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
        tree, fresh = {self._process.pid}, {self._process.pid}
        while fresh := {pid for pid, parent in parents.items() if parent in fresh}:
            tree |= fresh
        return sorted(tree)


def _stat(path: Path) -> list[str]:
    try:
        return (path / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _parent(path: Path) -> int:
    fields = _stat(path)
    return int(fields[1]) if fields else 0


def _cpu_s(pid: int) -> float:
    fields = _stat(Path(f"/proc/{pid}"))
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _rss_mb(pid: int) -> float:
    fields = _stat(Path(f"/proc/{pid}"))
    return int(fields[21]) * _PAGE / 1e6 if fields else 0.0
