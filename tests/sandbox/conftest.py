"""Who runs the programs (root, and an ordinary user), what they try to reach, and what must be untouched afterwards."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

REPOSITORY = Path(__file__).parents[2]
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
UIDS = range(60_880 + 32 * _WORKER, 60_912 + 32 * _WORKER)
"""Of this process's programs alone, so that whatever runs under them was left by a test of this process."""
ORDINARY_UID = 61_140 + _WORKER
"""Nobody's either."""
SECRET = "canary-2f7c1e"
_LIMITS: Mapping[str, Any] = {"seconds": 10.0}
_GONE_WITHIN_S = 1.0


def open_place() -> str:
    """Where everybody may come: the usual place for temporary files may lie in somebody's own folder."""
    places = (tempfile.gettempdir(), "/tmp", "/var/tmp")  # noqa: S108 - only folders of random names are made there
    return next(place for place in places if all(folder.stat().st_mode & 0o001 for folder in (Path(place), *Path(place).parents)))


def missing(reason: str) -> None:
    """A laptop may lack what a test needs; CI may not."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Canaries:
    """What programs try to reach: listeners that count, and a file that is to stay as it is."""

    folder: Path
    hits: int = 0
    addresses: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def file(self) -> Path:
        return self.folder / ".env"


@dataclass
class Driver:
    """A process that runs programs, as one identity."""

    process: "subprocess.Popen[str]"
    uid: int
    has_groups: bool
    uids: frozenset[int]
    """Whose processes are programs of this driver."""

    def run(self, code: str, **limits: Any) -> dict[str, Any]:
        return self.run_all([code], [limits])[0]

    def run_all(self, codes: Sequence[str], limits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """All at once, each within its own limits."""
        assert self.process.stdin is not None
        runs = [{"code": code, "limits": {**_LIMITS, **own}} for code, own in zip(codes, limits, strict=True)]
        self.process.stdin.write(json.dumps(runs) + "\n")
        self.process.stdin.flush()
        return self.told()["answers"]

    def left_behind(self) -> list[str]:
        """Command lines of what is still there; waits for what is just going."""
        deadline = time.monotonic() + _GONE_WITHIN_S
        while (found := self._programs()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _programs(self) -> list[str]:
        found = [
            path.parent
            for path in Path("/proc").glob("[0-9]*/status")
            if int(path.parent.name) != self.process.pid and _is_of(path, self.uids, self.process.pid)
        ]
        return [_command(folder) for folder in found]

    def told(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the driver is gone: {self.process.wait(5)}"
        return json.loads(line)


def _is_of(status: Path, uids: frozenset[int], parent: int) -> bool:
    try:
        lines = dict(line.split(":\t", 1) for line in status.read_text(encoding="utf-8").splitlines() if ":\t" in line)
    except OSError:
        return False
    return lines["State"][0] not in "ZX" and (int(lines["Uid"].split()[0]) in uids or int(lines["PPid"]) == parent)


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_text(encoding="utf-8", errors="replace")[:80]
    except OSError:
        return folder.name


_AS_USER = """
set -e
mount --make-rprivate /
mount --bind "$1" "$4/python"; mount --bind "$2" "$4/project"; mount --bind "$3" "$4/site"; mount --bind "$3/../../../sandbox" "$4/packages"
cd /
exec setpriv --reuid=$5 --regid=$5 --clear-groups "$4/python/bin/$6" "$4/project/tests/sandbox/driver.py" "$4/packages" $7 $8
"""
"""The interpreter and the tree may lie where only root comes (a pyenv under /root): the user sees them under open paths."""


def _command_line(identity: str, view: Path) -> tuple[list[str], dict[str, str]]:
    site = Path(sys.prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    bounds = [str(UIDS.start), str(UIDS.stop)]
    environ = {"PATH": os.environ["PATH"], "TANDEM_CANARY": SECRET, "LANG": "C.UTF-8"}
    if identity == "root" or os.geteuid() != 0:
        return [sys.executable, "tests/sandbox/driver.py", str(Path(sys.prefix, "sandbox")), *bounds], {**environ, "PYTHONPATH": str(REPOSITORY)}
    for name in ("python", "project", "site", "packages"):
        (view / name).mkdir()
    executable = f"python{sys.version_info.major}.{sys.version_info.minor}"
    arguments = [sys.base_prefix, str(REPOSITORY), str(site), str(view), str(ORDINARY_UID), executable, *bounds]
    paths = {"PYTHONPATH": f"{view}/project:{view}/site", "LD_LIBRARY_PATH": f"{view}/python/lib"}
    return ["unshare", "-m", "sh", "-c", _AS_USER, "sh", *arguments], {**environ, **paths}


@pytest.fixture(scope="session", params=["root", "user"])
def driver(request: pytest.FixtureRequest) -> Generator[Driver]:
    identity = cast("str", request.param)
    if identity == "root" and os.geteuid() != 0:
        pytest.skip("SANDBOX AS ROOT NOT TESTED: this run is not root's")
    if identity == "user" and os.geteuid() == 0 and not (shutil.which("unshare") and shutil.which("setpriv")):
        missing("SANDBOX AS AN ORDINARY USER NOT TESTED: unshare and setpriv (util-linux) are needed to become one")
    with tempfile.TemporaryDirectory(dir=open_place()) as view, ExitStack() as stack:
        Path(view).chmod(0o755)
        command, environ = _command_line(identity, Path(view))
        process = stack.enter_context(
            subprocess.Popen(command, cwd=REPOSITORY, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        )
        stack.callback(process.kill)
        uids = frozenset(UIDS) if identity == "root" else frozenset({ORDINARY_UID} if os.geteuid() == 0 else ())
        made = Driver(process, 0, has_groups=False, uids=uids)
        hello = made.told()
        if "unavailable" in hello:
            missing(f"SANDBOX AS {identity.upper()} NOT TESTED: {hello['unavailable']}")
        made.uid, made.has_groups = hello["uid"], hello["has_groups"]
        yield made


@pytest.fixture(scope="session")
def canaries() -> Generator[Canaries]:
    with tempfile.TemporaryDirectory(dir=open_place()) as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o777)
        made = Canaries(folder)
        made.file.write_text(f"SECRET={SECRET}\n", encoding="utf-8")
        made.file.chmod(0o666)
        families = {
            "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "unix": (socket.AF_UNIX, socket.SOCK_STREAM, f"{folder}/socket"),
            "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{SECRET}-{os.getpid()}"),
        }
        for kind, (family, style, address) in families.items():
            listener = stack.enter_context(socket.socket(family, style))
            listener.bind(address)
            made.addresses[kind] = address if family == socket.AF_UNIX else listener.getsockname()[1]
            watch = _accepting(made, listener) if style == socket.SOCK_STREAM else _receiving(made, listener)
            threading.Thread(target=watch, daemon=True).start()
        Path(folder, "socket").chmod(0o777)
        yield made


def _accepting(canaries: Canaries, listener: socket.socket) -> Callable[[], None]:
    listener.listen()

    def watch() -> None:
        try:
            while True:
                caller, _ = listener.accept()
                canaries.hits += 1
                caller.close()
        except OSError:
            return

    return watch


def _receiving(canaries: Canaries, listener: socket.socket) -> Callable[[], None]:
    def watch() -> None:
        try:
            while listener.recv(100):
                canaries.hits += 1
        except OSError:
            return

    return watch


@pytest.fixture
def untouched(driver: Driver, canaries: Canaries) -> Generator[None]:
    """After each attempt: nobody connected, nothing was written, no kernel setting changed, no process is left."""
    pattern = Path("/proc/sys/kernel/core_pattern")
    before = (canaries.hits, canaries.file.read_bytes(), sorted(canaries.folder.iterdir()), pattern.read_bytes(), driver.process.poll())
    yield
    left = driver.left_behind()
    assert (canaries.hits, canaries.file.read_bytes(), sorted(canaries.folder.iterdir()), pattern.read_bytes(), driver.process.poll()) == before
    assert left == []
