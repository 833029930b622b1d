"""How hard to think: what each effort may spend and when it is sure enough.

The thresholds are those of the Beta-posterior stop (``posterior.py``): first stops, in unweighted votes, are 2-0 for low, 3-0 for medium (three votes
at least above low), 4-0 for high, 6-0 for max.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from slow_worker.budget import Limits
from tandem.schemas.jobs import Budget
from tandem.schemas.routing import Effort

_PROMPTS_PER_TURN: Final = 3


@dataclass(frozen=True, slots=True)
class EffortPolicy:
    """What one effort may spend, and when it stops by itself."""

    tau: float
    """P(the leading answer is the majority's), 0..1, at which voting stops."""
    min_votes: int
    plan_steps: int
    """Steps worked out one by one for an open task; 0 answers it directly."""
    repairs: int
    """Further tries at an answer that broke its contract."""
    patience_s: float
    """Voting that has an answer starts no further wave after these seconds: on a slow machine a result in time is worth more than one more vote."""
    max_calls: int
    max_tokens: int
    max_seconds: float
    max_tool_calls: int
    attempt_tokens: int = 640
    """Longest chain of thought or program."""
    step_tokens: int = 160
    """Longest notes on one step."""
    answer_tokens: int = 700
    """Longest written answer."""

    def with_tools(self) -> "EffortPolicy":
        """What the effort may spend on a task that is worked out by turns: a turn per tool call, with all that was found in its prompt."""
        return replace(
            self,
            max_calls=self.max_calls + self.max_tool_calls,
            max_tokens=self.max_tokens * _PROMPTS_PER_TURN,
            max_seconds=self.max_seconds * 2,
        )


POLICIES: Final[Mapping[Effort, EffortPolicy]] = {
    "low": EffortPolicy(0.85, 2, 0, 1, 45, max_calls=3, max_tokens=12_000, max_seconds=180, max_tool_calls=3),
    "medium": EffortPolicy(0.90, 3, 4, 2, 75, max_calls=8, max_tokens=40_000, max_seconds=600, max_tool_calls=8),
    "high": EffortPolicy(0.95, 3, 6, 3, 600, max_calls=16, max_tokens=100_000, max_seconds=1_800, max_tool_calls=16, answer_tokens=1_200),
    "max": EffortPolicy(0.99, 3, 6, 4, 3_600, max_calls=32, max_tokens=250_000, max_seconds=7_200, max_tool_calls=32, answer_tokens=1_600),
}


def limits_of(policy: EffortPolicy, budget: Budget) -> Limits:
    """The caller's budget, filled from the effort's defaults where it is silent."""
    return Limits(
        calls=budget.max_calls or policy.max_calls,
        tokens=budget.max_tokens or policy.max_tokens,
        seconds=budget.max_seconds or policy.max_seconds,
        tool_calls=policy.max_tool_calls if budget.max_tool_calls is None else budget.max_tool_calls,
        cost_usd=budget.max_cost_usd,
    )
