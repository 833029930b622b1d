"""The supervisor over real processes: readiness, restarts, orderly stops, and nothing left behind however it dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tandem.supervisor.lock import HomeLock
from tandem.testing.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")]

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "tests" / "data" / "supervisor" / "runner.py"
WITHIN_S = 50.0
T = TypeVar("T")
Row = tuple[str, int, str, int, tuple[str, ...]]


def until(look: Callable[[], T], complaint: Callable[[], str] = str) -> T:
    """What ``look`` gives once it is truthy."""
    deadline = time.monotonic() + WITHIN_S
    while not (seen := look()):
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)
    return seen


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Small:
    """A running supervisor over stand-ins, in a folder of its own."""

    process: subprocess.Popen[bytes]
    folder: Path

    def output(self) -> str:
        return (self.folder / "out").read_text(encoding="utf-8")

    def changes(self) -> list[list[str]]:
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("[") and line.endswith("]")]

    def wait_for(self, name: str, state: str, count: int = 1) -> list[str]:
        return until(lambda: [change for change in self.changes() if change[:2] == [name, state]][count - 1 : count], self.output)[0]

    def wait_for_death(self) -> int:
        return self.process.wait(WITHIN_S)

    def pids(self, name: str = "") -> list[int]:
        path = self.folder / "pids"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [int(pid) for line in lines if line.startswith(name) for pid in line.split()[1:]]

    def running(self) -> list[int]:
        return [pid for pid in self.pids() if is_running(pid)]

    def guardian(self) -> int:
        return int(self.wait_for("whole", "ready")[2])


Start = Callable[..., Small]


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    """Starts supervisors; whatever is left of them at the end is killed by pid."""
    started: list[Small] = []

    def launch(*rows: Row, name: str = "one", die: str = "nobody") -> Small:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / f"{die}.die").touch()
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        with (folder / "out").open("wb") as out:
            command = [sys.executable, str(RUNNER), str(folder), json.dumps(rows)]
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environ, cwd=folder)
        small = Small(process, folder)
        started.append(small)
        return small

    yield launch
    for small in started:
        small.process.kill()
        small.process.wait()
        for pid in small.running():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def row(name: str, port: int, *, kind: str = "polite", stage: int = 0, needs: tuple[str, ...] = ()) -> Row:
    return (name, port, kind, stage, needs)


def test_a_process_is_started_when_what_it_needs_is_ready(start: Start) -> None:
    one, two = free_ports(2)
    small = start(row("front", two, stage=1, needs=("base",)), row("base", one))
    small.wait_for("whole", "ready")
    order = [change[:2] for change in small.changes()]
    assert order.index(["base", "ready"]) < order.index(["front", "starting"])


def test_sigterm_stops_everything_the_front_first(start: Start) -> None:
    one, two = free_ports(2)
    small = start(row("base", one), row("front", two, stage=1, needs=("base",)))
    small.wait_for("whole", "ready")
    assert len(small.running()) == 4
    small.process.terminate()
    assert small.wait_for_death() == 0
    assert small.running() == []
    stopped = [change[0] for change in small.changes() if change[1] == "stopped"]
    assert stopped == ["front", "base"]


def test_who_ignores_sigterm_is_killed_with_its_children_after_the_grace(start: Start) -> None:
    small = start(row("mule", *free_ports(1), kind="stubborn"))
    small.wait_for("whole", "ready")
    small.process.terminate()
    assert small.wait_for_death() == 0
    assert small.running() == []


def test_a_process_that_dies_is_started_again_and_its_children_are_ended(start: Start) -> None:
    small = start(row("web", *free_ports(1)))
    small.wait_for("whole", "ready")
    leader, child = small.pids("web")
    os.kill(leader, signal.SIGKILL)
    assert small.wait_for("web", "paused")[2] == "was ended by signal 9"
    small.wait_for("web", "ready", count=2)
    assert not is_running(child)
    assert len(small.running()) == 2


def test_a_process_that_keeps_dying_is_given_up_while_the_others_go_on(start: Start) -> None:
    one, two = free_ports(2)
    small = start(row("good", one), row("bad", two))
    small.wait_for("whole", "ready")
    (small.folder / "bad.die").touch()
    os.kill(small.pids("bad")[0], signal.SIGKILL)
    message = small.wait_for("bad", "failed")[2]
    assert "bad ended with exit code 7, 4 times in a row" in message
    assert "    hello from bad" in message
    assert is_running(small.pids("good")[0])
    status = json.loads((small.folder / "run" / "processes.json").read_text(encoding="utf-8"))
    assert status["state"] == "degraded"
    small.process.terminate()
    assert small.wait_for_death() == 0
    assert small.running() == []


def test_a_first_start_that_fails_stops_the_rest_and_shows_the_last_words(start: Start) -> None:
    one, two = free_ports(2)
    small = start(row("good", one), row("bad", two), die="bad")
    assert small.wait_for_death() == 1
    assert "bad ended with exit code 7, 4 times in a row" in small.output()
    assert "    hello from bad" in small.output()
    assert small.pids("good")
    assert small.running() == []


@pytest.mark.parametrize("kind", ["polite", "stubborn"])
def test_killing_the_supervisor_leaves_no_process(start: Start, kind: str) -> None:
    one, two = free_ports(2)
    small = start(row("base", one, kind=kind), row("front", two, kind=kind, stage=1))
    guardian = small.guardian()
    assert len(small.running()) == 4
    small.process.kill()
    until(lambda: not small.running() and not is_running(guardian), lambda: f"left: {small.running()}")


def test_killing_the_supervisor_during_the_start_leaves_no_process(start: Start) -> None:
    ports = free_ports(4)
    small = start(*(row(f"web{port}", port) for port in ports))
    until(small.pids)
    small.process.kill()
    small.process.wait()
    time.sleep(0.5)  # a process that was just being made would show itself by then
    until(lambda: not small.running(), lambda: f"left: {small.running()}")


def test_a_killed_guardian_is_replaced_and_its_successor_does_the_work(start: Start) -> None:
    small = start(row("mule", *free_ports(1), kind="stubborn"))
    first = small.guardian()
    os.kill(first, signal.SIGKILL)
    second = until(lambda: [pid for pid in guardians(small.process.pid) if pid != first])[0]
    small.process.kill()
    until(lambda: not small.running() and not is_running(second), lambda: f"left: {small.running()}")


def test_killing_supervisor_and_guardian_together_still_ends_the_leaders(start: Start) -> None:
    small = start(row("web", *free_ports(1)))
    os.kill(small.guardian(), signal.SIGSTOP)  # it cannot act, whatever it sees
    leader, child = small.pids("web")
    small.process.kill()
    until(lambda: not is_running(leader))
    os.kill(child, signal.SIGKILL)
    os.kill(small.guardian(), signal.SIGKILL)


def test_the_home_stays_locked_until_the_last_process_of_a_killed_supervisor_has_ended(start: Start) -> None:
    small = start(row("mule", *free_ports(1), kind="stubborn"))
    small.wait_for("whole", "ready")
    small.process.kill()
    small.process.wait()
    assert HomeLock.is_held(small.folder)
    HomeLock.acquire(small.folder, "http://next").release()
    assert small.running() == []


def test_two_run_side_by_side_and_stop_apart(start: Start) -> None:
    one, two = free_ports(2)
    left, right = start(row("web", one), name="left"), start(row("web", two), name="right")
    left.wait_for("whole", "ready")
    right.wait_for("whole", "ready")
    left.process.terminate()
    assert left.wait_for_death() == 0
    assert left.running() == []
    assert len(right.running()) == 2


def test_a_second_one_for_the_same_home_is_refused_with_the_firsts_pid(start: Start) -> None:
    one, two = free_ports(2)
    first = start(row("web", one))
    first.wait_for("whole", "ready")
    command = [sys.executable, str(RUNNER), str(first.folder), json.dumps([row("web", two)])]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert second.returncode == 1
    assert f"process {first.process.pid}, http://here" in second.stderr
    assert len(first.running()) == 2


def test_a_taken_port_stops_the_start_and_names_the_setting(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        small = start(row("web", server.getsockname()[1]))
        assert small.wait_for_death() == 1
    assert "set TANDEM_WEB_PORT to another port" in small.output()
    assert small.pids() == []


def guardians(parent: int) -> list[int]:
    """Living guardians of a supervisor."""
    path = Path(f"/proc/{parent}/task/{parent}/children")
    children = [int(pid) for pid in path.read_text(encoding="ascii").split()] if path.exists() else []
    return [pid for pid in children if is_running(pid) and b"guardian.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
