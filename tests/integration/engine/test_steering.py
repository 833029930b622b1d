"""What people add to a running job, and the documents it was given: both reach the model, and the record says when."""

import asyncio

import pytest

from slow_worker.testing import PLANNING, PROBLEM, Workshop, plans, said, solves, until
from tandem.errors import ModelContextExceeded
from tandem.ids import DEFAULT_TENANT, JobId
from tandem.schemas.chat import ChatRequest
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Document, JobRequest, JobStatus

pytestmark = pytest.mark.integration


async def steer(workshop: Workshop, job_id: JobId, message: str) -> None:
    await workshop.storage.jobs.steer(job_id, DEFAULT_TENANT, workshop.ids.steer(), message)


async def steps(workshop: Workshop, job_id: JobId) -> list[str | None]:
    return [each.applied_step for each in (await workshop.job(job_id)).inbox]


async def test_words_added_before_the_start_reach_the_plan_and_everything_after(workshop: Workshop) -> None:
    workshop.model.answer = plans
    job_id = await workshop.submit(JobRequest(input=PLANNING))
    await steer(workshop, job_id, "No peanuts.")

    await workshop.run()

    assert all("No peanuts." in request.messages[-1].content for request in workshop.model.asked)
    assert await steps(workshop, job_id) == ["plan"]
    assert (await workshop.types(job_id)).count(JobEvent.STEER_APPLIED) == 1


async def test_words_added_during_a_wave_reach_the_next_one(workshop: Workshop) -> None:
    workshop.model.answer, workshop.model.pause_after = solves, 1
    job_id = await workshop.submit(JobRequest(input=PROBLEM))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 2)
    await steer(workshop, job_id, "She also found 0 clips.")

    workshop.model.gate.set()
    await running

    assert await steps(workshop, job_id) == ["wave 2"]
    assert ["0 clips" in said(request.messages) for request in workshop.model.asked] == [False, False, True]


async def test_words_added_before_the_writing_reach_it(workshop: Workshop) -> None:
    workshop.model.answer, workshop.model.pause_after = plans, 3
    job_id = await workshop.submit(JobRequest(input=PLANNING))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 4)
    await steer(workshop, job_id, "Keep it short.")

    workshop.model.gate.set()
    await running

    assert await steps(workshop, job_id) == ["write"]
    assert "Keep it short." in said(workshop.model.asked[-1].messages)


async def test_words_added_during_the_last_writing_stay_unapplied(workshop: Workshop) -> None:
    workshop.model.answer, workshop.model.pause_after = plans, 4
    job_id = await workshop.submit(JobRequest(input=PLANNING))
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 5)
    await steer(workshop, job_id, "Too late.")

    workshop.model.gate.set()
    await running

    assert await steps(workshop, job_id) == [None]
    assert JobEvent.STEER_APPLIED not in await workshop.types(job_id)


async def test_chinese_words_are_added_in_chinese(workshop: Workshop) -> None:
    workshop.model.answer = lambda _: "30 - 6 = 24\n答案：24元"
    job_id = await workshop.submit(JobRequest(input="妈妈带了30元，买了一条鱼，剩6元，这条鱼多少钱？", tools=[]), "low")
    await steer(workshop, job_id, "单位是元。")

    await workshop.run()

    assert "补充" in workshop.model.asked[0].messages[-1].content


async def test_documents_come_before_the_task_in_every_call(workshop: Workshop) -> None:
    workshop.model.answer = plans
    documents = [Document(name="menu", text="Bread {and} cheese."), Document(name="bus", text="Line 7.")]

    job = await workshop.do(JobRequest(input=PLANNING, documents=documents))

    assert job.status is JobStatus.COMPLETED
    for request in workshop.model.asked:
        assert [message.content for message in request.messages[1:3]] == ["Document 'menu':\nBread {and} cheese.", "Document 'bus':\nLine 7."]
        assert request.messages[0].role == "system"


async def test_documents_that_cannot_fit_fail_the_job_with_their_sizes(workshop: Workshop) -> None:
    job = await workshop.do(JobRequest(input=PLANNING, documents=[Document(name="book", text="word " * 20_000)]))

    assert job.error is not None
    assert (job.status, job.error.code, len(workshop.model.asked)) == (JobStatus.FAILED, "context_length_exceeded", 0)
    assert "'book' 99999 characters" in job.error.message or "'book' 100000 characters" in job.error.message


async def test_a_server_that_refuses_the_prompt_is_quoted_with_the_sizes(workshop: Workshop) -> None:
    def refuse(_request: ChatRequest) -> str:
        raise ModelContextExceeded("the prompt has 5000 tokens, the context 4096")

    workshop.model.answer = refuse

    job = await workshop.do(JobRequest(input=PROBLEM, documents=[Document(name="note", text="word " * 100)]))

    assert job.error is not None
    assert (job.status, job.error.code) == (JobStatus.FAILED, "context_length_exceeded")
    assert "4096" in job.error.message
    assert "'note'" in job.error.message
