"""A second wall around the interpreter of the ``python`` tool: a program that starts Monty's worker inside bubblewrap.

Monty is the boundary; this stands behind it, for the day somebody finds a hole in its Rust. Covered then: no network, no file but the system's
libraries, another uid, the filter of system calls, few open files. Not covered: memory and processor beyond Monty's own limits.

The pool starts its workers by a path, so the wall is an executable file; it is written once per installation and never changed.
"""

import hashlib
import os
import platform
import shlex
import shutil
import sysconfig
from pathlib import Path
from typing import Final

from tandem.errors import SandboxUnavailable
from tools.sandbox.bwrap import find_bwrap, namespaces, system_libraries
from tools.sandbox.seccomp import ARCHITECTURES, seccomp_filter

_UID: Final = 60_864
"""Just above those of ``python_full``; its programs have no way to make processes, so that one id serves all."""
_FILTER: Final = 9
"""Descriptor that the shell opens and bwrap closes."""
_PROCESSES: Final = 256


def walled_monty(folder: Path) -> Path:
    """An executable that runs Monty's worker inside bubblewrap, in ``folder``.

    Raises:
        SandboxUnavailable: Something it is made of is not here. Whether it works is for the caller to try.
    """
    monty, machine = Path(sysconfig.get_path("scripts"), "monty"), platform.machine()
    if not monty.is_file() or machine not in ARCHITECTURES:
        raise SandboxUnavailable(f"there is no {str(monty)!r}, or no filter of system calls for {machine!r}")
    bpf = seccomp_filter(machine)
    script = _script(find_bwrap(), monty.resolve(), is_root=os.geteuid() == 0)
    key = hashlib.sha256(script.encode() + bpf).hexdigest()[:16]
    place = folder / f"monty-{key}"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(place / "filter", bpf, 0o600)
    _write(place / "monty", script.replace("FILTER", shlex.quote(str(place / "filter"))).encode(), 0o700)
    return place / "monty"


def _script(bwrap: Path, monty: Path, *, is_root: bool) -> str:
    drop: list[str] = []
    if is_root:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise SandboxUnavailable("there is no `setpriv` (Debian's package util-linux)")
        drop = ["--ro-bind", setpriv, "/setpriv"]
    command = [
        str(bwrap),
        *namespaces(is_root=is_root),
        *("--die-with-parent", "--new-session", "--clearenv"),
        *system_libraries(),
        *drop,
        *("--ro-bind", str(monty), "/monty", "--proc", "/proc", "--dev", "/dev"),
        *("--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/", "--seccomp", str(_FILTER)),
        *(("/setpriv", f"--reuid={_UID}", f"--regid={_UID}", "--clear-groups") if is_root else ()),
        "/monty",
    ]
    # An ordinary user's limit would count everything that user runs. It is -p in dash and -u in bash.
    processes = f"ulimit -p {_PROCESSES} 2>/dev/null || ulimit -u {_PROCESSES}\n" if is_root else ""
    return f'#!/bin/sh\nulimit -c 0; ulimit -n 64\n{processes}exec {shlex.join(command)} "$@" {_FILTER}<FILTER\n'


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, for another process may be starting it."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.chmod(mode)
    draft.replace(path)
