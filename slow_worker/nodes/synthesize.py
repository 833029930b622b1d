"""Synthesize: the final text and the typed answer, from the workspace only.

A task with a short answer shows the reasoning of an attempt that reached it; nothing is written anew that could contradict the votes. An open task is
written from the notes on its steps, streamed while it is written. What was not found is said.
"""

import json

from langgraph.runtime import Runtime
from pydantic import JsonValue

from slow_worker.answers import as_number
from slow_worker.caller import Ask
from slow_worker.context import JobContext
from slow_worker.nodes.room import room_of
from slow_worker.plans import WRITE, is_worked_out
from slow_worker.presentation import abstention, present_form, present_votes
from slow_worker.prompts import write_messages
from slow_worker.verifiers.coverage import coverage_checks
from slow_worker.workspace import Task, Try, Update, Verdict, Workspace
from tandem.errors import BudgetReached, ModelError
from tandem.schemas.base import Wire
from tandem.schemas.jobs import JobFailure, JobResult, PlanStep, Usage, Verification

_NO_ANSWER = "no_answer"


async def synthesize(state: Workspace, runtime: Runtime[JobContext]) -> Update:
    """Write the result."""
    context, task = runtime.context, state["task"]
    await context.progress.step_started(WRITE)
    result, failure = await (_write(state, context) if task.kind == "open" else _present(state, context))
    await context.progress.step_completed(WRITE)
    return {"result": result.model_copy(update={"effort_used": context.effort}), "failure": failure}


async def _present(state: Workspace, context: JobContext) -> tuple[JobResult, JobFailure | None]:
    task, tries, verdict = state["task"], state.get("tries", []), state.get("verdict", Verdict(is_final=True, reason="budget"))
    supporters = [attempt for attempt in tries if attempt.id in verdict.supporters]
    if verdict.winner is None:
        text = abstention(task, tries)
        failure = verdict.failure or JobFailure(
            code=_NO_ANSWER, message="no attempt gave an answer; raise the effort or the budget, or reword the task"
        )
    else:
        text = present_form(task, supporters[0]) if task.kind in {"json", "code"} else present_votes(task, verdict.winner, supporters)
        failure = verdict.failure
    await context.progress.text_done(text)
    verification = Verification(level=verdict.level, checks=verdict.checks)
    answer = _typed(task, verdict.winner)
    return JobResult(output_text=text, answer=answer, confidence=verdict.confidence, verification=verification), failure


def _typed(task: Task, winner: str | None) -> JsonValue:
    """The answer in the type its contract asks for."""
    if winner is None:
        return None
    match task.contract.kind:
        case "number":
            return as_number(winner)
        case "json":
            value: JsonValue = json.loads(winner)
            return value
        case "text" | "choice" | "code":
            return winner


async def _write(state: Workspace, context: JobContext) -> tuple[JobResult, JobFailure | None]:
    plan = [step for step in state["plan"] if is_worked_out(step)]
    notes = _notes(plan, state.get("tries", []))
    text, fault = await _written(state["task"], notes, context)
    checks = coverage_checks(text, plan, is_cut=fault is not None)
    await context.progress.text_done(text)
    for check in checks:
        await context.progress.verified(check)
    verdict = state.get("verdict")
    verification = Verification(level="V0", checks=checks)
    return JobResult(output_text=text, answer=text, verification=verification), fault or (verdict.failure if verdict else None)


async def _written(task: Task, notes: str, context: JobContext) -> tuple[str, JobFailure | None]:
    """The text, written or recalled, and what kept it from being whole. Where nothing could be written, the notes are the best so far."""
    try:
        recorded, was_recalled = await context.effects.once("synthesis", lambda: _stream(task, notes, context))
    except (BudgetReached, ModelError) as error:
        if not notes:
            raise
        return notes, JobFailure(code=error.code, message=error.message)
    writing = _Writing.model_validate(recorded)
    if was_recalled:
        context.ledger.charge(writing.usage)
    return writing.text, writing.failure


async def _stream(task: Task, notes: str, context: JobContext) -> JsonValue:
    ask = Ask(write_messages(task, notes), context.policy.answer_tokens, temperature=0.3, seed=room_of(context).seed(0, 1), is_last=True)
    async with context.progress.text_stream() as live:
        written = await context.caller.write(ask, live.add)
    failure = JobFailure(code=written.fault.code, message=written.fault.message) if written.fault else None
    recorded: JsonValue = _Writing(text=written.text, failure=failure, usage=written.usage).model_dump(mode="json")
    return recorded


class _Writing(Wire):
    """What the effects ledger keeps of the writing."""

    text: str
    failure: JobFailure | None
    usage: Usage


def _notes(plan: list[PlanStep], tries: list[Try]) -> str:
    by_step = {attempt.step_id: attempt.text for attempt in tries if attempt.error is None}
    return "\n\n".join(f"## {step.title}\n{by_step[step.id]}" for step in plan if step.id in by_step)
