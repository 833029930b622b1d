"""Verify: what the attempts amount to, and whether more are worth making. Checks are reported only for the verdict that stands."""

from dataclasses import replace
from typing import Final

from langgraph.runtime import Runtime

from slow_worker.context import JobContext
from slow_worker.judging import judge
from slow_worker.plans import CHECK, COMPARE, DRAFT, PROGRAM, REASON
from slow_worker.results import best_so_far
from slow_worker.room import room_of
from slow_worker.stops import BudgetStop
from slow_worker.waves import next_wave
from slow_worker.workspace import Order, Task, Try, Update, Verdict, Workspace, without_refused
from tandem.errors import BudgetReached, ModelBadResponse, ModelContextExceeded, ModelError, ModelTimeout, ModelUnavailable
from tandem.schemas.jobs import JobFailure

_MODEL_ERRORS: Final[dict[str, type[ModelError]]] = {
    error.code: error for error in (ModelUnavailable, ModelTimeout, ModelBadResponse, ModelContextExceeded)
}
_STOPPING: Final = frozenset({ModelUnavailable.code, ModelContextExceeded.code})
"""Failures that another wave would meet again; other failures of the model are attempts that gave nothing."""
_ENOUGH_CALLS: Final = 1_000


async def verify(state: Workspace, runtime: Runtime[JobContext]) -> Update:
    """Judge the newest wave; order another one or settle.

    Raises:
        ModelError: The server failed the whole wave and there is nothing to fall back on.
        BudgetStop: The budget ended the search, and the caller wants to be asked.
    """
    context, task, tries = runtime.context, state["task"], state["tries"]
    if context.ledger.reached is None:
        # What the budget refused to an earlier run may be allowed now.
        tries = without_refused(tries)
    orders = next_wave(task, state["plan"], tries, context.policy, room_of(context))
    verdict = _judge(state, tries, orders, context)
    if verdict.reason == "budget" and verdict.failure and context.waits_for_budget:
        raise BudgetStop(verdict.failure, best_so_far({**state, "tries": tries}, context.policy))
    if not verdict.is_final:
        return {"task": await _steered(task, orders, context), "verdict": verdict, "orders": orders}
    await _report(verdict, task, context)
    return {"verdict": verdict, "orders": []}


async def _steered(task: Task, orders: list[Order], context: JobContext) -> Task:
    steers = await context.progress.take_steers(f"wave {orders[0].wave}")
    return task.model_copy(update={"steers": steers})


def _judge(state: Workspace, tries: list[Try], orders: list[Order], context: JobContext) -> Verdict:
    task = state["task"]
    verdict = judge(task, tries, orders, context.policy)
    wave = [attempt for attempt in tries if attempt.wave == tries[-1].wave] if tries else []
    if verdict.is_final and verdict.reason == "agreed":
        return verdict
    is_lost = bool(wave) and all(attempt.error_code in _STOPPING for attempt in wave)
    if (is_lost or verdict.is_final) and tries and all(attempt.error_code in _MODEL_ERRORS for attempt in tries):
        raise _MODEL_ERRORS[wave[0].error_code or ""](wave[0].error or "the model server failed")
    if is_lost:
        return verdict.model_copy(update={"is_final": True, "reason": "model", "failure": _failure(wave[0])})
    if (failure := _budget_failure(state, tries, verdict, context)) is not None:
        return verdict.model_copy(update={"is_final": True, "reason": "budget", "failure": failure})
    return verdict


def _budget_failure(state: Workspace, tries: list[Try], verdict: Verdict, context: JobContext) -> JobFailure | None:
    """Which meter ended the search; None when none did."""
    refused = next((attempt for attempt in tries if attempt.error_code == BudgetReached.code), None)
    if refused is not None:
        return _failure(refused)
    if not verdict.is_final or not _is_budget_the_callers(context):
        return None
    # An open task that has notes on some steps only is written from those, unless the caller wants to be asked.
    is_cut_short = bool(next_wave(state["task"], state["plan"], tries, context.policy, replace(room_of(context), calls_left=_ENOUGH_CALLS)))
    if verdict.reason == "exhausted" or (is_cut_short and context.waits_for_budget):
        return JobFailure(code=BudgetReached.code, message="the job's budget of model calls is reached")
    return None


def _is_budget_the_callers(context: JobContext) -> bool:
    """Whether the caller's own limit on calls, not the effort's, ended the search."""
    asked = context.request.budget.max_calls
    return asked is not None and asked < context.policy.max_calls and context.ledger.calls_left() == 0


def _failure(attempt: Try) -> JobFailure:
    return JobFailure(code=attempt.error_code or "internal_error", message=attempt.error or "")


async def _report(verdict: Verdict, task: Task, context: JobContext) -> None:
    progress = context.progress
    judge_step = CHECK if task.kind in {"json", "code"} else COMPARE
    if task.kind != "open" and not progress.is_done(judge_step):
        for step in (REASON, PROGRAM, DRAFT):
            await progress.step_completed(step)
        await progress.step_started(judge_step)
        for check in verdict.checks:
            await progress.verified(check)
        await progress.step_completed(judge_step, verdict.winner[:200] if verdict.winner else "")
    if verdict.reason == "budget" and verdict.failure:
        await progress.budget_reached(verdict.failure.message)
