"""The budget ledger: asked before each call, told after it, never overdrawn.

A call is granted only if calls, tokens, seconds and money suffice for its prompt and the longest reply it may give; what parallel calls may still
use counts as spent until they are settled. A reserve is kept for the final writing. The ledger knows no model; tokens of a prompt are estimated from
above.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tandem.errors import BudgetReached
from tandem.schemas.chat import ChatMessage, TokenUsage
from tandem.schemas.jobs import Usage
from tandem.tokens import text_tokens

SMALLEST_REPLY: Final = 24
"""A reply of fewer tokens is of no use: rather stop."""
WARNING_SHARE: Final = 0.8
"""Used-up share of a meter that is worth a warning."""
_MESSAGE_TOKENS: Final = 16
"""Template tokens around one message, and its share of a default system prompt, at most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may spend. ``cost_usd`` None is unlimited."""

    calls: int
    tokens: int
    seconds: float
    tool_calls: int
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input_usd: float = 0.0
    output_usd: float = 0.0

    def of(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.input_usd + output_tokens * self.output_usd) / 1_000_000


@dataclass(frozen=True, slots=True)
class Reserve:
    """What is kept back for the final writing."""

    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Meter:
    """One of the limits, and how far it is used up."""

    name: str
    """Field of the budget: ``max_calls``, ..."""
    spent: float
    limit: float

    @property
    def is_near(self) -> bool:
        """Whether it has passed the share at which the caller is warned."""
        return self.spent >= WARNING_SHARE * self.limit


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to make one call."""

    prompt_tokens: int
    """Estimated from above."""
    max_tokens: int
    seconds: float
    """The call must end within this time."""


def prompt_tokens(messages: list[ChatMessage]) -> int:
    """Tokens of a prompt, estimated from above for byte-pair vocabularies that know English and Chinese: digits singly, letters in threes."""
    return 24 + sum(_MESSAGE_TOKENS + text_tokens(message.content) for message in messages)


class BudgetLedger:
    """Meters of one job.

    Args:
        limits: What may be spent in all.
        price: For the meter of dollars.
        spent: What earlier runs of this job have spent, their seconds included.
        monotonic: Seconds since some start.
        reserve: Kept back from every call that is not the last one.
    """

    def __init__(self, limits: Limits, price: Price, spent: Usage, monotonic: Callable[[], float], reserve: Reserve | None = None) -> None:
        self._limits = limits
        self._price = price
        self._spent = spent
        self._monotonic = monotonic
        self._started = monotonic()
        self._open: list[Grant] = []
        self._warned = {meter.name for meter in self._meters() if meter.is_near}
        self.reached: BudgetReached | None = None
        """The newest refusal of this run."""
        self.reserve = reserve or Reserve()

    @property
    def spent(self) -> Usage:
        """What has been spent, this run's seconds included."""
        return self._spent.model_copy(update={"seconds": round(self._seconds(), 3)})

    def new_warnings(self) -> list[Meter]:
        """Meters that have passed four fifths since the last look; each is told once per run, and not again by a run that starts beyond it."""
        news = [meter for meter in self._meters() if meter.is_near and meter.name not in self._warned]
        self._warned |= {meter.name for meter in news}
        return news

    def calls_left(self) -> int:
        """Calls that may still be made before the last one."""
        return max(0, self._limits.calls - self.reserve.calls - self._spent.calls - len(self._open))

    def grant(self, prompt: int, wanted: int, *, is_last: bool = False) -> Grant:
        """Leave to make a call whose reply is at most ``wanted`` tokens, fewer where the budget says so.

        Raises:
            BudgetReached: Something would not suffice; the message names the meter.
        """
        reserve = Reserve() if is_last else self.reserve
        if self._spent.calls + len(self._open) + 1 > self._limits.calls - reserve.calls:
            raise self.refusal(f"the budget of {self._limits.calls} model calls is reached", "max_calls")
        seconds = self._limits.seconds - reserve.seconds - self._seconds()
        if seconds <= 0:
            raise self.refusal(f"the budget of {self._limits.seconds:g} seconds is reached", "max_seconds")
        reply = min(wanted, self._tokens_left(reserve) - prompt)
        if reply < min(SMALLEST_REPLY, wanted):
            raise self.refusal(f"the budget of {self._limits.tokens} tokens does not allow another call", "max_tokens")
        self._check_cost(prompt, reply)
        grant = Grant(prompt_tokens=prompt, max_tokens=reply, seconds=seconds)
        self._open.append(grant)
        return grant

    def settle(self, grant: Grant, used: TokenUsage) -> Usage:
        """Record what the call used; returns its share."""
        self._open.remove(grant)
        share = Usage(
            calls=1,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cost_usd=self._price.of(used.input_tokens, used.output_tokens),
        )
        self.charge(share)
        return share

    def release(self, grant: Grant) -> None:
        """The call never reached the model."""
        self._open.remove(grant)

    def tool_calls_left(self) -> int:
        """Tool calls that may still be made."""
        return max(0, self._limits.tool_calls - self._spent.tool_calls)

    def left(self) -> Limits:
        """What may still be spent before the last call: the most that a part of the job can get."""
        cost = self._limits.cost_usd
        return Limits(
            calls=self.calls_left(),
            tokens=max(0, self._tokens_left(self.reserve)),
            seconds=max(0.0, self._limits.seconds - self.reserve.seconds - self._seconds()),
            tool_calls=self.tool_calls_left(),
            cost_usd=None if cost is None else max(0.0, cost - self._spent.cost_usd),
        )

    def take_tool_call(self, cost_usd: float = 0.0) -> None:
        """Count one tool call and its price. Raises ``BudgetReached``."""
        if self._spent.tool_calls + 1 > self._limits.tool_calls:
            raise self.refusal(f"the budget of {self._limits.tool_calls} tool calls is reached", "max_tool_calls")
        if self._limits.seconds - self._seconds() <= 0:
            raise self.refusal(f"the budget of {self._limits.seconds:g} seconds is reached", "max_seconds")
        cost = self._spent.cost_usd + cost_usd
        if cost_usd and self._limits.cost_usd is not None and cost > self._limits.cost_usd:
            raise self.refusal(f"the budget of {self._limits.cost_usd:g} US dollars does not allow another tool call", "max_cost_usd")
        self._spent = self._spent.model_copy(update={"tool_calls": self._spent.tool_calls + 1, "cost_usd": cost})

    def charge(self, usage: Usage) -> None:
        """Add what was spent outside this ledger's own grants (a recorded effect of a run that died); its seconds are not counted again."""
        spent = self._spent
        self._spent = Usage(
            calls=spent.calls + usage.calls,
            input_tokens=spent.input_tokens + usage.input_tokens,
            output_tokens=spent.output_tokens + usage.output_tokens,
            tool_calls=spent.tool_calls + usage.tool_calls,
            seconds=spent.seconds,
            cost_usd=spent.cost_usd + usage.cost_usd,
        )

    def refusal(self, message: str, meter: str) -> BudgetReached:
        """What to raise when a meter does not allow a call, or ran out during one; kept as ``reached``."""
        self.reached = BudgetReached(message, param=f"budget.{meter}")
        return self.reached

    def _meters(self) -> list[Meter]:
        spent, limits = self._spent, self._limits
        meters = [
            Meter("max_calls", spent.calls, limits.calls),
            Meter("max_tokens", spent.input_tokens + spent.output_tokens, limits.tokens),
            Meter("max_seconds", round(self._seconds(), 3), limits.seconds),
        ]
        if limits.tool_calls:
            meters.append(Meter("max_tool_calls", spent.tool_calls, limits.tool_calls))
        if limits.cost_usd:
            meters.append(Meter("max_cost_usd", spent.cost_usd, limits.cost_usd))
        return meters

    def _seconds(self) -> float:
        return self._spent.seconds + self._monotonic() - self._started

    def _tokens_left(self, reserve: Reserve) -> int:
        pending = sum(grant.prompt_tokens + grant.max_tokens for grant in self._open)
        return self._limits.tokens - reserve.tokens - self._spent.input_tokens - self._spent.output_tokens - pending

    def _check_cost(self, prompt: int, reply: int) -> None:
        if self._limits.cost_usd is None:
            return
        pending = sum(self._price.of(grant.prompt_tokens, grant.max_tokens) for grant in self._open)
        if self._spent.cost_usd + pending + self._price.of(prompt, reply) > self._limits.cost_usd:
            raise self.refusal(f"the budget of {self._limits.cost_usd:g} US dollars does not allow another call", "max_cost_usd")
