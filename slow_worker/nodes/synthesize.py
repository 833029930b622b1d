"""Synthesize: the final text and the typed answer, from the workspace only.

A task with a short answer shows the reasoning of an attempt that reached it; nothing is written anew that could contradict the votes. An open task is
written from the notes on its steps, streamed while it is written. What was not found is said.
"""

from langgraph.runtime import Runtime
from pydantic import JsonValue

from slow_worker.artifacts import files_of
from slow_worker.caller import Ask
from slow_worker.context import JobContext
from slow_worker.nodes.room import room_of
from slow_worker.plans import WRITE, is_worked_out
from slow_worker.prompts import write_messages
from slow_worker.results import notes_of, supporters, voted_result
from slow_worker.stops import BudgetStop
from slow_worker.verifiers.coverage import coverage_checks
from slow_worker.workspace import Task, Update, Verdict, Workspace
from tandem.errors import BudgetReached, ModelError, TandemError
from tandem.schemas.base import Wire
from tandem.schemas.jobs import JobFailure, JobResult, Usage, Verification

_NO_ANSWER = "no_answer"


async def synthesize(state: Workspace, runtime: Runtime[JobContext]) -> Update:
    """Write the result and keep its files. Raises ``BudgetStop``."""
    context, task = runtime.context, state["task"]
    await context.progress.step_started(WRITE)
    result, failure = await (_write(state, context) if task.kind == "open" else _present(state, context))
    if failure is None:
        for made in files_of(task, result, supporters(state.get("tries", []), _verdict(state))):
            await context.artifacts.keep(made)
    return {"result": result.model_copy(update={"effort_used": context.effort}), "failure": failure}


def _verdict(state: Workspace) -> Verdict:
    return state.get("verdict", Verdict(is_final=True, reason="budget"))


async def _present(state: Workspace, context: JobContext) -> tuple[JobResult, JobFailure | None]:
    verdict = _verdict(state)
    result = voted_result(state["task"], state.get("tries", []), verdict)
    await context.progress.text_done(result.output_text)
    if verdict.winner is not None or verdict.failure is not None:
        return result, verdict.failure
    return result, JobFailure(code=_NO_ANSWER, message="no attempt gave an answer; raise the effort or the budget, or reword the task")


async def _write(state: Workspace, context: JobContext) -> tuple[JobResult, JobFailure | None]:
    notes = notes_of(state["plan"], state.get("tries", []))
    text, fault = await _written(state["task"], notes, context)
    plan = [step for step in state["plan"] if is_worked_out(step)]
    checks = coverage_checks(text, plan, is_cut=fault is not None)
    if not context.progress.is_done(WRITE):
        for check in checks:
            await context.progress.verified(check)
    await context.progress.text_done(text)
    result = JobResult(output_text=text, answer=text, verification=Verification(level="V0", checks=checks))
    return result, fault or _verdict(state).failure


async def _written(task: Task, notes: str, context: JobContext) -> tuple[str, JobFailure | None]:
    """The text, written or recalled, and what kept it from being whole. Where nothing could be written, the notes are the best so far."""
    try:
        recorded = await context.effects.once("synthesis", lambda: _stream(task, notes, context))
    except (BudgetReached, ModelError) as error:
        _stop_for_budget(error, notes, context)
        if not notes:
            raise
        return notes, _failure(error)
    writing = _Writing.model_validate(recorded.result)
    if recorded.is_recalled and not context.progress.is_done(WRITE):
        context.ledger.charge(writing.usage)
    return writing.text, writing.failure


async def _stream(task: Task, notes: str, context: JobContext) -> JsonValue:
    task = task.model_copy(update={"steers": await context.progress.take_steers("write")})
    ask = Ask(write_messages(task, notes), context.policy.answer_tokens, temperature=0.3, seed=room_of(context).seed(0, 1), is_last=True)
    async with context.progress.text_stream() as live:
        written = await context.caller.write(ask, live.add)
    if written.fault is not None:
        _stop_for_budget(written.fault, written.text, context)
    failure = _failure(written.fault) if written.fault else None
    recorded: JsonValue = _Writing(text=written.text, failure=failure, usage=written.usage).model_dump(mode="json")
    return recorded


def _stop_for_budget(error: TandemError, text: str, context: JobContext) -> None:
    """Where the caller wants to be asked, a meter that ran out stops the job before the cut text is recorded. Raises ``BudgetStop``."""
    if context.waits_for_budget and isinstance(error, BudgetReached) and error.param is not None:
        best = JobResult(output_text=text, answer=text or None, verification=Verification(level="V0"), effort_used=context.effort)
        raise BudgetStop(_failure(error), best)


def _failure(error: TandemError) -> JobFailure:
    return JobFailure(code=error.code, message=error.message)


class _Writing(Wire):
    """What the effects ledger keeps of the writing; one with a ``failure`` is left out of a retry."""

    text: str
    failure: JobFailure | None
    usage: Usage
