"""Agreement: attempts vote with their canonical answers, and the posterior says whether the lead is safe.

An executed program weighs more than a chain of thought: it makes no slips in arithmetic. An answer that a program and a chain of thought reach
independently is V3 once the lead is safe and V2 before; a majority within one strategy is V1; a single vote is V0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from slow_worker.posterior import lead_probability
from slow_worker.workspace import Strategy, Try
from tandem.answers import same
from tandem.schemas.jobs import Check, VerificationLevel

WEIGHTS: Final[dict[Strategy, float]] = {"cot": 1.0, "program": 1.5, "direct": 1.0, "step": 0.0}
"""Votes of one attempt. 1.5 per program gave 27 of 40 right against 26 with 1.0 (Coder-1.5B, GSM8K; notes/reasoning)."""


@dataclass(slots=True)
class Group:
    """Attempts with one answer."""

    answer: str
    weight: float = 0.0
    members: list[Try] = field(default_factory=list[Try])

    @property
    def strategies(self) -> set[Strategy]:
        return {attempt.strategy for attempt in self.members}


@dataclass(frozen=True, slots=True)
class Poll:
    """The votes, the heaviest answer first."""

    groups: Sequence[Group]

    @property
    def votes(self) -> int:
        return sum(len(group.members) for group in self.groups)

    @property
    def share(self) -> float:
        """Weight of the leader among all, 0..1."""
        total = sum(group.weight for group in self.groups)
        return self.groups[0].weight / total if total else 0.0

    @property
    def lead(self) -> float:
        """P(the leader is the majority's answer), 0..1; 0 without votes."""
        if not self.groups:
            return 0.0
        return lead_probability(self.groups[0].weight, self.groups[1].weight if len(self.groups) > 1 else 0.0)


def poll(tries: Sequence[Try]) -> Poll:
    """Group the answers; an attempt without one does not vote. Ties go to the answer that was there first."""
    groups: list[Group] = []
    for attempt in tries:
        if attempt.answer is None:
            continue
        group = next((group for group in groups if same(group.answer, attempt.answer)), None)
        if group is None:
            groups.append(group := Group(attempt.answer))
        group.members.append(attempt)
        group.weight += WEIGHTS[attempt.strategy]
    return Poll(sorted(groups, key=lambda group: -group.weight))


def agreement_checks(result: Poll, tau: float) -> list[Check]:
    """What the votes prove about the leader."""
    if not result.groups:
        return [Check(name="answers_agree", level="V0", passed=False, detail="no attempt gave an answer")]
    leader = result.groups[0]
    is_safe = result.lead >= tau
    detail = f"{len(leader.members)} of {result.votes} attempts say {leader.answer}; P(majority) {result.lead:.2f}"
    checks: list[Check] = []
    if {"cot", "program"} <= leader.strategies:
        level: VerificationLevel = "V3" if is_safe else "V2"
        checks.append(Check(name="program_agrees_with_reasoning", level=level, passed=True, detail=detail))
    majority: VerificationLevel = "V1" if len(leader.members) > 1 else "V0"
    checks.append(Check(name="answers_agree", level=majority, passed=is_safe and len(leader.members) > 1, detail=detail))
    return checks
