"""Solve: carry out one order. It runs once per order of a wave, in parallel, and its reply is recorded before anything else happens.

A failure of the budget or of the model server does not break the wave: it comes back as a ``Try`` with an ``error_code``, unrecorded, so that a
resumed job may try again.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from langgraph.runtime import Runtime
from pydantic import JsonValue

from slow_worker.context import JobContext
from slow_worker.plans import DRAFT, PROGRAM, REASON
from slow_worker.strategies.common import Assignment
from slow_worker.strategies.cot import attempt_cot
from slow_worker.strategies.direct import attempt_direct
from slow_worker.strategies.program import attempt_program
from slow_worker.strategies.step import attempt_step
from slow_worker.workspace import Order, Sent, Strategy, Try, Update
from tandem.errors import BudgetReached, ModelError

_STRATEGIES: Final[dict[Strategy, Callable[[Assignment], Awaitable[Try]]]] = {
    "cot": attempt_cot,
    "program": attempt_program,
    "direct": attempt_direct,
    "step": attempt_step,
}
_STEPS: Final[dict[Strategy, str]] = {"cot": REASON, "program": PROGRAM, "direct": DRAFT}


async def solve(state: Sent, runtime: Runtime[JobContext]) -> Update:
    """One attempt, made or recalled."""
    context, order = runtime.context, state["order"]
    step_id = order.step_id or _STEPS.get(order.strategy, "")
    await context.progress.step_started(step_id)
    work = Assignment(order=order, task=state["task"], plan=state["plan"], context=context)
    try:
        recorded = await context.effects.once(order.key, lambda: _make(work))
    except (BudgetReached, ModelError) as error:
        return {"tries": [_failed(order, error)]}
    attempt = Try.model_validate(recorded.result)
    if recorded.is_recalled and not _is_reported(attempt, context):
        context.ledger.charge(attempt.usage)
    await _report(attempt, step_id, context)
    return {"tries": [attempt]}


async def _make(work: Assignment) -> JsonValue:
    started = time.perf_counter()
    attempt = await _STRATEGIES[work.order.strategy](work)
    usage = attempt.usage.model_copy(update={"seconds": round(time.perf_counter() - started, 3)})
    result: JsonValue = attempt.model_copy(update={"usage": usage}).model_dump(mode="json")
    return result


async def _report(attempt: Try, step_id: str, context: JobContext) -> None:
    if attempt.strategy == "step":
        await context.progress.step_completed(step_id, attempt.text[:200], "failed" if attempt.error else "done")
    else:
        await context.progress.solution_attempted(attempt)


def _is_reported(attempt: Try, context: JobContext) -> bool:
    """Whether the view, and with it the usage this run started from, already holds the attempt."""
    return context.progress.knows_attempt(attempt.id) or (attempt.step_id is not None and context.progress.is_done(attempt.step_id))


def _failed(order: Order, error: BudgetReached | ModelError) -> Try:
    return Try(id=order.key, wave=order.wave, strategy=order.strategy, step_id=order.step_id, error=error.message, error_code=error.code)
