"""Questions to people: the job waits without a worker and goes on with the answers, once all are there."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt

from slow_worker.asking import ask
from slow_worker.context import JobContext
from slow_worker.graph import Engine
from slow_worker.runner import RunEnd
from slow_worker.testing import PLANNING, PROBLEM, Workshop, assert_sound, plans, said
from tandem.ids import DEFAULT_TENANT, InputId, JobId
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputAnswer, InputAsk
from tandem.schemas.jobs import Job, JobRequest, JobResult, JobStatus
from tandem.settings import WorkerSettings

pytestmark = pytest.mark.integration


async def answer(workshop: Workshop, job: Job, place: int, given: InputAnswer) -> None:
    await workshop.storage.jobs.answer(JobId(job.id), DEFAULT_TENANT, InputId(job.inputs[place].id), given)


def job_id_of(job: Job) -> Any:
    return job.id


async def test_a_plan_to_be_reviewed_is_proposed_before_anything_is_carried_out(workshop: Workshop) -> None:
    workshop.model.answer = plans
    job_id = await workshop.submit(JobRequest(input=PLANNING, review_plan=True))

    assert await workshop.run() is RunEnd.PARKED

    job = await workshop.job(job_id)
    assert (job.status, len(workshop.model.asked), len(job.inputs)) == (JobStatus.INPUT_REQUIRED, 1, 1)
    assert (job.inputs[0].kind, job.inputs[0].proposal) == ("approval", {"steps": ["Food", "Transport", "Games", "Write the answer"]})
    assert (job.inputs[0].expires_at - job.inputs[0].created_at).total_seconds() == WorkerSettings().input_ttl_s
    assert not workshop.watchdog.is_armed


async def test_an_approved_plan_is_carried_out(workshop: Workshop) -> None:
    workshop.model.answer = plans
    parked = await workshop.do(JobRequest(input=PLANNING, review_plan=True))

    await answer(workshop, parked, 0, InputAnswer(decision="approve"))
    assert await workshop.run() is RunEnd.FINISHED

    job = await workshop.job(parked.id)
    assert (job.status, job.usage.calls) == (JobStatus.COMPLETED, 5)
    assert_sound(job, await workshop.events(job.id))


async def test_an_edited_plan_is_the_plan(workshop: Workshop) -> None:
    workshop.model.answer = plans
    parked = await workshop.do(JobRequest(input=PLANNING, review_plan=True))

    await answer(workshop, parked, 0, InputAnswer(decision="edit", value={"steps": ["Weather", "Food", "Write the answer"]}))
    await workshop.run()

    job = await workshop.job(parked.id)
    assert [step.title for step in job.view.plan] == ["Weather", "Food", "Write the answer"]
    assert {step.state for step in job.view.plan} == {"done"}
    assert "notes on Weather" in said(workshop.model.asked[-1].messages)
    assert (await workshop.types(job.id)).count(JobEvent.PLAN_CREATED) == 2


async def test_an_edit_of_a_fixed_course_leaves_the_program_out(workshop: Workshop) -> None:
    parked = await workshop.do(JobRequest(input=PROBLEM, review_plan=True))

    await answer(workshop, parked, 0, InputAnswer(decision="edit", value={"steps": ["Solve it step by step", "Compare the answers"]}))
    await workshop.run()

    job = await workshop.job(parked.id)
    assert (job.answer, {attempt.strategy for attempt in job.view.attempts}) == ("72", {"cot"})
    assert [step.state for step in job.view.plan] == ["done", "done", "done"]


async def test_a_rejected_plan_ends_the_job_as_cancelled_with_the_reason(workshop: Workshop) -> None:
    workshop.model.answer = plans
    parked = await workshop.do(JobRequest(input=PLANNING, review_plan=True))

    await answer(workshop, parked, 0, InputAnswer(decision="reject"))
    await workshop.run()

    job = await workshop.job(parked.id)
    assert (job.status, job.error.code if job.error else None, job.usage.calls) == (JobStatus.CANCELLED, "plan_rejected", 1)
    assert_sound(job, await workshop.events(job.id))


class Answers(TypedDict):
    """State of a graph whose branches ask."""

    answers: Annotated[list[str], operator.add]
    result: JobResult
    failure: None


def asking(*questions: InputAsk) -> Any:
    """A graph that asks each question in a branch of its own."""

    def branches(_state: Answers) -> list[Send]:
        return [Send("branch", place) for place in range(len(questions))]

    def branch(place: int) -> dict[str, list[str]]:
        return {"answers": [f"{questions[place].key}={ask(questions[place]).value}"]}

    def end(state: Answers) -> dict[str, JobResult]:
        return {"result": JobResult(output_text=" ".join(state["answers"]))}

    def build(saver: BaseCheckpointSaver[str]) -> Engine:
        graph: Any = StateGraph(Answers, context_schema=JobContext)
        graph.add_node("branch", branch)
        graph.add_node("end", end)
        graph.add_conditional_edges(START, branches, ["branch"])
        graph.add_edge("branch", "end")
        graph.add_edge("end", END)
        compiled: Engine = graph.compile(checkpointer=saver)
        return compiled

    return build


async def test_several_questions_are_asked_at_once_and_each_gets_its_own_answer(workshop: Workshop) -> None:
    questions = [InputAsk(key=key, kind="text", prompt=f"What {key}?") for key in ("colour", "size", "shape")]
    workshop = workshop.with_graph(asking(*questions))
    parked = await workshop.do(JobRequest(input="x"))
    assert [each.key for each in parked.inputs] == ["colour", "size", "shape"]

    for place, value in ((2, "round"), (0, "red")):
        await answer(workshop, parked, place, InputAnswer(value=value))
        assert await workshop.run() is RunEnd.NOTHING
    await answer(workshop, parked, 1, InputAnswer(value="large"))
    await workshop.run()

    job = await workshop.job(parked.id)
    assert (job.status, job.output_text) == (JobStatus.COMPLETED, "colour=red size=large shape=round")


async def test_a_question_that_expires_is_answered_by_its_default(workshop: Workshop) -> None:
    hasty = workshop.with_graph(asking(InputAsk(key="colour", kind="text", prompt="Which?", default="blue"))).with_settings(input_ttl_s=1)
    parked = await hasty.do(JobRequest(input="x"))
    assert parked.status is JobStatus.INPUT_REQUIRED

    while not (await hasty.storage.jobs.reap(rehint_after_s=1, max_attempts=5)).expired:
        await asyncio.sleep(0.1)
    await hasty.run()

    job = await hasty.job(parked.id)
    assert (job.status, job.output_text) == (JobStatus.COMPLETED, "colour=blue")


async def test_an_interrupt_that_is_no_question_fails_the_job(workshop: Workshop) -> None:
    def build(saver: BaseCheckpointSaver[str]) -> Engine:
        graph: Any = StateGraph(Answers, context_schema=JobContext)
        graph.add_node("node", lambda _state: interrupt("what now?"))  # pyright: ignore[reportUnknownLambdaType]
        graph.add_edge(START, "node")
        compiled: Engine = graph.compile(checkpointer=saver)
        return compiled

    job = await workshop.with_graph(build).do(JobRequest(input="x"))

    assert (job.status, job.error.code if job.error else None) == (JobStatus.FAILED, "internal_error")
