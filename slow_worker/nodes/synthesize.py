"""Synthesize: the final text and the typed answer, from the workspace only.

A task with a short answer shows the reasoning of an attempt that reached it; nothing is written anew that could contradict the votes. An open task is
written from the notes on its steps, streamed while it is written. What was found with tools is told by ``concluding.py``. What was not found is said.
"""

from langgraph.runtime import Runtime

from slow_worker.artifacts import files_of
from slow_worker.context import JobContext
from slow_worker.nodes.concluding import conclude
from slow_worker.nodes.writing import Manuscript, written
from slow_worker.plans import WRITE, is_worked_out
from slow_worker.prompts import write_messages
from slow_worker.results import notes_of, supporters, voted_result
from slow_worker.verifiers.coverage import coverage_checks
from slow_worker.workspace import Update, Verdict, Workspace
from tandem.schemas.jobs import JobFailure, JobResult, Verification

_NO_ANSWER = "no_answer"


async def synthesize(state: Workspace, runtime: Runtime[JobContext]) -> Update:
    """Write the result and keep its files. Raises ``BudgetStop``."""
    context, task = runtime.context, state["task"]
    await context.progress.step_started(WRITE)
    if task.uses_tools:
        result, failure = await conclude(state, context)
    else:
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
    writing = await written(Manuscript(state["task"], lambda task: write_messages(task, notes), fallback=notes), context)
    text, fault = writing.text, writing.failure
    plan = [step for step in state["plan"] if is_worked_out(step)]
    checks = coverage_checks(text, plan, is_cut=fault is not None)
    if not context.progress.is_done(WRITE):
        for check in checks:
            await context.progress.verified(check)
    await context.progress.text_done(text)
    result = JobResult(output_text=text, answer=text, verification=Verification(level="V0", checks=checks))
    return result, fault or _verdict(state).failure
