"""What attempts amount to: a verdict, from the attempts alone. Pure; whether the budget or the model server ended the search is for the node."""

from collections.abc import Sequence
from typing import Final

from slow_worker.effort import EffortPolicy
from slow_worker.verifiers.agreement import agreement_checks, poll
from slow_worker.workspace import Order, Task, Try, Verdict
from tandem.schemas.jobs import Check, VerificationLevel

_TRUST: Final[tuple[VerificationLevel, ...]] = ("V4", "V3", "V2", "V1", "V0")


def judge(task: Task, tries: Sequence[Try], orders: Sequence[Order], policy: EffortPolicy) -> Verdict:
    """The verdict on the attempts; final when it is safe, or when no ``orders`` are left to carry out."""
    match task.kind:
        case "open":
            return Verdict(is_final=not orders, reason="open")
        case "json" | "code":
            return _judge_form(tries, orders)
        case "math" | "choice":
            return _judge_votes(tries, orders, policy)


def _judge_votes(tries: Sequence[Try], orders: Sequence[Order], policy: EffortPolicy) -> Verdict:
    votes = poll(tries)
    leader = votes.groups[0] if votes.groups else None
    checks = agreement_checks(votes, policy.tau)
    is_safe = votes.votes >= policy.min_votes and votes.lead >= policy.tau
    return Verdict(
        is_final=is_safe or not orders,
        reason="agreed" if is_safe else "exhausted",
        winner=leader.answer if leader else None,
        confidence=round(votes.share, 3) if leader else None,
        level=_level(checks) if leader and len(leader.members) > 1 else "V0",
        checks=checks,
        supporters=[attempt.id for attempt in leader.members] if leader else [],
    )


def _judge_form(tries: Sequence[Try], orders: Sequence[Order]) -> Verdict:
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


def _level(checks: Sequence[Check]) -> VerificationLevel:
    """The highest level among the checks that passed."""
    passed = {check.level for check in checks if check.passed}
    for level in _TRUST:
        if level in passed:
            return level
    return "V0"
