"""Whether a sandbox can be trusted here: a program is really run, and what it finds is compared with what it must find.

A machine where any of it is different gets no sandbox, and no other way to run programs: fail closed. The reason goes to the operator.
"""

import asyncio
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from tandem.errors import SandboxUnavailable
from tools.sandbox.answer import Answer
from tools.sandbox.bwrap import INSIDE_UID, Interpreter, Recipe, find_bwrap
from tools.sandbox.cgroup import GroupHome
from tools.sandbox.limits import Limits
from tools.sandbox.sandbox import Sandbox
from tools.sandbox.seccomp import ARCHITECTURES

PACKAGES: Final[Mapping[str, str]] = MappingProxyType({"numpy": "NumPy", "pandas": "pandas", "sympy": "SymPy", "matplotlib": "Matplotlib"})
"""What ``requirements-sandbox.lock`` brings, by the names programs import."""
_ALLOWED_ROOT: Final = frozenset({"dev", "lib", "lib64", "packages", "proc", "python", "scratch", "usr"})
PROGRAM: Final = """
import os, socket
from importlib.util import find_spec
def is_refused(action, *arguments):
    try:
        action(*arguments)
    except OSError:
        return True
    return False
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
with open("/proc/net/dev") as table:
    interfaces = [line.split(":")[0].strip() for line in table if ":" in line]
{
    "root": sorted(os.listdir("/")),
    "uids": [*os.getresuid(), *os.getresgid()],
    "groups": [group for group in os.getgroups() if group != os.getgid()],
    "capabilities": status["CapEff"].strip("0\\n"),
    "has_filter": status["Seccomp"].strip() == "2",
    "has_no_new_privileges": status["NoNewPrivs"].strip() == "1",
    "interfaces": interfaces,
    "refuses_socket": is_refused(socket.socket),
    "refuses_writing": is_refused(open, "/x", "w") and is_refused(open, "/usr/lib/x", "w") and is_refused(open, "/dev/x", "w"),
    "refuses_sysctl": is_refused(os.open, "/proc/sys/kernel/core_pattern", os.O_WRONLY),
    "environment": sorted(set(os.environ) - {"PWD"}),
    "packages": [name for name in ("numpy", "pandas", "sympy", "matplotlib") if find_spec(name)],
}
"""
_REMEDY: Final = "see docs/tools.md, “Sandbox”"


def sandbox_packages(configured: Path | None) -> Path:
    """The folder of packages, ready or not."""
    return configured or Path(sys.prefix) / "sandbox"


async def open_sandbox(packages: Path, limits: Limits, *, euid: int | None = None) -> Sandbox:
    """A sandbox that has shown that it holds.

    Raises:
        SandboxUnavailable: None does; the message says what was found.
    """
    if not sys.platform.startswith("linux") or platform.machine() not in ARCHITECTURES:
        raise SandboxUnavailable(f"the sandbox needs Linux on {' or '.join(sorted(ARCHITECTURES))}; this is {sys.platform} on {platform.machine()}")
    if not await asyncio.to_thread(packages.is_dir):
        raise SandboxUnavailable("the sandbox's packages are not installed; run `make setup`, or name their folder in TANDEM_TOOLS_SANDBOX_PACKAGES")
    is_root = (os.geteuid() if euid is None else euid) == 0
    groups = GroupHome.find()
    if groups is not None:
        groups.sweep()
    sandbox = Sandbox(Recipe(find_bwrap(), Interpreter.current(), packages, is_root), groups, limits)
    answer = await sandbox.run(PROGRAM, {})
    if faults := faults_of(answer, sandbox):
        raise SandboxUnavailable(f"the sandbox does not hold on this machine: {'; '.join(faults)}; {_REMEDY}")
    return sandbox


def faults_of(answer: Answer, sandbox: Sandbox) -> list[str]:
    """What the probing program found otherwise than it must be."""
    if answer.fault is not None or not isinstance(answer.value, dict):
        said = answer.fault.message if answer.fault else answer.printed.strip()[:300]
        return [f"a program could not be run in it ({answer.cause}, status {answer.status}): {said or 'it said nothing'}"]
    found = cast("dict[str, Any]", answer.value)
    identities = set(sandbox.slots.uids) if sandbox.recipe.is_root else {INSIDE_UID}
    checks = {
        f"it sees {found['root']!r} of the machine": set(found["root"]) <= _ALLOWED_ROOT,
        f"it runs with the user and group ids {found['uids']!r}": len(set(found["uids"])) == 1 and set(found["uids"]) <= identities,
        f"it belongs to the groups {found['groups']!r}": not found["groups"] or not sandbox.recipe.is_root,
        f"it has the capabilities {found['capabilities']!r}": found["capabilities"] == "",
        "its filter of system calls is not active": found["has_filter"] and found["refuses_socket"],
        "it could gain privileges": found["has_no_new_privileges"],
        f"it sees the network interfaces {found['interfaces']!r}": set(found["interfaces"]) <= {"lo"},
        "it can write outside of its folder": found["refuses_writing"],
        "it can open the kernel's settings for writing": found["refuses_sysctl"],
        f"it sees the environment {found['environment']!r}": not any(name.startswith("TANDEM") for name in found["environment"]),
        f"it finds only {found['packages']!r} of its packages; run `make setup`": set(found["packages"]) == set(PACKAGES),
    }
    return [what for what, holds in checks.items() if not holds]
