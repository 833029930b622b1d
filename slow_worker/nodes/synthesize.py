"""Synthesize: the final text and the typed answer, from the workspace only.

A task with a short answer shows the reasoning of an attempt that reached it; nothing is written anew that could contradict the votes. An open task is
written from the notes on its steps, streamed while it is written. What was not found is said.
"""

import json
from contextlib import aclosing

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
from tandem.schemas.chat import ChatReply
from tandem.schemas.jobs import Check, JobFailure, JobResult, PlanStep, Usage, Verification

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
    verdict = state.get("verdict")
    failure = verdict.failure if verdict else None
    try:
        recorded, was_recalled = await context.effects.once("synthesis", lambda: _stream(state["task"], notes, context))
    except (BudgetReached, ModelError) as error:
        if not notes:
            raise
        text, is_cut = notes, False
        failure = JobFailure(code=error.code, message=error.message)
    else:
        assert isinstance(recorded, dict)  # noqa: S101 - the shape `_stream` records
        if was_recalled:
            context.ledger.charge(Usage.model_validate(recorded["usage"]))
        text, is_cut = str(recorded["text"]), bool(recorded["is_cut"])
    checks = coverage_checks(text, plan, is_cut=is_cut)
    await _report(text, checks, context)
    verification = Verification(level="V0", checks=checks)
    return JobResult(output_text=text, answer=text, verification=verification), failure or _cut_failure(is_cut=is_cut)


async def _stream(task: Task, notes: str, context: JobContext) -> JsonValue:
    ask = Ask(write_messages(task, notes), context.policy.answer_tokens, temperature=0.3, seed=room_of(context).seed(0, 1), is_last=True)
    whole: ChatReply | None = None
    async with context.progress.text_stream() as live, aclosing(context.caller.stream(ask)) as pieces:
        async for piece in pieces:
            if isinstance(piece, str):
                await live.add(piece)
            else:
                whole = piece
    assert whole is not None  # noqa: S101 - the stream's last item is the whole reply
    usage = Usage(calls=1, input_tokens=whole.usage.input_tokens, output_tokens=whole.usage.output_tokens)
    return {"text": whole.text, "is_cut": whole.finish_reason == "length", "usage": usage.model_dump(mode="json")}


async def _report(text: str, checks: list[Check], context: JobContext) -> None:
    await context.progress.text_done(text)
    for check in checks:
        await context.progress.verified(check)


def _notes(plan: list[PlanStep], tries: list[Try]) -> str:
    by_step = {attempt.step_id: attempt.text for attempt in tries if attempt.error is None}
    return "\n\n".join(f"## {step.title}\n{by_step[step.id]}" for step in plan if step.id in by_step)


def _cut_failure(*, is_cut: bool) -> JobFailure | None:
    if not is_cut:
        return None
    return JobFailure(code=BudgetReached.code, message="the answer was cut off at its longest allowed length; raise the effort or budget.max_tokens")
