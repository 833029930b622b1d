"""A whole platform for tests: ``tandem up`` as a process of its own, on free ports, with a home of its own.

Ends what it started, by process id. It knows the outside only: addresses, the key file, the log folder.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tandem.settings import ENV_PREFIX
from tandem.testing.ports import free_ports

_PORT_KEYS: Final = ("GATEWAY_PORT", "UI_PORT", "REDIS_PORT", "FAST_PORT", "SLOW_PORT")
_ROOT: Final = Path(__file__).resolve().parents[2]
PLAIN_SCRIPT: Final[Mapping[str, object]] = {"default": {"text": "Step by step: it is simple.\nAnswer: 12", "token_gap_s": 0.01}}


@dataclass(frozen=True, slots=True)
class Platform:
    """A running ``tandem up``."""

    process: subprocess.Popen[bytes]
    home: Path
    output: Path
    """What ``tandem up`` printed."""
    environ: Mapping[str, str]

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.environ['TANDEM_GATEWAY_PORT']}"

    @property
    def pages(self) -> str:
        return f"http://127.0.0.1:{self.environ['TANDEM_UI_PORT']}"

    @property
    def key(self) -> str:
        return (self.home / "secrets" / "local_key").read_text(encoding="utf-8").strip()

    def printed(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, timeout_s: float) -> str:
        """Wait until ``tandem up`` has printed ``text``; returns all of its output.

        Raises:
            AssertionError: It ended first, or the time is over; the message holds its output and the ends of the logs.
        """
        deadline = time.monotonic() + timeout_s
        while text not in (printed := self.printed()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"`tandem up` did not print {text!r} (exit {self.process.poll()}):\n{printed}\n{self.logs()}")
            time.sleep(0.1)
        return printed

    def logs(self, lines: int = 30) -> str:
        """The last lines of every log."""
        parts: list[str] = []
        for path in sorted((self.home / "logs").glob("*.log")):
            tail = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {path.name}", *tail]))
        return "\n".join(parts)

    def processes(self) -> dict[int, str]:
        """Every living process whose environment names this home, and the embedded Valkey: pid to command line (Linux).

        A Valkey server writes its title over its environment; the port in that title tells whose it is.
        """
        marker = f"{ENV_PREFIX}HOME={self.home}\0".encode()
        valkey = f"valkey-server 127.0.0.1:{self.environ[f'{ENV_PREFIX}REDIS_PORT']}"
        found: dict[int, str] = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            try:
                state = (folder / "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[0]
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if state != "Z" and (valkey in line or marker in (folder / "environ").read_bytes() + b"\0"):
                    found[int(folder.name)] = line
            except (OSError, IndexError):
                continue  # it ended while we looked
        return found

    def stop(self, timeout_s: float = 100.0) -> int:
        """Interrupt it and wait; whatever is left afterwards is killed by pid. Returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(10)
        finally:
            for pid in self.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


@contextmanager
def running_platform(home: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Generator[Platform]:
    """Start ``tandem up ARGUMENTS`` with state in ``home``, on free ports, and stop it in the end."""
    home.mkdir(parents=True, exist_ok=True)
    ports = {f"{ENV_PREFIX}{key}": str(port) for key, port in zip(_PORT_KEYS, free_ports(len(_PORT_KEYS)), strict=True)}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(ENV_PREFIX) and key != "PYTHONDONTWRITEBYTECODE"}
    full = inherited | ports | {f"{ENV_PREFIX}HOME": str(home), "PYTHONPATH": str(_ROOT)} | dict(environ or {})
    output = home / "up.txt"
    with output.open("wb") as sink:
        process = subprocess.Popen([sys.executable, "-m", "tandem", "up", *arguments], env=full, stdout=sink, stderr=subprocess.STDOUT, cwd=_ROOT)
    platform = Platform(process, home, output, full)
    try:
        yield platform
    finally:
        platform.stop()


@contextmanager
def scripted_model_process(folder: Path, script: Mapping[str, object] = PLAIN_SCRIPT) -> Generator[str]:
    """A scripted model server in a process of its own; yields its base URL with ``/v1``."""
    path = folder / "script.json"
    path.write_text(json.dumps(script), encoding="utf-8")
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "tandem.testing.scripted_model", "--port", str(port), "--script", str(path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(_ROOT)}) as process:
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


@contextmanager
def platform_on_script(
    folder: Path, *arguments: str, script: Mapping[str, object] = PLAIN_SCRIPT, environ: Mapping[str, str] | None = None
) -> Generator[Platform]:
    """A ready platform with both lanes on one scripted model; webhook receivers on 127.0.0.1 are allowed."""
    with scripted_model_process(folder, script) as url:
        lanes = {f"{ENV_PREFIX}{lane}_{key}": value for lane in ("FAST", "SLOW") for key, value in (("URL", url), ("MODEL", "scripted"))}
        settings = lanes | {f"{ENV_PREFIX}EGRESS_ALLOW": "127.0.0.1", f"{ENV_PREFIX}DATABASE_SYNCHRONOUS": "normal"} | dict(environ or {})
        with running_platform(folder / "home", "--no-proof", *arguments, environ=settings) as platform:
            platform.wait_for("Tandem is ready", timeout_s=200)
            yield platform
