"""``python -m tandem.testing.chaos.soak``: hundreds of jobs under a fault every two seconds, and what is left of them.

Prints the chaos table and the memory of each process. The faults follow from the seed; their exact moments do not, for real processes have none.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from tandem.errors import StorageUnavailable
from tandem.ids import DEFAULT_TENANT, JobId
from tandem.testing.chaos.processes import until
from tandem.testing.chaos.receiver import Receiver, receiving
from tandem.testing.chaos.scene import Scene, Tally, staged
from tandem.testing.chaos.table import memory, table
from tandem.testing.chaos.town import LEASE_S, Town, founded
from tandem.testing.chaos.world import Order
from tandem.testing.services import throw_away_database

ROW: Final = 27
SAMPLE_S: Final = 5.0
MAX_WAITING: Final = 24
"""Jobs handed over and not ended; more would only stand in line."""
FREEZE_S: Final = LEASE_S + 1.0

Fault = Callable[[Scene], Awaitable[None]]


async def kill_worker(scene: Scene) -> None:
    """``kill -9`` of a worker group; another is started."""
    victim = scene.rng.choice(scene.town.workers)
    await scene.town.start_worker(is_awaited=False)
    scene.town.kill_worker(victim)
    scene.tally.kills += 1


async def kill_child(scene: Scene) -> None:
    """``kill -9`` of one pool process; its worker replaces it."""
    if children := scene.rng.choice(scene.town.workers).children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(scene.rng.choice(children), signal.SIGKILL)
        scene.tally.kills += 1


async def freeze_worker(scene: Scene) -> None:
    """A worker is frozen for longer than its lease, and wakes as a zombie."""
    victim = scene.rng.choice(scene.town.workers)
    victim.freeze()
    try:
        await asyncio.sleep(FREEZE_S)
    finally:
        victim.thaw()


async def stop_worker(scene: Scene) -> None:
    """SIGTERM, as a rolling restart does it; another is started."""
    victim = scene.rng.choice(scene.town.workers)
    await scene.town.start_worker(is_awaited=False)
    victim.terminate()


async def kill_redis(scene: Scene) -> None:
    """Redis dies with all it holds, and comes back empty."""
    if scene.town.redis is not None:
        scene.town.redis.kill()
    await asyncio.sleep(scene.rng.uniform(0.2, 1.5))
    await scene.town.start_redis()
    scene.tally.kills += 1


async def kill_gateway(scene: Scene) -> None:
    """The gateway dies in the middle of requests."""
    if scene.town.gateway is not None:
        scene.town.gateway.kill()
    await scene.town.start_gateway()
    scene.tally.kills += 1


async def kill_dispatcher(scene: Scene) -> None:
    """The dispatcher dies in the middle of deliveries and repairs."""
    if scene.town.dispatcher is not None:
        scene.town.dispatcher.kill()
    await scene.town.start_dispatcher()
    scene.tally.kills += 1


async def disturb_database(scene: Scene) -> None:
    """PostgreSQL throws everybody out; SQLite is locked by somebody else for a second."""
    if scene.town.is_sqlite:
        await asyncio.to_thread(hold_lock, scene.town.database_url, 1.0)
        return
    connection = await asyncpg.connect(scene.town.database_url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


async def cut_redis(scene: Scene) -> None:
    """Every connection to Redis is closed."""
    with contextlib.suppress(OSError):
        scene.town.tell_redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def hold_lock(url: str, seconds: float) -> None:
    """Keep everybody else from writing to a SQLite file."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")


FAULTS: Final[Sequence[Fault]] = (
    kill_worker,
    kill_worker,
    kill_child,
    freeze_worker,
    stop_worker,
    kill_redis,
    kill_gateway,
    kill_dispatcher,
    disturb_database,
    cut_redis,
)


@dataclass(slots=True)
class Soak:
    """One run.

    Args:
        scene: In a whole town.
        receiver: Gets a webhook per job.
        jobs: How many are handed over.
        fault_every_s: Seconds between two faults; 0 for a calm run.
        max_s: No more jobs are handed over after this time.
    """

    scene: Scene
    receiver: Receiver
    jobs: int
    fault_every_s: float
    max_s: float
    accepted: list[str] = field(default_factory=list[str])
    open: set[str] = field(default_factory=set[str])
    struck: Counter[str] = field(default_factory=Counter[str])
    curves: dict[str, list[float]] = field(default_factory=lambda: {"gateway": [], "dispatcher": [], "worker main": []})

    async def run(self) -> Tally:
        """Hand over, strike, wait until all is done, and count. Raises ``AssertionError`` for anything lost, doubled or with a gap."""
        begun = time.monotonic()
        background = [asyncio.create_task(self._watch_memory())]
        if self.fault_every_s > 0:
            background.append(asyncio.create_task(self._strike()))
        try:
            while len(self.accepted) < self.jobs and time.monotonic() - begun < self.max_s:
                for task in background:
                    if task.done():
                        task.result()
                await self._hand_over(len(self.accepted))
        finally:
            for task in background:
                task.cancel()
            broken = [end for end in await asyncio.gather(*background, return_exceptions=True) if isinstance(end, Exception)]
        if broken:
            raise broken[0]
        for worker in self.scene.town.workers:
            worker.thaw()
        await self.scene.town.make_whole(workers=2)
        await self.scene.ended(self.accepted)
        took_s = time.monotonic() - begun
        note = f"{took_s:.0f} s: " + (", ".join(f"{name} {count}" for name, count in sorted(self.struck.items())) or "calm")
        await self.scene.sound(self.accepted, injections=self.struck.total(), note=note)
        await self._webhooks()
        return self.scene.tally

    async def _hand_over(self, number: int) -> None:
        while len(self.open) >= MAX_WAITING:
            for job_id in list(self.open):
                # The fault of the moment may be the database's.
                with contextlib.suppress(StorageUnavailable):
                    if (await self.scene.job(job_id)).status.is_terminal:
                        self.open.discard(job_id)
            await asyncio.sleep(0.1)
        order = Order(step_s=round(self.scene.rng.uniform(0.01, 0.1), 3))
        key = f"soak-{self.scene.rng.random()}-{number}"
        job_id = await self.scene.submit_patiently(order, key, webhook_url=f"{self.receiver.url}/soak")
        self.accepted.append(job_id)
        self.open.add(job_id)
        await asyncio.sleep(0.02)

    async def _strike(self) -> None:
        while True:
            await asyncio.sleep(self.fault_every_s)
            fault = self.scene.rng.choice(FAULTS)
            await fault(self.scene)
            self.struck[fault.__name__] += 1
            for worker in [worker for worker in self.scene.town.workers if not worker.is_alive]:
                self.scene.town.workers.remove(worker)
            while len(self.scene.town.workers) < 2:
                await self.scene.town.start_worker(is_awaited=False)

    async def _watch_memory(self) -> None:
        while True:
            town = self.scene.town
            for name, group in (("gateway", town.gateway), ("dispatcher", town.dispatcher), ("worker main", next(iter(town.workers), None))):
                if group is not None and group.is_alive:
                    group.sample()
                    self.curves[name].extend(group.rss_mb[-1:])
            await asyncio.sleep(SAMPLE_S)

    async def _webhooks(self) -> None:
        """Each job has one webhook in the outbox, and it arrives."""

        def told() -> dict[str, set[str]]:
            ids: dict[str, set[str]] = {}
            for post in self.receiver.posts:
                ids.setdefault(_job_of(post.body), set()).add(post.webhook_id)
            return ids

        def missing() -> str:
            return f"{sorted(set(self.accepted) - set(told()))}\n{self.scene.town.logs()}"

        await until(lambda: set(self.accepted) <= set(told()), "each job's webhook has come", missing)
        doubled = [job_id for job_id, ids in told().items() if len(ids) != 1 and job_id in self.accepted]
        assert not doubled, doubled  # noqa: S101 - a test's own check
        for job_id in self.accepted:
            rows = await self.scene.storage.webhooks.deliveries(
                DEFAULT_TENANT, endpoint_id=None, job_id=JobId(job_id), state=None, after=None, limit=10
            )
            assert len(rows) == 1, (job_id, rows)  # noqa: S101 - a test's own check


def _job_of(body: bytes) -> str:
    return str(json.loads(body)["data"]["job_id"])


@asynccontextmanager
async def soaking_town(database: str) -> AsyncGenerator[Town]:
    """A town for a long run: jobs may lose many workers, for it is not them who are poisonous."""
    with tempfile.TemporaryDirectory(prefix="tandem-soak-") as folder:
        async with contextlib.AsyncExitStack() as stack:
            path = Path(folder)
            url = f"sqlite:///{path / 'tandem.sqlite3'}" if database == "sqlite" else await stack.enter_async_context(throw_away_database())
            changes = {"WORKER_MAX_ATTEMPTS": "50", "LOG_LEVEL": "warning", "EGRESS_TIMEOUT_S": "2"}
            yield await stack.enter_async_context(founded(path, url, **changes))


async def soak(database: str, *, seed: int, jobs: int, fault_every_s: float, max_s: float) -> tuple[Tally, dict[str, list[float]]]:
    """One whole run in a town of its own: its line of the table, and the memory of its processes."""
    async with soaking_town(database) as town, receiving() as receiver:
        await town.make_whole(workers=2)
        async with staged(town, ROW, seed) as scene:
            run = Soak(scene, receiver, jobs, fault_every_s, max_s)
            return await run.run(), run.curves


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit status is 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tandem.testing.chaos.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two faults; 0 for a calm run")
    parser.add_argument("--seconds", type=float, default=600.0, help="no more jobs are handed over after this time")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000), help="of the faults; printed")
    options = parser.parse_args(arguments)
    sys.stdout.write(f"soak: seed {options.seed}, {options.jobs} jobs, a fault every {options.every:g} s\n")
    sys.stdout.flush()
    is_sound = True
    for database in ["sqlite", "postgresql"] if options.database == "both" else [options.database]:
        try:
            tally, curves = asyncio.run(soak(database, seed=options.seed, jobs=options.jobs, fault_every_s=options.every, max_s=options.seconds))
        except AssertionError as error:
            is_sound = False
            sys.stdout.write(f"{database}: BROKEN: {error}\n")
        else:
            sys.stdout.write(f"{table([tally])}\n{memory(curves)}\n")
        sys.stdout.flush()
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())


__all__ = ["Soak", "soak"]
