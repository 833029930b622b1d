"""How a running job stops before its end: pause, drain, deadline, a lost lease; and how it goes on."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from slow_worker.runner import RunEnd
from slow_worker.testing import PLANNING, PROBLEM, Workshop, assert_sound, plans, until
from tandem.ids import DEFAULT_TENANT
from tandem.schemas.chat import ChatRequest
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobRequest, JobStatus

pytestmark = pytest.mark.integration


async def looked(workshop: Workshop) -> None:
    """The watch has seen what was asked for before."""
    looks = workshop.watchdog.fed
    await until(lambda: workshop.watchdog.fed > looks + 1)


async def test_a_pause_takes_effect_at_the_next_checkpoint_and_nothing_is_done_twice(workshop: Workshop) -> None:
    workshop.model.answer, workshop.model.pause_after = plans, 2
    job_id = await workshop.submit(JobRequest(input=PLANNING))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 3)
    await workshop.storage.jobs.request_pause(job_id, DEFAULT_TENANT)
    await looked(workshop)

    workshop.model.gate.set()
    assert await running is RunEnd.PARKED
    assert ((await workshop.job(job_id)).status, len(workshop.model.asked)) == (JobStatus.PAUSED, 3)
    assert await workshop.run() is RunEnd.NOTHING

    await workshop.storage.jobs.resume(job_id, DEFAULT_TENANT)
    await workshop.run()
    job = await workshop.job(job_id)
    assert (job.status, len(workshop.model.asked), job.lost) == (JobStatus.COMPLETED, 5, 0)
    assert_sound(job, await workshop.events(job_id))


async def test_a_pause_that_is_withdrawn_in_time_stops_nothing(workshop: Workshop) -> None:
    workshop.model.answer, workshop.model.pause_after = plans, 2
    job_id = await workshop.submit(JobRequest(input=PLANNING))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 3)
    await workshop.storage.jobs.request_pause(job_id, DEFAULT_TENANT)
    await looked(workshop)
    await workshop.storage.jobs.resume(job_id, DEFAULT_TENANT)

    workshop.model.gate.set()

    assert await running is RunEnd.FINISHED
    assert (await workshop.job(job_id)).attempt == 1


async def test_a_stopping_worker_lets_the_job_reach_its_next_checkpoint(workshop: Workshop) -> None:
    workshop.model.answer, workshop.model.pause_after = plans, 2
    job_id = await workshop.submit(JobRequest(input=PLANNING))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 3)
    workshop.draining.set()
    await looked(workshop)

    workshop.model.gate.set()
    assert await running is RunEnd.RELEASED
    assert (workshop.model.closed_streams, (await workshop.job(job_id)).status) == (0, JobStatus.QUEUED)

    workshop.draining.clear()
    await workshop.run()
    assert (len(workshop.model.asked), (await workshop.job(job_id)).status) == (5, JobStatus.COMPLETED)


async def test_a_deadline_ends_the_job_with_the_best_so_far(workshop: Workshop) -> None:
    workshop.model.pause_after = 2
    job_id = await workshop.submit(JobRequest(input=PROBLEM, deadline=datetime.now(UTC) + timedelta(seconds=300)))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 3)

    workshop.clock.advance(300)

    assert await running is RunEnd.FINISHED
    job = await workshop.job(job_id)
    assert (job.status, job.answer, job.error.code if job.error else None) == (JobStatus.INCOMPLETE, "72", "deadline_exceeded")
    assert (workshop.model.closed_streams, job.usage.calls) == (1, 3)
    assert_sound(job, await workshop.events(job_id))


async def test_at_the_deadline_an_attempt_of_a_wave_that_is_not_complete_counts(workshop: Workshop) -> None:
    workshop.model.pause_after = 1
    workshop.model.answer = lambda _: "Answer: 72"
    job_id = await workshop.submit(JobRequest(input=PROBLEM, tools=[], deadline=datetime.now(UTC) + timedelta(seconds=300)))
    running = asyncio.create_task(workshop.run())

    async def is_reported() -> bool:
        return len((await workshop.job(job_id)).view.attempts) == 1

    while not await is_reported():
        await asyncio.sleep(0.01)
    workshop.clock.advance(300)
    await running

    assert ((await workshop.job(job_id)).answer, len(workshop.model.asked)) == ("72", 2)


async def test_notes_are_the_best_so_far_of_an_open_task(workshop: Workshop) -> None:
    workshop.model.answer, workshop.model.pause_after = plans, 4
    job_id = await workshop.submit(JobRequest(input=PLANNING, deadline=datetime.now(UTC) + timedelta(seconds=300)))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 5)

    workshop.clock.advance(300)
    await running

    job = await workshop.job(job_id)
    assert job.status is JobStatus.INCOMPLETE
    assert "## Food\n- notes on Food" in (job.output_text or "")


async def test_the_watchdog_is_fed_while_a_job_runs_and_rests_afterwards(workshop: Workshop) -> None:
    workshop.model.pause_after = 0
    await workshop.submit(JobRequest(input=PROBLEM))
    running = asyncio.create_task(workshop.run())
    await looked(workshop)
    assert workshop.watchdog.is_armed

    workshop.model.gate.set()
    await running

    assert not workshop.watchdog.is_armed


async def test_a_job_that_runs_out_of_memory_fails_and_the_process_is_to_be_replaced(workshop: Workshop) -> None:
    def burst(_request: ChatRequest) -> str:
        raise MemoryError

    workshop.model.answer = burst
    job_id = await workshop.submit(JobRequest(input=PROBLEM))

    with capture_logs():
        assert await workshop.run() is RunEnd.EXHAUSTED

    job = await workshop.job(job_id)
    assert (job.status, job.error.code if job.error else None) == (JobStatus.FAILED, "internal_error")


async def test_a_text_whose_worker_stopped_in_the_middle_is_void_and_streamed_anew(workshop: Workshop) -> None:
    workshop.model.answer, workshop.model.cut_after = plans, 3
    job_id = await workshop.submit(JobRequest(input=PLANNING), "low")
    running = asyncio.create_task(workshop.run())
    while JobEvent.TEXT_DELTA not in await workshop.types(job_id):
        await asyncio.sleep(0.01)
    workshop.draining.set()
    await looked(workshop)
    workshop.clock.advance(workshop.runner.settings.drain_s)
    assert await running is RunEnd.RELEASED

    workshop.draining.clear()
    workshop.model.cut_after = None
    await workshop.run()

    events = await workshop.events(job_id)
    items = [
        (event.type.rpartition("response.")[2], event.data["output_index"], event.data.get("item_type"))
        for event in events
        if event.type in {JobEvent.ITEM_ADDED, JobEvent.ITEM_DONE, JobEvent.PART_ADDED, JobEvent.PART_DONE, JobEvent.TEXT_RESET, JobEvent.TEXT_DONE}
    ]
    assert items == [
        ("output_item.added", 0, "reasoning"),
        ("output_item.done", 0, "reasoning"),
        ("output_item.added", 1, "message"),
        ("content_part.added", 1, None),
        ("tandem.text.reset", 1, None),
        ("output_item.added", 2, "message"),
        ("content_part.added", 2, None),
        ("output_text.done", 2, None),
        ("content_part.done", 2, None),
        ("output_item.done", 2, "message"),
    ]
    text = "".join(str(event.data["delta"]) for event in events if event.type == JobEvent.TEXT_DELTA and event.data["output_index"] == 2)
    assert text == (await workshop.job(job_id)).output_text
    suffix = job_id.removeprefix("job_")
    assert {str(event.data["item_id"]) for event in events if "item_id" in event.data} == {f"rs_{suffix}", f"msg_{suffix}_1", f"msg_{suffix}_2"}
