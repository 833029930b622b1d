"""``python -m bench.jobs [--jobs N] [--readers N]``: the durable job core on SQLite and PostgreSQL, beside bare Celery in the same run.

Everything is real: gateway, Celery worker, Redis, database with its commits (SQLite ``synchronous=full``). Only the worker's graph is empty, so that
the core is measured and no model. PostgreSQL is left out where there is none.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any, cast

import aiohttp
import pytest

from bench.rig.bare_celery import TASK, open_app
from bench.rig.job_platform import JobPlatform, job_platform
from bench.rig.processes import Peer
from tandem.events import open_notifier
from tandem.ids import JobId, StreamId, TenantId
from tandem.ports import NewEvent, Outcome, Storage
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobResult, JobStatus
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.testing.samples import Samples
from tandem.testing.services import throw_away_database_here

CONCURRENT = 16
CLAIMERS = 8
FAN_OUT_EVENTS = 100
FAN_OUT_GAP_S = 0.05
LIMITS: dict[str, tuple[float, str]] = {
    "commit to worker start, p50 ms": (50.0, "<="),
    "event to {readers} SSE readers, p95 ms": (50.0, "<="),
    "no-op job / bare Celery, latency p50": (3.0, "<="),
}


@dataclass
class Column:
    """The figures of one database."""

    name: str
    rows: dict[str, float] = field(default_factory=dict[str, float])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100, help="sequential no-op jobs, and the same number of Celery tasks")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the submit rounds")
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--claims", type=int, default=600, help="jobs that the claimers share")
    asked = parser.parse_args()
    columns = [_measure("SQLite", None, asked)]
    try:
        with throw_away_database_here() as url:
            columns.append(_measure("PostgreSQL", url, asked))
    except pytest.skip.Exception as error:
        print(f"PostgreSQL left out: {error}", file=sys.stderr)
    return _print(columns, asked)


def _measure(name: str, database_url: str | None, asked: argparse.Namespace) -> Column:
    column = Column(name)
    with job_platform(database_url, has_worker=False) as platform:
        print(f"{name}: submitting", file=sys.stderr)
        asyncio.run(_submit(platform, asked.seconds, column))
        print(f"{name}: fan-out to {asked.readers} readers", file=sys.stderr)
        asyncio.run(_fan_out(platform, asked.readers, column))
        print(f"{name}: claiming with {CLAIMERS} processes", file=sys.stderr)
        _claim_throughput(platform, asked.claims, column)
    with job_platform(database_url, has_worker=True) as platform:
        print(f"{name}: no-op jobs and bare Celery, in turn", file=sys.stderr)
        bare = Peer(
            "celery", [sys.executable, "-m", "bench.rig.bare_celery", platform.redis_url], platform.environment, None, platform.home / "celery.log"
        )
        try:
            asyncio.run(_no_ops(platform, asked.jobs, column))
        finally:
            bare.stop()
    return column


@asynccontextmanager
async def _session(platform: JobPlatform) -> AsyncGenerator[aiohttp.ClientSession]:
    headers = {"authorization": f"Bearer {platform.key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(platform.url, headers=headers, connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def _post(session: aiohttp.ClientSession) -> str:
    async with session.post("/v1/jobs", json={"input": "nothing", "effort": "low"}) as answer:
        body = await answer.json()
        if answer.status != 202:
            raise RuntimeError(f"a job was not accepted: {answer.status} {body}")
        return str(body["id"])


async def _submit(platform: JobPlatform, seconds: float, column: Column) -> None:
    """Accepted jobs, commit included, with one and with many in flight."""
    async with _session(platform) as session:
        for in_flight in (1, CONCURRENT):
            latencies: list[float] = []
            started = time.perf_counter()

            async def submitter(until: float, latencies: list[float]) -> None:
                while (begun := time.perf_counter()) < until:
                    await _post(session)
                    latencies.append(time.perf_counter() - begun)

            await asyncio.gather(*(submitter(started + seconds, latencies) for _ in range(in_flight)))
            column.rows[f"submits/s, {in_flight} in flight"] = len(latencies) / (time.perf_counter() - started)
            column.rows[f"submit p50 ms, {in_flight} in flight"] = 1000 * statistics.median(latencies)
            column.rows[f"submit p99 ms, {in_flight} in flight"] = 1000 * _percentile(latencies, 99)


async def _fan_out(platform: JobPlatform, readers: int, column: Column) -> None:
    """One job's events to many readers: from before the append to the arrival at each."""
    async with AsyncExitStack() as stack:
        storage = open_storage(platform.settings)
        stack.push_async_callback(storage.close)
        notifier = open_notifier(platform.settings)
        stack.push_async_callback(notifier.close)
        session = await stack.enter_async_context(_session(platform))
        job_id = await _post(session)
        claim = await storage.work.claim("bench", 600.0, 5, job_id=JobId(job_id))
        if claim is None:
            raise RuntimeError("the job of the benchmark is not free")
        ready = asyncio.Barrier(readers + 1)
        reading = [asyncio.create_task(_read(session, job_id, ready)) for _ in range(readers)]
        await ready.wait()
        for _ in range(FAN_OUT_EVENTS):
            # The same clock in one process: sender and readers share it.
            event = NewEvent(JobEvent.STEP_STARTED, {"sent": time.perf_counter()})
            await notifier.notify(await storage.work.append(claim.job_id, claim.epoch, [event]))
            await asyncio.sleep(FAN_OUT_GAP_S)
        await notifier.notify(await storage.work.finish(claim.job_id, claim.epoch, Outcome(JobStatus.COMPLETED, JobResult(output_text="done"))))
        delays = [delay for seen in await asyncio.gather(*reading) for delay in seen]
    if len(delays) != readers * FAN_OUT_EVENTS:
        raise RuntimeError(f"{len(delays)} events arrived, {readers * FAN_OUT_EVENTS} were sent")
    column.rows[f"event to {readers} SSE readers, p50 ms"] = 1000 * statistics.median(delays)
    column.rows[f"event to {readers} SSE readers, p95 ms"] = 1000 * _percentile(delays, 95)


async def _read(session: aiohttp.ClientSession, job_id: str, ready: asyncio.Barrier) -> list[float]:
    delays: list[float] = []
    is_first = True
    async with session.get(f"/v1/jobs/{job_id}/events", headers={"accept": "text/event-stream"}) as answer:
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            now = time.perf_counter()
            event = json.loads(line[6:])
            if is_first and event["type"] == JobEvent.ATTEMPT_STARTED:
                is_first = False
                await ready.wait()
            elif event["type"] == JobEvent.STEP_STARTED:
                delays.append(now - event["data"]["sent"])
    return delays


def _claim_throughput(platform: JobPlatform, jobs: int, column: Column) -> None:
    """Claim and finish, by several processes at once, until nothing is left."""
    asyncio.run(_drain_and_fill(platform.settings, jobs))
    begun = time.perf_counter()
    with ProcessPoolExecutor(CLAIMERS, mp_context=get_context("spawn")) as pool:
        pool.submit(int).result()  # the first child is up: imports are not measured below
        list(pool.map(_warm, range(CLAIMERS)))
        begun = time.perf_counter()
        done = list(pool.map(partial(_claim_all, platform.environment), range(CLAIMERS)))
    seconds = time.perf_counter() - begun
    if sum(done) != jobs:
        raise RuntimeError(f"{sum(done)} jobs were claimed, {jobs} were there")
    column.rows[f"claim + finish /s, {CLAIMERS} workers"] = jobs / seconds


async def _drain_and_fill(settings: Settings, jobs: int) -> None:
    storage = open_storage(settings)
    while (claim := await storage.work.claim("bench", 600.0, 5)) is not None:
        await storage.work.finish(claim.job_id, claim.epoch, Outcome(JobStatus.CANCELLED))
    samples = Samples()
    for _ in range(jobs):
        await storage.jobs.create(samples.job(tenant=TenantId("default")), max_unfinished=10**6)
    await storage.close()


def _warm(_: int) -> None:
    time.sleep(0.3)


def _claim_all(environment: dict[str, str], number: int) -> int:
    return asyncio.run(_claim_until_empty(open_storage(Settings.load(environment)), f"bench-{number}"))


async def _claim_until_empty(storage: Storage, worker: str) -> int:
    done = 0
    while (claim := await storage.work.claim(worker, 60.0, 5)) is not None:
        await storage.work.finish(claim.job_id, claim.epoch, Outcome(JobStatus.COMPLETED, JobResult(output_text="done")))
        done += 1
    await storage.close()
    return done


async def _no_ops(platform: JobPlatform, jobs: int, column: Column) -> None:
    """One after the other, a job and a Celery task in turn: from the call to the result in the caller's hands."""
    celery = cast("Any", open_app(platform.redis_url))

    def task() -> None:
        celery.send_task(TASK).get(timeout=30)

    ours: list[float] = []
    theirs: list[float] = []
    ids: list[str] = []
    async with _session(platform) as session:
        for number in range(jobs + 10):
            begun = time.perf_counter()
            job_id = await _post(session)
            async with session.get(f"/v1/jobs/{job_id}?wait=30") as answer:
                if (status := (await answer.json())["status"]) != "completed":
                    raise RuntimeError(f"a no-op job ended as {status}; see {platform.home}")
            between = time.perf_counter()
            await asyncio.to_thread(task)
            if number >= 10:  # the first ones warm up
                ours.append(between - begun)
                theirs.append(time.perf_counter() - between)
                ids.append(job_id)
    column.rows["no-op job, latency p50 ms"] = 1000 * statistics.median(ours)
    column.rows["bare Celery task, latency p50 ms"] = 1000 * statistics.median(theirs)
    column.rows["no-op job / bare Celery, latency p50"] = statistics.median(ours) / statistics.median(theirs)
    waits = [1000 * seconds for seconds in await _starts(platform.settings, ids)]
    column.rows["commit to worker start, p50 ms"] = statistics.median(waits)
    column.rows["commit to worker start, p95 ms"] = _percentile(waits, 95)


async def _starts(settings: Settings, job_ids: list[str]) -> list[float]:
    """Seconds from a job's creation to its first claim, by the database's clock."""
    storage = open_storage(settings)
    found: list[float] = []
    for job_id in job_ids:
        events = await storage.events.read(StreamId(job_id), -1, 10)
        started = next(event for event in events if event.type == JobEvent.ATTEMPT_STARTED)
        found.append((started.created_at - events[0].created_at).total_seconds())
    await storage.close()
    return found


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _print(columns: list[Column], asked: argparse.Namespace) -> int:
    limits = {name.format(readers=asked.readers): limit for name, limit in LIMITS.items()}
    print(f"\n| | {' | '.join(column.name for column in columns)} | wanted | |")
    print(f"|---|{'--:|' * len(columns)}--:|---|")
    is_kept = True
    for name in columns[0].rows:
        values = [column.rows[name] for column in columns]
        limit = limits.get(name)
        verdict = "" if limit is None else "kept" if max(values) <= limit[0] else "**broken**"
        is_kept &= verdict != "**broken**"
        wanted = "" if limit is None else f"≤ {limit[0]:g}"
        print(f"| {name} | {' | '.join(_shown(value) for value in values)} | {wanted} | {verdict} |")
    return 0 if is_kept else 1


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    sys.exit(main())
