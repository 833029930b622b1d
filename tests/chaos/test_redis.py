"""Redis dies, freezes, forgets, repeats itself (rows 4-7 and 10): it only carries hints, so nothing depends on it."""

import asyncio
import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.queue import CeleryHintQueue
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobStatus
from tandem.testing.chaos.processes import PATIENCE_S, ROOT, until
from tandem.testing.chaos.scene import Scene, bound_s, is_long
from tandem.testing.chaos.town import STEADY_LEASE_S
from tandem.testing.chaos.world import Order

CLAIMER = Path(__file__).with_name("claimer.py")


async def readiness(scene: Scene) -> dict[str, object]:
    answer = await scene.http.get("/readyz")
    return {"status": answer.status_code, "redis": answer.json()["components"]["redis"]["state"]}


def are_hints_taken(scene: Scene) -> bool:
    return scene.town.tell_redis("LLEN", "tandem:autopilot").startswith(b":0")


async def test_row_04_a_hint_that_dies_with_a_frozen_worker_is_given_again(scene: Scene) -> None:
    jobs: list[str] = []

    async def is_taken_by_the_frozen() -> bool:
        """A frozen worker takes a hint only if it was waiting for one, and for a second only: if not, the job is done and another one is tried."""
        await scene.ended(jobs)
        await until(lambda: are_hints_taken(scene), "no hint is left", scene.town.logs)
        async with scene.frozen_workers():
            jobs.append(await scene.submit())
            with contextlib.suppress(AssertionError):
                await until(lambda: are_hints_taken(scene), "the hint is taken", str, timeout_s=2)
                scene.town.kill_workers()
                return True
        return False

    await until(is_taken_by_the_frozen, "a frozen worker takes a hint", scene.town.logs)
    await scene.town.start_worker()
    await scene.ended(jobs)
    await scene.sound(jobs, kills=2)


@pytest.mark.workers(2, WORKER_LEASE_S=str(STEADY_LEASE_S))
async def test_row_05_redis_killed_in_the_middle_of_jobs_and_of_a_queue_loses_nothing(scene: Scene) -> None:
    jobs = [await scene.submit(Order(step_s=0.15)) for _ in range(8)]
    await scene.outside(jobs[0], "plan")
    assert scene.town.redis is not None
    attempts = {job_id: (await scene.job(job_id)).attempt for job_id in jobs}
    running = [job_id for job_id, attempt in attempts.items() if attempt == 1]

    scene.town.redis.kill()
    streamed = await scene.streamed(running[0], [])
    await scene.town.start_redis()
    done = await scene.ended(jobs)

    assert running
    assert {job.attempt for job in done} == {1}, "a running step goes on; nobody loses a lease"
    assert streamed == [event.sequence_number for event in await scene.events(running[0])], "a live stream reads the table"
    await scene.sound(jobs, kills=1)


async def test_row_06_without_redis_jobs_are_still_accepted_and_start_when_it_returns(scene: Scene) -> None:
    assert scene.town.redis is not None
    scene.town.redis.kill()
    begun = time.monotonic()
    jobs = [await scene.submit() for _ in range(5)]
    submit_s = (time.monotonic() - begun) / len(jobs)
    await until_degraded(scene)

    await scene.town.start_redis()
    await scene.ended(jobs)

    assert submit_s <= bound_s(1.0), f"{submit_s:.2f} s"
    await scene.sound(jobs, kills=1, note=f"a submit took {submit_s * 1_000:.0f} ms")


async def until_degraded(scene: Scene) -> None:
    async def is_degraded() -> bool:
        return await readiness(scene) == {"status": 200, "redis": "degraded"}

    await until(is_degraded, "readiness says that redis is away", scene.town.logs)


async def test_row_07_cut_connections_and_a_half_open_redis_stop_no_work_for_long(scene: Scene) -> None:
    assert scene.town.redis is not None
    scene.town.tell_redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    cut = await scene.submit()
    [job] = await scene.ended([cut])
    assert job.status is JobStatus.COMPLETED

    scene.town.redis.freeze()
    half_open = await scene.submit()
    await until_degraded(scene)
    await asyncio.sleep(60 if is_long() else 3)
    scene.town.redis.thaw()
    thawed = time.monotonic()
    await scene.ended([half_open])
    consuming_s = time.monotonic() - thawed
    assert consuming_s <= 60
    await scene.sound([cut, half_open], injections=2, note=f"consuming again after {consuming_s:.1f} s")


async def test_row_10_ten_hints_for_one_job_start_it_once(scene: Scene) -> None:
    queue = CeleryHintQueue(scene.town.settings())
    job_id = await scene.submit(Order(step_s=0.1))
    assert await queue.hint(10)
    await queue.close()
    [job] = await scene.ended([job_id])
    started = [event.type for event in await scene.events(job_id)].count(JobEvent.ATTEMPT_STARTED)
    assert started == 1 + job.lost, "nobody begins it beside its owner"
    await scene.sound([job_id], injections=10)


async def test_row_10_eight_processes_that_claim_at_once_never_get_the_same_job(scene: Scene) -> None:
    async with scene.frozen_workers():
        jobs = [await scene.submit() for _ in range(24)]
        command = [sys.executable, str(CLAIMER)]
        claimers = [
            subprocess.Popen(command, env=scene.town.environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(8)
        ]
        await asyncio.gather(*(asyncio.to_thread(lines_until, claimer, "ready") for claimer in claimers))
        said = await asyncio.gather(*(asyncio.to_thread(race, claimer) for claimer in claimers))
        for claimer in claimers:
            await asyncio.to_thread(claimer.communicate, "give back\n", PATIENCE_S)
    claimed = [job_id for ids in said for job_id in ids]
    assert sorted(claimed) == sorted(jobs)
    assert sum(bool(ids) for ids in said) >= 2, "it was a race"
    assert {claimer.returncode for claimer in claimers} == {0}
    await scene.ended(jobs)
    await scene.sound(jobs, injections=8)


def race(claimer: "subprocess.Popen[str]") -> list[str]:
    """Let one process go; what it claimed."""
    assert claimer.stdin
    claimer.stdin.write("go\n")
    claimer.stdin.flush()
    return lines_until(claimer, "none")


def lines_until(claimer: "subprocess.Popen[str]", last: str) -> list[str]:
    """What a process says before its line ``last``."""
    assert claimer.stdout
    lines: list[str] = []
    for line in claimer.stdout:
        if line.strip() == last:
            return lines
        lines.append(line.strip())
    raise AssertionError(f"a claimer ended (exit {claimer.wait()}) before it said {last!r}: {lines}")
