"""A Tandem to be maltreated: gateway, dispatcher, workers and a Redis without persistence, each a real process that a test kills, freezes or starts.

Knows processes and addresses; what jobs do is in ``world``, what a test asks of them in ``scene``. The workers are
``tests/chaos/worker.py``: Tandem's own worker around a small graph that obeys an ``Order``.
"""

import asyncio
import base64
import os
import secrets
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from tandem.settings import ENV_PREFIX, Settings
from tandem.supervisor.valkey import find_server
from tandem.testing.chaos.processes import PATIENCE_S, ROOT, Group, start_group, until
from tandem.testing.chaos.world import World
from tandem.testing.ports import free_ports

WORKER: Final = ROOT / "tests" / "chaos" / "worker.py"
LEASE_S: Final = 2.0
"""Of workers: short, so that a test need not wait. A machine that stalls for longer costs an attempt and no promise; where a test says that nobody
loses a lease, its workers have ``STEADY_LEASE_S``."""
STEADY_LEASE_S: Final = 30.0
"""Of workers whose lease no machine is busy enough to cost them."""
MAX_ATTEMPTS: Final = 6
"""Workers that a job may lose: more than random faults and a stalling machine together cost one that is not poisonous."""


@dataclass(slots=True)
class Town:
    """One database, one Redis, and the processes over them. Nothing here belongs to an event loop."""

    folder: Path
    database_url: str
    changes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings (without the prefix) that differ from a chaos town's own."""
    redis: Group | None = None
    gateway: Group | None = None
    dispatcher: Group | None = None
    workers: list[Group] = field(default_factory=list[Group])
    gone: list[Group] = field(default_factory=list[Group])
    """Processes that have ended, for their logs."""
    _ports: list[int] = field(default_factory=lambda: free_ports(2))
    _secrets: tuple[str, str] = field(
        default_factory=lambda: (secrets.token_hex(32), f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"), repr=False
    )
    _started: int = 0

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def url(self) -> str:
        """Of the gateway."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def redis_port(self) -> int:
        return self._ports[1]

    @property
    def world(self) -> World:
        return World(self.folder / "world")

    @property
    def webhook_secret(self) -> str:
        return self._secrets[1]

    @property
    def key(self) -> str:
        """The local API key, which the first start makes."""
        return (self.folder / "secrets" / "local_key").read_text(encoding="utf-8").strip()

    def environ(self, **changes: str) -> dict[str, str]:
        """The environment of a process; ``changes`` are settings without the prefix, or names that begin with ``CHAOS_`` or ``LD_``."""
        own = {
            "HOME": str(self.folder),
            "DATABASE_URL": self.database_url,
            "DATABASE_SYNCHRONOUS": "normal",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "GATEWAY_PORT": str(self._ports[0]),
            "GATEWAY_HEARTBEAT_S": "1",
            "PEPPER": self._secrets[0],
            "WEBHOOK_SECRET": self._secrets[1],
            "WORKER_LEASE_S": str(LEASE_S),
            "WORKER_MODEL_PATIENCE_S": "0",
            "WORKER_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
            "WORKER_DRAIN_S": "5",
            "WORKER_STEP_TIMEOUT_S": "6",
            "DISPATCHER_POLL_S": "0.2",
            "DISPATCHER_REHINT_AFTER_S": "1",
            "EGRESS_ALLOW": "127.0.0.1",
            "EGRESS_TIMEOUT_S": "2",
            "FAST_URL": "http://127.0.0.1:9/v1",
            "FAST_MODEL": "none",
            "SLOW_URL": "http://127.0.0.1:9/v1",
            "SLOW_MODEL": "none",
            "CHAOS_WORLD": str(self.world.folder),
            **self.changes,
            **changes,
        }
        left_out = {"PYTHONDONTWRITEBYTECODE"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith((ENV_PREFIX, "CHAOS_")) and name not in left_out}
        ours = {name if name.startswith(("CHAOS_", "LD_")) else f"{ENV_PREFIX}{name}": value for name, value in own.items()}
        return inherited | ours | {"PYTHONPATH": str(ROOT)}

    def settings(self, **changes: str) -> Settings:
        """What the processes are told, for stores that a test opens itself."""
        return Settings.load({name: value for name, value in self.environ(**changes).items() if name.startswith(ENV_PREFIX)})

    async def found(self) -> None:
        """Schema and key; call it once, before anything is started."""
        setup = start_group("setup", [sys.executable, "-m", "gateway.setup"], self.environ(), self.folder / "logs")
        await until(lambda: not setup.is_alive, "the setup is done", setup.tail)
        assert setup.process.returncode == 0, setup.tail()  # noqa: S101 - a test's own check

    async def start_redis(self) -> Group:
        """Redis on the town's port, empty: nothing is ever written to a disk."""
        port = str(self.redis_port)
        command = [str(find_server()), "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self.redis = group = start_group("redis", command, self.environ(), self.folder / "logs")
        await until(self.is_redis_up, "redis answers", group.tail)
        return group

    async def start_gateway(self, *, max_file_bytes: int | None = None, **changes: str) -> Group:
        """The gateway, answering."""
        command = [sys.executable, "-m", "gateway"]
        self.gateway = group = start_group("gateway", command, self.environ(**changes), self.folder / "logs", max_file_bytes=max_file_bytes)
        await self._is_answering(group)
        return group

    async def start_dispatcher(self, **changes: str) -> Group:
        """The dispatcher, sweeping."""
        self._dispatcher_sign.unlink(missing_ok=True)
        self.dispatcher = group = start_group(
            "dispatcher", [sys.executable, "-m", "gateway.dispatcher"], self.environ(**changes), self.folder / "logs"
        )
        await self._is_sweeping(group)
        return group

    async def start_worker(self, *, max_memory_bytes: int | None = None, is_awaited: bool = True, **changes: str) -> Group:
        """A worker process group with a home of its own, consuming."""
        self._started += 1
        name = f"worker{self._started}"
        home = self.folder / name
        environ = self.environ(HOME=str(home), **changes)
        group = start_group(name, [sys.executable, str(WORKER)], environ, self.folder / "logs", max_memory_bytes=max_memory_bytes)
        group.is_plain = not changes and max_memory_bytes is None
        self.workers.append(group)
        if is_awaited:
            await self.is_consuming(group)
        return group

    async def is_consuming(self, worker: Group) -> None:
        """Wait until the worker waits for hints."""
        await until(lambda: _has_begun(worker, worker.home / "run" / "worker.alive"), f"{worker.name} consumes", worker.tail)

    async def only_worker(self, max_memory_bytes: int | None = None, **changes: str) -> Group:
        """A worker with settings of its own instead of all others, until the next test."""
        self.kill_workers()
        return await self.start_worker(max_memory_bytes=max_memory_bytes, is_awaited=True, **changes)

    async def only_workers(self, count: int, **changes: str) -> list[Group]:
        """So many of them."""
        self.kill_workers()
        return await asyncio.gather(*(self.start_worker(max_memory_bytes=None, is_awaited=True, **changes) for _ in range(count)))

    def kill_workers(self) -> None:
        for worker in list(self.workers):
            self.kill_worker(worker)

    def kill_worker(self, worker: Group) -> None:
        """``kill -9`` of the group, which is forgotten."""
        worker.kill()
        self._forget(worker)

    async def stop(self, worker: Group) -> int:
        """Ask a worker to stop, and wait; its exit code."""
        worker.terminate()
        await until(lambda: not worker.is_alive, f"{worker.name} has stopped", worker.tail)
        self._forget(worker)
        return worker.process.returncode

    async def make_whole(self, workers: int = 2) -> None:
        """Start whatever is missing and wait for all of it, so that each test begins alike."""
        for worker in list(self.workers):
            if not (worker.is_alive and worker.is_plain) or worker.is_leaving:
                self.kill_worker(worker)
            else:
                worker.thaw()
        if self.redis is not None:
            self.redis.thaw()
        if self.redis is None or not self.redis.is_alive:
            await self.start_redis()
        await asyncio.gather(
            self.start_gateway() if self.gateway is None or not self.gateway.is_alive else self._is_answering(self.gateway),
            self.start_dispatcher() if self.dispatcher is None or not self.dispatcher.is_alive else self._is_sweeping(self.dispatcher),
            *(self.is_consuming(worker) for worker in self.workers),
            *(self.start_worker() for _ in range(workers - len(self.workers))),
        )

    def raze(self) -> None:
        """End everything that was started here, by its id."""
        for group in (*self.workers, self.gateway, self.dispatcher, self.redis):
            if group is not None:
                group.thaw()
                group.kill()

    def logs(self) -> str:
        """The ends of all logs."""
        groups = [*self.gone[-3:], *self.workers, *(group for group in (self.gateway, self.dispatcher) if group)]
        return "\n".join(group.tail() for group in groups)

    def is_redis_up(self) -> bool:
        """Whether Redis answers a PING."""
        try:
            with socket.create_connection(("127.0.0.1", self.redis_port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def tell_redis(self, *words: str) -> bytes:
        """Send one command and return the start of what it answers."""
        with socket.create_connection(("127.0.0.1", self.redis_port), timeout=PATIENCE_S) as connection:
            connection.sendall(f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words))
            return connection.recv(65_536)

    def _forget(self, worker: Group) -> None:
        self.workers.remove(worker)
        self.gone.append(worker)

    @property
    def _dispatcher_sign(self) -> Path:
        return self.folder / "run" / "dispatcher.alive"

    async def _is_answering(self, gateway: Group) -> None:
        await until(lambda: self._answers(gateway), "the gateway answers", gateway.tail)

    async def _is_sweeping(self, dispatcher: Group) -> None:
        await until(lambda: _has_begun(dispatcher, self._dispatcher_sign), "the dispatcher sweeps", dispatcher.tail)

    async def _answers(self, group: Group) -> bool:
        assert group.is_alive, group.tail()  # noqa: S101 - a test's own check
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
                return (await http.get(f"{self.url}/healthz")).status_code == 200
        except httpx.HTTPError:
            return False


def _has_begun(group: Group, alive: Path) -> bool:
    assert group.is_alive, group.tail()  # noqa: S101 - a test's own check
    return alive.exists()


@asynccontextmanager
async def founded(folder: Path, database_url: str, **changes: str) -> AsyncGenerator[Town]:
    """A town of a test's own, razed in the end; nothing is started but the schema and the key are there."""
    town = Town(folder, database_url, changes)
    try:
        await town.found()
        yield town
    finally:
        town.raze()


__all__ = ["LEASE_S", "MAX_ATTEMPTS", "STEADY_LEASE_S", "Town", "founded"]
