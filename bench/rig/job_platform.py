"""Gateway, worker with an empty graph, Redis and a database, each a process of its own, for the job benchmarks."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.rig.processes import Peer
from tandem.settings import Settings
from tandem.supervisor.valkey import find_server
from tandem.testing.ports import free_ports


@dataclass(frozen=True)
class JobPlatform:
    """What runs, and how to reach it."""

    url: str
    key: str
    redis_url: str
    settings: Settings
    environment: dict[str, str]
    home: Path


@contextmanager
def job_platform(database_url: str | None, *, has_worker: bool) -> Generator[JobPlatform]:
    """A platform on the given database (None: a SQLite file of its own)."""
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder, ExitStack() as stack:
        home = Path(folder)
        gateway_port, redis_port, model_port = free_ports(3)
        redis_url = f"redis://127.0.0.1:{redis_port}/0"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")} | {
            "TANDEM_HOME": folder,
            "TANDEM_GATEWAY_PORT": str(gateway_port),
            "TANDEM_GATEWAY_MAX_QUEUED_JOBS": "1000000",
            "TANDEM_REDIS_URL": redis_url,
            "TANDEM_FAST_URL": f"http://127.0.0.1:{model_port}/v1",
            "TANDEM_SLOW_URL": f"http://127.0.0.1:{model_port}/v1",
            "TANDEM_FAST_MODEL": "bench",
            "TANDEM_SLOW_MODEL": "bench",
            "TANDEM_LOG_LEVEL": "warning",
        }
        if database_url is not None:
            environment["TANDEM_DATABASE_URL"] = database_url
        redis = [str(find_server()), "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        stack.callback(_started("redis", redis, environment, home).stop)
        subprocess.run([sys.executable, "-m", "gateway.setup"], env=environment, check=True, stderr=subprocess.DEVNULL)
        gateway = _started("gateway", [sys.executable, "-m", "gateway"], environment, home)
        stack.callback(gateway.stop)
        gateway.wait_until_up(f"http://127.0.0.1:{gateway_port}/healthz", 30)
        if has_worker:
            stack.callback(_started("worker", [sys.executable, "-m", "bench.rig.noop_graph"], environment, home).stop)
            _wait_for_worker(home / "run" / "worker.alive")
        key = (home / "secrets" / "local_key").read_text(encoding="utf-8").strip()
        yield JobPlatform(f"http://127.0.0.1:{gateway_port}", key, redis_url, Settings.load(environment), environment, home)


def _started(name: str, command: list[str], environment: dict[str, str], home: Path) -> Peer:
    return Peer(name, command, environment, None, home / f"{name}.log")


def _wait_for_worker(sign: Path) -> None:
    for _ in range(600):
        if sign.exists():
            return
        time.sleep(0.05)
    raise RuntimeError("the worker did not start; see its log")
