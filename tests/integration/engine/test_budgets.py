"""Budgets of whole jobs: never overdrawn, told of in time, and worth waiting for where the caller says so."""

import pytest

from slow_worker.runner import RunEnd
from slow_worker.testing import PLANNING, PROBLEM, WRITTEN, Workshop, assert_sound, plans, solves
from tandem.ids import DEFAULT_TENANT
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Budget, JobChange, JobRequest, JobStatus

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("calls", [1, 2, 3, 5])
@pytest.mark.parametrize("task", [PROBLEM, PLANNING])
async def test_the_budget_of_calls_is_never_exceeded(workshop: Workshop, calls: int, task: str) -> None:
    workshop.model.answer = lambda request: plans(request) if task == PLANNING else f"Answer: {len(workshop.model.asked)}"

    job = await workshop.do(JobRequest(input=task, budget=Budget(max_calls=calls)), "high")

    assert job.usage.calls == len(workshop.model.asked) <= calls
    assert job.status in {JobStatus.COMPLETED, JobStatus.INCOMPLETE}
    assert job.output_text


async def test_a_budget_that_stops_the_search_gives_the_best_so_far_as_incomplete(workshop: Workshop) -> None:
    workshop.model.answer = lambda _: "Answer: 1"

    job = await workshop.do(JobRequest(input=PROBLEM, budget=Budget(max_calls=2)))

    assert (job.status, job.answer, job.error.code if job.error else None) == (JobStatus.INCOMPLETE, "1", "budget_reached")
    assert JobEvent.BUDGET_REACHED in [event.type for event in await workshop.events(job.id)]


@pytest.mark.parametrize("tokens", [64, 400, 1_000, 3_000])
@pytest.mark.parametrize("task", [PROBLEM, PLANNING])
async def test_the_budget_of_tokens_is_never_exceeded(workshop: Workshop, tokens: int, task: str) -> None:
    workshop.model.answer = lambda request: plans(request) * 40 if task == PLANNING else f"{'word ' * 900}Answer: {len(workshop.model.asked)}"

    job = await workshop.do(JobRequest(input=task, budget=Budget(max_tokens=tokens)), "high")

    assert job.usage.input_tokens + job.usage.output_tokens <= tokens
    assert_sound(job, await workshop.events(job.id))


async def test_a_tool_budget_of_zero_runs_no_program(workshop: Workshop) -> None:
    workshop.model.answer = solves

    job = await workshop.do(JobRequest(input=PROBLEM, budget=Budget(max_tool_calls=0)))

    assert (job.usage.tool_calls, job.answer) == (0, "72")


async def test_each_meter_is_warned_of_once_when_four_fifths_are_used(workshop: Workshop) -> None:
    workshop.model.answer = lambda _: f"Answer: {len(workshop.model.asked)}"

    job = await workshop.do(JobRequest(input=PROBLEM, tools=[], budget=Budget(max_calls=5)), "high")

    warnings = [event.data for event in await workshop.events(job.id) if event.type == JobEvent.BUDGET_WARNING]
    assert [(each["meter"], each["spent"], each["limit"]) for each in warnings] == [("max_calls", 4, 5)]


async def test_a_job_that_shall_wait_parks_with_its_best_so_far_and_goes_on_with_a_new_budget(workshop: Workshop) -> None:
    workshop.model.answer = solves
    job_id = await workshop.submit(JobRequest(input=PROBLEM, budget=Budget(max_calls=2), on_budget="wait"), "high")

    assert await workshop.run() is RunEnd.PARKED
    parked = await workshop.job(job_id)
    assert (parked.status, parked.answer, parked.error.code if parked.error else None) == (JobStatus.BUDGET_REACHED, "72", "budget_reached")
    assert parked.usage.calls == 2

    await workshop.storage.jobs.change(job_id, DEFAULT_TENANT, JobChange(budget=Budget(max_calls=8)))
    assert await workshop.run() is RunEnd.FINISHED

    job = await workshop.job(job_id)
    assert (job.status, job.answer, job.usage.calls) == (JobStatus.COMPLETED, "72", 3)
    types = await workshop.types(job_id)
    assert [types.count(kind) for kind in (JobEvent.BUDGET_REACHED, JobEvent.PLAN_CREATED, JobEvent.SOLUTION_ATTEMPTED)] == [1, 1, 3]
    assert_sound(job, await workshop.events(job_id))


async def test_an_attempt_that_the_tokens_did_not_allow_is_made_with_new_ones(workshop: Workshop) -> None:
    workshop.model.answer = solves
    job_id = await workshop.submit(JobRequest(input=PROBLEM, budget=Budget(max_tokens=500), on_budget="wait"))
    assert await workshop.run() is RunEnd.PARKED
    spent = len(workshop.model.asked)

    await workshop.storage.jobs.change(job_id, DEFAULT_TENANT, JobChange(budget=Budget(max_tokens=40_000)))
    await workshop.run()

    job = await workshop.job(job_id)
    assert spent < 3
    assert (job.status, job.answer, job.usage.calls) == (JobStatus.COMPLETED, "72", 3)


async def test_a_text_cut_by_the_budget_is_void_and_written_anew_with_more(workshop: Workshop) -> None:
    workshop.model.answer = lambda request: plans(request) * 30
    job_id = await workshop.submit(JobRequest(input=PLANNING, budget=Budget(max_tokens=200), on_budget="wait"), "low")

    assert await workshop.run() is RunEnd.PARKED
    parked = await workshop.job(job_id)
    assert parked.output_text
    assert parked.status is JobStatus.BUDGET_REACHED
    await workshop.storage.jobs.change(job_id, DEFAULT_TENANT, JobChange(budget=Budget(max_tokens=9_000)))
    await workshop.run()

    job = await workshop.job(job_id)
    assert (job.status, job.output_text) == (JobStatus.COMPLETED, WRITTEN * 30)
    types = await workshop.types(job_id)
    assert types.index(JobEvent.TEXT_RESET) < types.index(JobEvent.TEXT_DONE)


async def test_a_budget_too_small_to_plan_parks_before_anything_is_spent(workshop: Workshop) -> None:
    workshop.model.answer = plans
    job_id = await workshop.submit(JobRequest(input=PLANNING, budget=Budget(max_tokens=64), on_budget="wait"))

    assert await workshop.run() is RunEnd.PARKED

    job = await workshop.job(job_id)
    assert (job.status, job.usage.calls) == (JobStatus.BUDGET_REACHED, 0)
