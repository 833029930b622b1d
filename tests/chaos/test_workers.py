"""Workers that die, freeze, crash while they store, or are asked to stop (rows 1-3, 13-16)."""

import asyncio
import os
import signal
import time

import pytest

from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobStatus
from tandem.testing.chaos.processes import until
from tandem.testing.chaos.scene import Holder, Scene, bound_s, is_long
from tandem.testing.chaos.town import LEASE_S, STEADY_LEASE_S
from tandem.testing.chaos.world import STEPS, Order

RESUME_S = LEASE_S + 2.0
"""The promise: after a worker's death its job goes on within the lease and two seconds."""


async def attempts_of(scene: Scene, job_id: str) -> list[float]:
    """When each attempt began, by the database's clock."""
    return [event.created_at.timestamp() for event in await scene.events(job_id) if event.type == JobEvent.ATTEMPT_STARTED]


async def test_row_01_a_worker_group_killed_in_the_middle_of_a_step_is_replaced_within_the_lease_and_two_seconds(scene: Scene) -> None:
    struck = await scene.struck(Order(step_s=0.3), "branch:1", lambda holder: scene.town.kill_worker(holder.worker))
    [job] = await scene.ended([struck.job_id])

    resumed_s = min(begun for begun in await attempts_of(scene, job.id) if begun > struck.at) - struck.at
    assert resumed_s <= bound_s(RESUME_S), f"{resumed_s:.2f} s"
    assert job.status is JobStatus.COMPLETED
    types = [event.type for event in await scene.events(job.id)]
    assert types.count(JobEvent.ATTEMPT_LOST) == job.lost >= 1
    calls = scene.town.world.of(job.id)
    assert not [call for call in calls if call.key == "plan" and call.at > struck.at], "a finished step is not run again"
    await scene.sound([job.id], kills=struck.blows, note=f"resumed after {resumed_s:.1f} s")


@pytest.mark.timeout(600)
async def test_row_01_worker_groups_killed_at_random_phases_lose_and_double_nothing(scene: Scene) -> None:
    kills = 50 if is_long() else 6
    jobs: list[str] = []
    for _ in range(kills):
        jobs += [await scene.submit(Order(step_s=0.08)) for _ in range(3)]
        await asyncio.sleep(scene.rng.uniform(0.0, 0.6))
        scene.town.kill_worker(scene.rng.choice(scene.town.workers))
        await scene.town.start_worker()
    await scene.ended(jobs)
    await scene.sound(jobs, injections=kills, kills=kills)


async def test_row_02_a_killed_child_is_replaced_and_its_worker_stays(scene: Scene) -> None:
    before: set[int] = set()

    def kill_child(holder: Holder) -> None:
        before.update(holder.worker.children())
        assert holder.pid in before
        os.kill(holder.pid, signal.SIGKILL)

    struck = await scene.struck(Order(step_s=0.3), "plan", kill_child)
    worker = struck.holder.worker
    [job] = await scene.ended([struck.job_id])

    assert worker.is_alive
    assert job.lost >= 1
    await until(lambda: bool(set(worker.children()) - before), "the child is replaced", worker.tail)
    await scene.sound([job.id], kills=struck.blows)


async def test_row_03_a_worker_frozen_for_longer_than_its_lease_writes_nothing_when_it_wakes(scene: Scene) -> None:
    struck = await scene.struck(Order(step_s=0.4), "plan", lambda holder: holder.worker.freeze())
    job_id, zombie = struck.job_id, struck.holder.worker
    frozen_at = time.monotonic()
    try:
        if scene.town.is_sqlite:
            # A process frozen inside a write transaction keeps SQLite's lock until it wakes; that is the one thing others must wait for.
            await asyncio.sleep(LEASE_S + 1.5)
        else:
            await scene.ended([job_id])
    finally:
        zombie.thaw()
    frozen_s = time.monotonic() - frozen_at
    [job] = await scene.ended([job_id])
    await asyncio.sleep(1.5)  # the zombie wakes with its old epoch and finishes the step it was in

    assert zombie.is_alive
    assert job.status is JobStatus.COMPLETED
    events = await scene.events(job_id)
    assert [event.type for event in events].count(JobEvent.COMPLETED) == 1
    assert events[-1].type == JobEvent.COMPLETED, "nothing is written after the end"
    await scene.sound([job_id], injections=struck.blows, note=f"frozen for {frozen_s:.1f} s")


@pytest.mark.workers(2, WORKER_LEASE_S=str(STEADY_LEASE_S))
async def test_row_13_a_rolling_restart_under_load_fails_and_loses_no_job(scene: Scene) -> None:
    jobs = [await scene.submit(Order(step_s=0.15)) for _ in range(10)]
    for worker in list(scene.town.workers):
        await scene.town.start_worker(WORKER_LEASE_S=str(STEADY_LEASE_S))
        await scene.town.stop(worker)
    done = await scene.ended(jobs)

    assert {job.status for job in done} == {JobStatus.COMPLETED}
    assert {job.lost for job in done} == {0}, "a worker that stops gives its job back; none is found by its lease"
    await scene.sound(jobs, injections=2)


async def test_row_14_a_job_whose_worker_dies_after_the_last_node_is_finished_once(scene: Scene) -> None:
    scene.town.world.arm("before_finish")
    job_id = await scene.submit()
    [job] = await scene.ended([job_id])

    assert (job.status, job.attempt > 1) == (JobStatus.COMPLETED, True)
    died_at = scene.town.world.fired_at("before_finish")
    assert not [call for call in scene.town.world.of(job_id) if call.at > died_at], "no step is run again"
    assert (job.output_text or "").split(",") == sorted(set(STEPS) - {"final"})
    await scene.sound([job_id], kills=1)


async def test_row_15_a_worker_killed_inside_a_checkpoint_repeats_no_effect(scene: Scene) -> None:
    scene.town.world.arm("in_put")
    job_id = await scene.submit()
    [job] = await scene.ended([job_id])

    assert (job.status, job.attempt > 1) == (JobStatus.COMPLETED, True)
    died_at = scene.town.world.fired_at("in_put")
    again = {call.key for call in scene.town.world.of(job_id) if call.at > died_at}
    assert again == {"verify", "final"}, "nodes may run again, the ledger keeps each effect at one"
    await scene.sound([job_id], kills=1)


async def test_row_15_a_call_that_writes_is_never_made_twice(scene: Scene) -> None:
    struck = await scene.struck(Order(do="act", step_s=0.4), "branch:0", lambda holder: scene.town.kill_worker(holder.worker), after_s=0.6)
    [job] = await scene.ended([struck.job_id])

    assert scene.town.world.counts(job.id)["verify"] <= 1
    assert job.status is JobStatus.COMPLETED or (job.error is not None and job.error.code == "outcome_unknown"), job.error
    await scene.sound([job.id], kills=struck.blows, status=None)


async def test_row_16_a_worker_killed_before_the_first_checkpoint_leaves_a_job_that_begins_anew(scene: Scene) -> None:
    scene.town.world.arm("before_first_put")
    job_id = await scene.submit()
    [job] = await scene.ended([job_id])

    assert (job.status, job.attempt > 1) == (JobStatus.COMPLETED, True)
    await scene.sound([job_id], kills=1)
