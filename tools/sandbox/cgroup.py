"""A control group of its own for each run, where the machine lets us make one: memory and processes of the whole tree, counted by the kernel.

Version 1 is what it was measured on; version 2 is written by its documentation and needs a group delegated to us or to our parent.
Knows no sandbox: any process can be put into a group.
"""

import os
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PREFIX: Final = "tandem-sandbox-"
_FILES: Final = Path("/sys/fs/cgroup")
_LEAVE_S: Final = 2.0
_LOOK_EVERY_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Group:
    """One run's group; a folder under version 2, two of them under version 1."""

    folders: tuple[Path, ...]

    def add(self, pid: int) -> None:
        """Put a process in; what it starts from now on is in as well."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def has_run_out(self) -> bool:
        """Whether the kernel ended a process here because of its memory."""
        for name in ("memory.oom_control", "memory.events"):
            if (path := self.folders[0] / name).exists():
                return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in path.read_text(encoding="ascii").splitlines())
        return False

    def remove(self) -> bool:
        """Whether it is gone. A killed tree takes some milliseconds to leave it; what stays longer is swept at the next start."""
        ends_at = time.monotonic() + _LEAVE_S
        while True:
            for folder in self.folders:
                with suppress(OSError):
                    folder.rmdir()
            if not any(folder.exists() for folder in self.folders):
                return True
            if time.monotonic() >= ends_at or not any((folder / "cgroup.procs").exists() for folder in self.folders):
                return False
            time.sleep(_LOOK_EVERY_S)


@dataclass(frozen=True, slots=True)
class GroupHome:
    """Where groups can be made."""

    parents: tuple[Path, ...]
    is_unified: bool

    @classmethod
    def find(cls, own: str | None = None, files: Path = _FILES) -> "GroupHome | None":
        """The place of this process; None where we may not make groups that limit memory and processes. ``own`` is ``/proc/self/cgroup``."""
        paths = _own_paths(Path("/proc/self/cgroup").read_text(encoding="utf-8") if own is None else own)
        legacy = [_place(files / kind, paths[kind]) for kind in ("memory", "pids") if kind in paths]
        home = cls(tuple(legacy), is_unified=False) if len(legacy) == 2 else _unified(files, paths.get(""))
        return home if home is not None and home.works() else None

    def open(self, memory_bytes: int, processes: int) -> Group:
        """A new group. Raises ``OSError`` where none can be made; nothing of it is left then."""
        with ExitStack() as stack:
            folders: list[Path] = []
            for parent in self.parents:
                folders.append(Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent)))
                stack.callback(Group((folders[-1],)).remove)
            self._limit(folders[0], folders[-1], memory_bytes, processes)
            stack.pop_all()
        return Group(tuple(folders))

    def _limit(self, first: Path, last: Path, memory_bytes: int, processes: int) -> None:
        for name in ("memory.max",) if self.is_unified else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            if (path := first / name).exists():
                path.write_text(str(memory_bytes), encoding="ascii")
        if (swap := first / "memory.swap.max").exists():
            swap.write_text("0", encoding="ascii")
        (last / "pids.max").write_text(str(processes), encoding="ascii")

    def sweep(self) -> None:
        """Remove the groups of processes that are gone."""
        for folder in [found for parent in self.parents for found in parent.glob(f"{_PREFIX}*")]:
            if not Path("/proc", folder.name.removeprefix(_PREFIX).split("-")[0]).exists():
                Group((folder,)).remove()

    def works(self) -> bool:
        """Whether a group can be made there; it is removed again."""
        try:
            group = self.open(1 << 30, 16)
        except OSError:
            return False
        return group.remove()


def _own_paths(text: str) -> dict[str, str]:
    """Path by controller; version 2's has the name ''."""
    rows = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    return {name: path for _, names, path in rows for name in names.split(",")}


def _place(root: Path, path: str) -> Path:
    """A container sees its own group as the root, while the kernel may still name the path on the host."""
    inside = root / path.lstrip("/")
    return inside if inside.is_dir() else root


def _unified(files: Path, path: str | None) -> GroupHome | None:
    if path is None:
        return None
    own = _place(files, path)
    for parent in (own, own.parent):
        control = parent / "cgroup.subtree_control"
        if control.exists() and {"memory", "pids"} <= set(control.read_text(encoding="ascii").split()):
            return GroupHome((parent,), is_unified=True)
    return None
