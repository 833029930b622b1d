"""The course of a job: what is seen of it, and how it stops, goes on and ends."""

import asyncio
from collections import Counter

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from pydantic import JsonValue
from structlog.testing import capture_logs

from slow_worker.checkpoints import FencedSaver
from slow_worker.coalescing import CoalescingCheckpoints
from slow_worker.graph import build_graph
from slow_worker.runner import RunEnd
from slow_worker.testing import PLANNING, PROBLEM, Workshop, assert_sound, plans, prompt, solves, until
from tandem.errors import LeaseLost
from tandem.ids import DEFAULT_TENANT, JobId
from tandem.schemas.chat import ChatRequest
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobRequest, JobStatus

pytestmark = pytest.mark.integration


async def test_the_course_of_a_job_is_visible(workshop: Workshop) -> None:
    workshop.model.answer = solves

    job = await workshop.do(JobRequest(input=PROBLEM), "low")

    types = [event.type for event in await workshop.events(job.id)]
    assert types.index(JobEvent.PLAN_CREATED) < types.index(JobEvent.STEP_STARTED) < types.index(JobEvent.SOLUTION_ATTEMPTED)
    assert types.index(JobEvent.VERIFICATION_PASSED) < types.index(JobEvent.TEXT_DONE) < types.index(JobEvent.COMPLETED)
    assert {JobEvent.TOOL_STARTED, JobEvent.TOOL_COMPLETED, JobEvent.TEXT_DELTA} <= set(types)
    assert {step.state for step in job.view.plan} == {"done"}
    assert [attempt.answer for attempt in job.view.attempts] == ["72", "72"]


async def test_a_defect_fails_the_job_and_not_the_worker(workshop: Workshop) -> None:
    def break_down(_request: ChatRequest) -> str:
        raise KeyError("a bug")

    workshop.model.answer = break_down

    with capture_logs() as logs:
        job = await workshop.do(JobRequest(input=PROBLEM))

    assert (job.status, job.error.code if job.error else None) == (JobStatus.FAILED, "internal_error")
    assert [line["exc_info"] for line in logs if line["event"] == "job_defect"] == [True]


async def test_cancelling_ends_the_running_call_and_the_job(workshop: Workshop) -> None:
    workshop.model.pause_after = 0
    job_id = await workshop.submit(JobRequest(input=PROBLEM))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 2)

    await workshop.storage.jobs.request_cancel(job_id, DEFAULT_TENANT)

    assert await running is RunEnd.FINISHED
    job = await workshop.job(job_id)
    assert (job.status, workshop.model.closed_streams) == (JobStatus.CANCELLED, 2)
    assert_sound(job, await workshop.events(job_id))


async def test_draining_gives_the_job_back_and_another_run_makes_only_what_was_missing(workshop: Workshop) -> None:
    workshop.model.answer, workshop.model.pause_after = plans, 3
    job_id = await workshop.submit(JobRequest(input=PLANNING))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 4)
    looks = workshop.watchdog.fed
    workshop.draining.set()
    await until(lambda: workshop.watchdog.fed > looks)
    workshop.clock.advance(workshop.runner.settings.drain_s)
    assert await running is RunEnd.RELEASED
    assert (await workshop.job(job_id)).status is JobStatus.QUEUED

    workshop.draining.clear()
    workshop.model.gate.set()
    assert await workshop.run() is RunEnd.FINISHED

    job = await workshop.job(job_id)
    answered = Counter(prompt(request) for request in workshop.model.asked)
    assert (job.status, job.attempt) == (JobStatus.COMPLETED, 2)
    assert sorted(answered.values()) == [1, 1, 1, 1, 2]
    assert [event.type for event in await workshop.events(job_id)].count(JobEvent.PLAN_CREATED) == 1
    assert_sound(job, await workshop.events(job_id))


async def test_a_recorded_attempt_is_not_made_again_by_a_new_owner(workshop: Workshop) -> None:
    workshop.model.answer = solves
    job_id = await workshop.submit(JobRequest(input=PROBLEM), "low")
    claim = await workshop.storage.work.claim("dead", 60, 5, job_id=job_id)
    assert claim is not None
    recorded: dict[str, JsonValue] = {
        "id": "attempt:1:cot:0",
        "wave": 1,
        "strategy": "cot",
        "answer": "72",
        "usage": {"calls": 1, "input_tokens": 10, "output_tokens": 5},
    }
    await workshop.storage.work.record_effect(job_id, claim.epoch, "attempt:1:cot:0", recorded)
    await workshop.storage.work.release(job_id, claim.epoch)

    await workshop.run()

    job = await workshop.job(job_id)
    assert (job.answer, len(workshop.model.asked), job.usage.calls) == ("72", 1, 2)


async def test_a_run_whose_lease_went_to_another_worker_writes_nothing_more(workshop: Workshop) -> None:
    workshop.model.pause_after = 0
    workshop.model.answer = solves
    job_id = await workshop.submit(JobRequest(input=PROBLEM))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 2)
    await workshop.storage.work.release(job_id, 1)
    other = await workshop.storage.work.claim("other", 60, 5, job_id=job_id)
    before = await workshop.events(job_id)

    assert await running is RunEnd.LOST
    assert other is not None
    assert (await workshop.events(job_id), (await workshop.job(job_id)).status) == (before, JobStatus.IN_PROGRESS)


async def test_a_second_hint_for_a_finished_job_does_nothing(workshop: Workshop) -> None:
    workshop.model.answer = solves
    await workshop.do(JobRequest(input=PROBLEM), "low")

    assert await workshop.run() is RunEnd.NOTHING
    assert len(workshop.model.asked) == 2


class Unlucky(FencedSaver):
    """Its process dies once: what a step has written is stored, the checkpoint after that step is not."""

    def __init__(self, store: CoalescingCheckpoints, lost_step: int) -> None:
        super().__init__(store)
        self._held = store
        self._lost_step = lost_step
        self.has_died = False

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        if metadata.get("step") == self._lost_step and not self.has_died:
            self.has_died = True
            await self._held.flush(JobId(config.get("configurable", {})["thread_id"]))
            raise LeaseLost("the process dies here")
        return await super().aput(config, checkpoint, metadata, new_versions)


@pytest.mark.parametrize("lost_step", range(6))
async def test_a_job_goes_on_from_the_results_of_a_step_whose_checkpoint_was_lost(workshop: Workshop, lost_step: int) -> None:
    workshop.model.answer = plans
    saver = Unlucky(workshop.runner.checkpoints, lost_step)
    workshop = workshop.with_graph(lambda _: build_graph(saver))
    job_id = await workshop.submit(JobRequest(input=PLANNING))
    assert await workshop.run() is RunEnd.LOST
    assert saver.has_died
    await workshop.storage.work.release(job_id, 1)

    assert await workshop.run() is RunEnd.FINISHED

    job = await workshop.job(job_id)
    assert (job.status, job.error, job.attempt, len(workshop.model.asked)) == (JobStatus.COMPLETED, None, 2, 5)
    assert_sound(job, await workshop.events(job_id))
