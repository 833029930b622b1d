"""Approvals: one person, one call, exactly these arguments, once."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from pydantic import JsonValue
from sqlalchemy import update

from slow_worker.auditing import ToolCall
from slow_worker.runner import RunEnd
from slow_worker.testing import Workshop, assert_sound, said, until
from slow_worker.testing_tools import Gadget, answered, called, plays
from slow_worker.tool_calls import call_tool
from tandem.errors import InputClosed
from tandem.ids import DEFAULT_TENANT, InputId, JobId, KeyId
from tandem.ports import ToolContext
from tandem.schemas.inputs import InputAnswer
from tandem.schemas.jobs import Job, JobRequest, JobStatus
from tandem.schemas.tools import ToolResult
from tandem.settings import ToolSettings
from tandem.storage.tables import effects
from tools.authority import Authority
from tools.wrappers import guarded

pytestmark = pytest.mark.integration

WRITE: dict[str, Any] = {"side_effect": "write"}
REQUEST = JobRequest(input="Send it.", tools=["mail"])
APPROVE, REJECT = InputAnswer(decision="approve"), InputAnswer(decision="reject")


async def answer(workshop: Workshop, job: Job, given: InputAnswer, place: int = -1) -> None:
    await workshop.storage.jobs.answer(JobId(job.id), DEFAULT_TENANT, InputId(job.inputs[place].id), given, answered_by=KeyId("key_boss"))


async def parked(workshop: Workshop, mail: Gadget, *turns: str, request: JobRequest = REQUEST) -> tuple[Workshop, Job]:
    """A job that waits for somebody's word on its first call."""
    workshop = workshop.with_tools({"mail": mail})
    workshop.model.answer = plays(*turns, answered("done"))
    job = await workshop.do(request)
    assert job.status is JobStatus.INPUT_REQUIRED
    return workshop, job


async def hang(arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
    await asyncio.Event().wait()
    raise AssertionError


async def died(workshop: Workshop, mail: Gadget) -> None:
    """A run that is gone in the middle of its first call."""
    running = asyncio.create_task(workshop.run())
    await until(lambda: len(mail.calls) == 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def resumed(workshop: Workshop, job: Job) -> Job:
    await workshop.run()
    return await workshop.job(job.id)


async def audited(workshop: Workshop) -> list[tuple[str, str]]:
    return [(each.kind, each.decision) for each in await workshop.storage.audit.read(DEFAULT_TENANT, after=0, limit=50)]


async def test_a_write_waits_for_approval_and_shows_what_it_would_do(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop, job = await parked(workshop, mail, called("mail", to="eve", password="hunter2"))

    [asked] = job.inputs
    assert (asked.kind, asked.default, mail.calls) == ("approval", "reject", [])
    assert isinstance(asked.proposal, dict)
    assert (asked.proposal["tool"], asked.proposal["arguments"]) == ("mail", {"to": "eve", "password": "•••"})
    assert (asked.expires_at - asked.created_at).total_seconds() == ToolSettings().approval_ttl_s
    assert await audited(workshop) == [("approval_asked", "asked")]


async def test_an_approved_call_is_made_once_with_these_arguments_and_its_approver_is_written_down(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop, job = await parked(workshop, mail, called("mail", to="eve"))
    await answer(workshop, job, APPROVE)

    job = await resumed(workshop, job)

    assert (job.status, [call[0] for call in mail.calls], job.usage.tool_calls, job.usage.calls) == (JobStatus.COMPLETED, [{"to": "eve"}], 1, 3)
    assert await audited(workshop) == [("approval_asked", "asked"), ("approval_given", "approved"), ("tool_call", "allowed")]
    given, made = (await workshop.storage.audit.read(DEFAULT_TENANT, after=1, limit=9))[:2]
    assert (given.key_id, given.approval_id, made.approval_id) == ("key_boss", job.inputs[0].id, job.inputs[0].id)
    assert given.arguments_digest == made.arguments_digest
    assert_sound(job, await workshop.events(job.id))


async def test_a_rejected_call_is_not_made_and_the_model_goes_on(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop, job = await parked(workshop, mail, called("mail", to="eve"))
    await answer(workshop, job, REJECT)

    job = await resumed(workshop, job)

    assert (job.status, mail.calls, job.usage.tool_calls) == (JobStatus.COMPLETED, [], 0)
    assert "it was rejected" in said(workshop.model.asked[1].messages)
    assert await audited(workshop) == [("approval_asked", "asked"), ("approval_refused", "rejected")]


async def test_an_edit_is_no_approval(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop, job = await parked(workshop, mail, called("mail", to="eve"))
    await answer(workshop, job, InputAnswer(decision="edit", value={"to": "adam"}))

    assert ((await resumed(workshop, job)).status, mail.calls) == (JobStatus.COMPLETED, [])


async def test_silence_is_a_rejection(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop, job = await parked(workshop.with_tool_settings(ToolSettings(approval_ttl_s=1)), mail, called("mail", to="eve"))

    while not (await workshop.storage.jobs.reap(rehint_after_s=1, max_attempts=5)).expired:
        await asyncio.sleep(0.1)
    job = await resumed(workshop, job)

    assert (job.status, mail.calls) == (JobStatus.COMPLETED, [])
    assert (await audited(workshop))[-1] == ("approval_refused", "expired")
    with pytest.raises(InputClosed):
        await answer(workshop, job, APPROVE)


async def test_a_double_click_and_a_second_tab_find_the_question_closed(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop, job = await parked(workshop, mail, called("mail", to="eve"))

    outcomes = await asyncio.gather(*(answer(workshop, job, given) for given in (APPROVE, APPROVE, REJECT)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["InputClosed", "InputClosed", "NoneType"]

    await asyncio.gather(*(workshop.run() for _ in range(3)))
    assert len(mail.calls) <= 1


async def test_an_approval_fits_no_other_arguments(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop, job = await parked(workshop, mail, called("mail", to="eve"))
    # Somebody swaps the arguments in the ledger while the job waits.
    claim_key = "act:1"
    await answer(workshop, job, APPROVE)
    await swap(workshop, job, claim_key, called("mail", to="mallory"))

    job = await resumed(workshop, job)

    assert (job.status, mail.calls) == (JobStatus.INPUT_REQUIRED, [])
    assert [isinstance(each.proposal, dict) and each.proposal["arguments"] for each in job.inputs] == [{"to": "eve"}, {"to": "mallory"}]


async def swap(workshop: Workshop, job: Job, key: str, text: str) -> None:
    database: Any = workshop.storage
    [line] = [each for each in await workshop.storage.jobs.effects(JobId(job.id), DEFAULT_TENANT) if each.key == key]
    recorded = cast("dict[str, JsonValue]", line.result)

    async def work(connection: Any) -> None:
        change = update(effects).where(effects.c.job_id == job.id, effects.c.key == key).values(result={**recorded, "text": text})
        await connection.execute(change)

    await database._database.write(work)


async def test_an_approval_is_not_used_for_the_same_call_later_on(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop, job = await parked(workshop, mail, called("mail", to="eve"), called("mail", to="adam"), called("mail", to="eve"))
    await answer(workshop, job, APPROVE)
    job = await resumed(workshop, job)
    assert (job.status, len(job.inputs), len(mail.calls)) == (JobStatus.INPUT_REQUIRED, 2, 1)

    await answer(workshop, job, APPROVE)
    job = await resumed(workshop, job)

    # The third call is the first one again: it is answered from the record, and nobody is asked.
    assert (job.status, [call[0]["to"] for call in mail.calls], len(job.inputs)) == (JobStatus.COMPLETED, ["eve", "adam"], 2)


async def test_whoever_rejects_three_times_is_not_asked_again(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop, job = await parked(workshop, mail, *(called("mail", to=f"eve{n}") for n in range(5)), request=REQUEST)
    for _ in range(3):
        await answer(workshop, job, REJECT)
        job = await resumed(workshop, job)

    assert (job.status, len(job.inputs), mail.calls) == (JobStatus.COMPLETED, 3, [])


async def test_a_job_that_asks_nobody_goes_on_without_the_call(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop.model.answer = plays(called("mail", to="eve"), answered("done"))

    job = await workshop.with_tools({"mail": mail}).do(REQUEST.model_copy(update={"approvals": "refuse"}))

    assert (job.status, mail.calls, job.inputs) == (JobStatus.COMPLETED, [], [])
    assert "say in the answer what would have been done" in said(workshop.model.asked[1].messages)
    assert await audited(workshop) == [("tool_refused", "refused")]


async def test_wrong_arguments_are_told_before_anybody_is_asked(workshop: Workshop) -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"], "additionalProperties": False}
    mail = Gadget("mail", declared={**WRITE, "parameters": schema})
    workshop.model.answer = plays(called("mail", whom="eve"), answered("done"))

    job = await workshop.with_tools({"mail": mail}).do(REQUEST)

    assert (job.status, job.inputs) == (JobStatus.COMPLETED, [])


async def test_a_name_outside_the_grant_is_never_dispatched_although_the_machine_has_it(workshop: Workshop) -> None:
    mail, look = Gadget("mail", declared=WRITE), Gadget("look")
    workshop = workshop.with_tools({"mail": mail, "look": look})
    workshop.model.answer = plays(called("mail", to="eve"), answered("done"))

    job = await workshop.do(JobRequest(input="Look.", tools=["look"]))

    assert (job.status, mail.calls) == (JobStatus.COMPLETED, [])
    assert (await audited(workshop))[0] == ("tool_refused", "refused")


@pytest.mark.parametrize(
    ("word", "calls", "told"), [("it happened", 1, "the call took effect"), ("do it again", 2, "mail 2"), ("give up", 1, "nobody knows whether mail")]
)
async def test_a_write_of_unknown_outcome_waits_for_a_person(workshop: Workshop, word: str, calls: int, told: str) -> None:
    """The worker dies in the middle of the call: at most one effect, and the job asks."""
    mail = Gadget("mail", declared=WRITE)

    mail.body = hang
    workshop = workshop.with_tools({"mail": mail}).with_tool_settings(ToolSettings(approval="tainted"))
    workshop.model.answer = plays(called("mail", to="eve"), answered("done"))
    job_id = await workshop.submit(REQUEST)
    await died(workshop, mail)
    mail.body = None

    assert await workshop.run() is RunEnd.PARKED
    job = await workshop.job(job_id)
    assert (job.inputs[0].kind, job.inputs[0].choices, len(mail.calls)) == ("choice", ["it happened", "do it again", "give up"], 1)

    await answer(workshop, job, InputAnswer(value=word))
    job = await resumed(workshop, job)
    assert (job.status, len(mail.calls), job.usage.tool_calls) == (JobStatus.COMPLETED, calls, calls)
    assert told in said(workshop.model.asked[1].messages)


async def test_leave_to_do_it_again_is_leave_for_once(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)

    async def break_off(arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        raise ConnectionError("the line went dead")

    mail.body = break_off
    workshop = workshop.with_tools({"mail": mail}).with_tool_settings(ToolSettings(approval="tainted"))
    workshop.model.answer = plays(called("mail", to="eve"), answered("done"))
    job = await workshop.do(REQUEST)
    assert (job.status, len(mail.calls)) == (JobStatus.INPUT_REQUIRED, 1)

    await answer(workshop, job, InputAnswer(value="do it again"))
    job = await resumed(workshop, job)

    assert (job.status, len(mail.calls), len(job.inputs)) == (JobStatus.INPUT_REQUIRED, 2, 2)


async def test_a_write_that_ran_out_of_time_is_not_taken_for_one_that_failed(workshop: Workshop) -> None:
    mail = guarded(Gadget("mail", hang, {**WRITE, "timeout_s": 0.05}))
    workshop = workshop.with_tools({"mail": mail}).with_tool_settings(ToolSettings(approval="tainted"))
    workshop.model.answer = plays(called("mail", to="eve"), answered("done"))

    job = await workshop.do(REQUEST)

    assert (job.status, job.inputs[0].kind) == (JobStatus.INPUT_REQUIRED, "choice")


async def test_an_approval_and_then_a_question_about_the_outcome_each_get_their_own_answer(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)

    mail.body = hang
    workshop, job = await parked(workshop, mail, called("mail", to="eve"))
    await answer(workshop, job, APPROVE)
    await died(workshop, mail)
    mail.body = None
    job = await resumed(workshop, job)
    assert [each.kind for each in job.inputs] == ["approval", "choice"]

    await answer(workshop, job, InputAnswer(value="it happened"))
    job = await resumed(workshop, job)

    assert (job.status, len(mail.calls)) == (JobStatus.COMPLETED, 1)


async def test_the_budget_of_a_call_is_not_spent_by_asking(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    request = REQUEST.model_copy(update={"budget": REQUEST.budget.model_copy(update={"max_tool_calls": 1})})
    workshop, job = await parked(workshop, mail, called("mail", to="eve"), request=request)
    await answer(workshop, job, APPROVE)

    assert ((await resumed(workshop, job)).status, len(mail.calls)) == (JobStatus.COMPLETED, 1)


async def test_outside_of_a_graph_nothing_that_needs_approval_is_called(workshop: Workshop) -> None:
    mail = Gadget("mail", declared=WRITE)
    workshop = workshop.with_tools({"mail": mail})
    job_id = await workshop.submit(REQUEST)
    claim = await workshop.storage.work.claim("test", 60, 9, job_id=job_id)
    assert claim is not None

    with pytest.raises(RuntimeError):
        await call_tool(await workshop.services.open_context(claim), ToolCall("x", "mail", {"to": "eve"}), Authority())

    assert mail.calls == []
