"""Callers who cancel in every state, answer twice or never (rows 17 and 18)."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta

import pytest

from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobStatus
from tandem.testing.chaos.processes import until
from tandem.testing.chaos.scene import Scene, bound_s, is_long
from tandem.testing.chaos.world import Order
from tandem.testing.scripted_answers import Answer, Script
from tandem.testing.scripted_model import ScriptedModelServer


async def into(scene: Scene, status: JobStatus) -> str:
    """A job that stands at ``status``."""
    match status:
        case JobStatus.SCHEDULED:
            job_id = await scene.submit(run_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
        case JobStatus.QUEUED:
            job_id = await scene.submit()
        case JobStatus.IN_PROGRESS:
            job_id = await scene.submit(Order(step_s=1.0))
        case JobStatus.INPUT_REQUIRED:
            job_id = await scene.submit(Order(do="ask"))
        case JobStatus.BUDGET_REACHED:
            job_id = await scene.submit(Order(do="budget"), on_budget="wait")
        case JobStatus.PAUSED:
            job_id = await scene.submit(Order(step_s=0.5))
            assert (await scene.post(f"/v1/jobs/{job_id}/pause")).status_code == 200
        case _:
            job_id = await scene.submit()
    await scene.reaches(job_id, status)
    return job_id


@pytest.mark.parametrize(
    "status",
    [
        JobStatus.SCHEDULED,
        JobStatus.QUEUED,
        JobStatus.IN_PROGRESS,
        JobStatus.INPUT_REQUIRED,
        JobStatus.BUDGET_REACHED,
        JobStatus.PAUSED,
        JobStatus.COMPLETED,
    ],
)
async def test_row_17_a_cancel_in_any_state_twice_ends_the_job_once(scene: Scene, status: JobStatus) -> None:
    async with scene.frozen_workers() if status is JobStatus.QUEUED else contextlib.nullcontext():
        job_id = await into(scene, status)
        answers = await asyncio.gather(*(scene.post(f"/v1/jobs/{job_id}/cancel") for _ in range(2)))
        answers.append(await scene.post(f"/v1/jobs/{job_id}/cancel"))
    begun = time.monotonic()
    expected = JobStatus.COMPLETED if status is JobStatus.COMPLETED else JobStatus.CANCELLED
    [job] = await scene.ended([job_id])
    ended_s = time.monotonic() - begun

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert job.status is expected
    assert ended_s <= bound_s(3.0), f"{ended_s:.2f} s"
    await scene.sound([job_id], injections=3, status=expected)


async def test_row_17_a_cancel_that_races_the_end_leaves_one_end(scene: Scene) -> None:
    jobs = [await scene.submit(Order(step_s=0.01)) for _ in range(40 if is_long() else 12)]

    async def cancel_late(job_id: str) -> None:
        await scene.outside(job_id, "final")
        await asyncio.sleep(scene.rng.uniform(0.0, 0.03))
        assert (await scene.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200

    await asyncio.gather(*(cancel_late(job_id) for job_id in jobs))
    done = await scene.ended(jobs)
    assert {job.status for job in done} <= {JobStatus.COMPLETED, JobStatus.CANCELLED}
    cancelled = sum(job.status is JobStatus.CANCELLED for job in done)
    await scene.sound(jobs, injections=len(jobs), status=None, note=f"{cancelled} of {len(jobs)} were cancelled in time")


@pytest.mark.workers(0)
async def test_row_17_a_cancel_closes_the_models_connection_within_a_second(scene: Scene) -> None:
    async with ScriptedModelServer(Script(default=Answer(text="a b c d", token_gap_s=60))) as model:
        await scene.town.only_worker(SLOW_URL=model.url)
        job_id = await scene.submit(Order(do="model"))
        await until(lambda: bool(model.exchanges), "the model is asked", scene.town.logs)

        begun = time.monotonic()
        assert (await scene.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200
        await until(lambda: model.exchanges[0].has_client_left, "the model's connection is closed", scene.town.logs, every_s=0.01)
        closed_s = time.monotonic() - begun

        [job] = await scene.ended([job_id])
    assert job.status is JobStatus.CANCELLED
    assert closed_s <= bound_s(1.0), f"{closed_s:.2f} s"
    await scene.sound([job_id], status=JobStatus.CANCELLED, note=f"connection closed after {closed_s:.2f} s")


async def asked(scene: Scene, order: Order) -> tuple[str, str]:
    """A job that waits for an answer: its id and the door of the question."""
    job_id = await scene.submit(order)
    job = await scene.reaches(job_id, JobStatus.INPUT_REQUIRED)
    return job_id, f"/v1/jobs/{job_id}/inputs/{job.inputs[0].id}"


async def test_row_18_of_answers_that_come_at_once_one_wins_and_the_job_goes_on(scene: Scene) -> None:
    job_id, door = await asked(scene, Order(do="ask"))
    answers = await asyncio.gather(*(scene.post(door, {"value": f"answer {number}"}) for number in range(6)))
    [job] = await scene.ended([job_id])
    late = await scene.post(door, {"value": "too late"})

    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200, 409, 409, 409, 409, 409]
    assert late.status_code == 409
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 200)
    assert job.inputs[0].value == f"answer {winner}"
    await scene.sound([job_id], injections=7)


async def test_row_18_an_answer_repeated_with_its_key_is_the_same_answer(scene: Scene) -> None:
    job_id, door = await asked(scene, Order(do="ask"))
    answers = [await scene.post(door, {"value": "yes"}, idempotency_key=f"answer-{job_id}") for _ in range(2)]
    await scene.ended([job_id])
    assert [answer.status_code for answer in answers] == [200, 200]
    await scene.sound([job_id], injections=2)


@pytest.mark.workers(0)
@pytest.mark.parametrize(("default", "expected"), [("yes", JobStatus.COMPLETED), (None, JobStatus.FAILED)])
async def test_row_18_a_question_nobody_answers_ends_with_its_default_or_fails(scene: Scene, default: str | None, expected: JobStatus) -> None:
    await scene.town.only_worker(WORKER_INPUT_TTL_S="1")
    job_id = await scene.submit(Order(do="ask", default=default))
    [job] = await scene.ended([job_id])

    assert job.status is expected
    assert JobEvent.INPUT_REQUIRED in [event.type for event in await scene.events(job_id)]
    assert job.inputs[0].status == "expired"
    if expected is JobStatus.FAILED:
        assert job.error is not None
        assert job.error.code == "input_expired"
    await scene.sound([job_id], status=expected)
