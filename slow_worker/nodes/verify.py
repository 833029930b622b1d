"""Verify: what the attempts amount to, and whether more are worth making. Checks are reported only for the verdict that stands."""

from langgraph.runtime import Runtime

from slow_worker.context import JobContext
from slow_worker.nodes.room import room_of
from slow_worker.plans import CHECK, COMPARE, DRAFT, PROGRAM, REASON
from slow_worker.verifiers.agreement import agreement_checks, poll
from slow_worker.waves import next_wave
from slow_worker.workspace import Order, Task, Try, Update, Verdict, Workspace
from tandem.errors import BudgetReached, ModelBadResponse, ModelContextExceeded, ModelError, ModelTimeout, ModelUnavailable
from tandem.schemas.jobs import Check, JobFailure, VerificationLevel

_MODEL_ERRORS: dict[str, type[ModelError]] = {error.code: error for error in (ModelUnavailable, ModelTimeout, ModelBadResponse, ModelContextExceeded)}
_STOPPING = frozenset({ModelUnavailable.code, ModelContextExceeded.code})
"""Failures that another wave would meet again; other failures of the model are attempts that gave nothing."""
_TRUST: tuple[VerificationLevel, ...] = ("V4", "V3", "V2", "V1", "V0")


async def verify(state: Workspace, runtime: Runtime[JobContext]) -> Update:
    """Judge the newest wave; order another one or settle.

    Raises:
        ModelError: The server failed the whole wave and there is nothing to fall back on.
    """
    context, task, tries = runtime.context, state["task"], state["tries"]
    orders = next_wave(task, state["plan"], tries, context.policy, room_of(context))
    verdict = _judge(task, tries, orders, context)
    if not verdict.is_final:
        return {"verdict": verdict, "orders": orders}
    await _report(verdict, task, context)
    return {"verdict": verdict, "orders": []}


def _judge(task: Task, tries: list[Try], orders: list[Order], context: JobContext) -> Verdict:
    verdict = {"open": _judge_notes, "json": _judge_form, "code": _judge_form}.get(task.kind, _judge_votes)(tries, orders, context)
    wave = [attempt for attempt in tries if attempt.wave == tries[-1].wave] if tries else []
    stopped = next((attempt for attempt in wave if attempt.error_code == BudgetReached.code), None)
    if verdict.is_final and verdict.reason == "agreed":
        return verdict
    is_lost = bool(wave) and all(attempt.error_code in _STOPPING for attempt in wave)
    if (is_lost or verdict.is_final) and tries and all(attempt.error_code in _MODEL_ERRORS for attempt in tries):
        raise _MODEL_ERRORS[wave[0].error_code or ""](wave[0].error or "the model server failed")
    if is_lost:
        return verdict.model_copy(update={"is_final": True, "reason": "model", "failure": _failure(wave[0])})
    if stopped or (verdict.is_final and verdict.reason == "exhausted" and _is_budget_the_callers(context)):
        failure = _failure(stopped) if stopped else JobFailure(code=BudgetReached.code, message="the job's budget of model calls is reached")
        return verdict.model_copy(update={"is_final": True, "reason": "budget", "failure": failure})
    return verdict


def _judge_votes(tries: list[Try], orders: list[Order], context: JobContext) -> Verdict:
    votes = poll(tries)
    leader = votes.groups[0] if votes.groups else None
    checks = agreement_checks(votes, context.policy.tau)
    is_safe = votes.votes >= context.policy.min_votes and votes.lead >= context.policy.tau
    return Verdict(
        is_final=is_safe or not orders,
        reason="agreed" if is_safe else "exhausted",
        winner=leader.answer if leader else None,
        confidence=round(votes.share, 3) if leader else None,
        level=_level(checks) if leader and len(leader.members) > 1 else "V0",
        checks=checks,
        supporters=[attempt.id for attempt in leader.members] if leader else [],
    )


def _judge_form(tries: list[Try], orders: list[Order], _context: JobContext) -> Verdict:
    good = next((attempt for attempt in tries if attempt.error is None), None)
    newest = next((attempt for attempt in reversed(tries) if attempt.error_code is None), None)
    is_json = good is not None and good.program is None
    check = Check(
        name="holds_the_contract",
        level="V3" if is_json else "V0",
        passed=good is not None,
        detail=(newest.error or "") if newest and good is None else "",
    )
    return Verdict(
        is_final=good is not None or not orders,
        reason="agreed" if good else "exhausted",
        winner=good.answer if good else None,
        level=check.level if good else "V0",
        checks=[check],
        supporters=[good.id] if good else [],
    )


def _judge_notes(_tries: list[Try], orders: list[Order], _context: JobContext) -> Verdict:
    return Verdict(is_final=not orders, reason="open")


def _level(checks: list[Check]) -> VerificationLevel:
    """The highest level among the checks that passed."""
    passed = {check.level for check in checks if check.passed}
    for level in _TRUST:
        if level in passed:
            return level
    return "V0"


def _is_budget_the_callers(context: JobContext) -> bool:
    """Whether the caller's own limit on calls, not the effort's, ended the search."""
    asked = context.request.budget.max_calls
    return asked is not None and asked < context.policy.max_calls and context.ledger.calls_left() == 0


def _failure(attempt: Try) -> JobFailure:
    return JobFailure(code=attempt.error_code or "internal_error", message=attempt.error or "")


async def _report(verdict: Verdict, task: Task, context: JobContext) -> None:
    progress = context.progress
    if task.kind != "open":
        for step in (REASON, PROGRAM, DRAFT):
            await progress.step_completed(step)
        judge = CHECK if task.kind in {"json", "code"} else COMPARE
        await progress.step_started(judge)
        for check in verdict.checks:
            await progress.verified(check)
        await progress.step_completed(judge, verdict.winner[:200] if verdict.winner else "")
    if verdict.reason == "budget" and verdict.failure:
        await progress.budget_reached(verdict.failure.message)
