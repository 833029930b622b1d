"""The budget ledger: whatever is asked, nothing is overdrawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slow_worker.budget import BudgetLedger, Limits, Meter, Price, Reserve, prompt_tokens
from slow_worker.effort import POLICIES, limits_of
from tandem.errors import BudgetReached
from tandem.schemas.chat import ChatMessage, TokenUsage
from tandem.schemas.jobs import Budget, Usage
from tandem.testing.clock import FakeClock

LIMITS = Limits(calls=3, tokens=1_000, seconds=60, tool_calls=1, cost_usd=1.0)


def ledger(limits: Limits = LIMITS, *, clock: FakeClock | None = None, reserve: Reserve | None = None, spent: Usage | None = None) -> BudgetLedger:
    return BudgetLedger(limits, Price(input_usd=100, output_usd=200), spent or Usage(), (clock or FakeClock()).monotonic, reserve)


def test_calls_under_way_count() -> None:
    budget = ledger()
    for _ in range(3):
        budget.grant(10, 100)

    with pytest.raises(BudgetReached, match="3 model calls"):
        budget.grant(10, 100)


def test_a_reply_is_shortened_to_what_is_left() -> None:
    budget = ledger()
    budget.settle(budget.grant(100, 600), TokenUsage(input_tokens=100, output_tokens=600))

    assert budget.grant(100, 600).max_tokens == 200


def test_a_reply_too_short_to_be_of_use_is_not_asked_for() -> None:
    with pytest.raises(BudgetReached, match="tokens"):
        ledger().grant(990, 600)


def test_the_reserve_is_for_the_last_call() -> None:
    budget = ledger(reserve=Reserve(calls=3))

    with pytest.raises(BudgetReached):
        budget.grant(10, 100)
    assert budget.grant(10, 100, is_last=True).max_tokens == 100


def test_seconds_run_from_the_start_and_include_earlier_runs() -> None:
    clock = FakeClock()
    budget = ledger(clock=clock, spent=Usage(seconds=50))
    assert budget.grant(10, 10).seconds == pytest.approx(10)

    clock.advance(11)

    with pytest.raises(BudgetReached, match="60 seconds"):
        budget.grant(10, 10)
    assert budget.spent.seconds == 61


def test_money_is_reckoned_before_it_is_spent() -> None:
    with pytest.raises(BudgetReached, match="US dollars"):
        ledger(Limits(calls=9, tokens=10**9, seconds=60, tool_calls=0, cost_usd=0.01)).grant(100, 100)


def test_a_call_that_never_reached_the_model_is_free() -> None:
    budget = ledger()
    budget.release(budget.grant(10, 100))

    assert (budget.spent.calls, budget.calls_left()) == (0, 3)


def test_tool_calls_are_counted() -> None:
    budget = ledger()
    budget.take_tool_call()

    with pytest.raises(BudgetReached, match="1 tool calls"):
        budget.take_tool_call()


def test_a_meter_is_warned_of_once_from_four_fifths_on() -> None:
    budget = ledger(Limits(calls=5, tokens=10_000, seconds=60, tool_calls=0))
    for _ in range(3):
        budget.settle(budget.grant(10, 10), TokenUsage(input_tokens=10))
    assert budget.new_warnings() == []

    budget.settle(budget.grant(10, 10), TokenUsage(input_tokens=10))

    assert budget.new_warnings() == [Meter("max_calls", 4, 5)]
    assert budget.new_warnings() == []


def test_a_run_that_starts_beyond_four_fifths_does_not_warn_again() -> None:
    assert ledger(spent=Usage(calls=3)).new_warnings() == []


def test_the_newest_refusal_is_remembered_with_its_meter() -> None:
    budget = ledger(Limits(calls=0, tokens=10, seconds=60, tool_calls=0))
    assert budget.reached is None

    with pytest.raises(BudgetReached):
        budget.grant(10, 10)

    assert budget.reached is not None
    assert budget.reached.param == "budget.max_calls"


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400), st.floats(0, 1), st.booleans()), max_size=30))
def test_no_course_of_calls_overdraws_it(calls: list[tuple[int, int, float, bool]]) -> None:
    budget = ledger()
    for prompt, wanted, share, is_last in calls:
        try:
            grant = budget.grant(prompt, wanted, is_last=is_last)
        except BudgetReached:
            continue
        budget.settle(grant, TokenUsage(input_tokens=prompt, output_tokens=round(grant.max_tokens * share)))

    assert budget.spent.calls <= LIMITS.calls
    assert budget.spent.input_tokens + budget.spent.output_tokens <= LIMITS.tokens
    assert LIMITS.cost_usd is not None
    assert budget.spent.cost_usd <= LIMITS.cost_usd


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello world", 2),
        ("1234567890", 10),
        ("妈妈带了30元，买了一条鱼，剩6元，这条鱼多少钱？", 20),
        ("def solve():\n    return april + april // 2", 15),
    ],
)
def test_prompts_are_estimated_from_above(text: str, tokens: int) -> None:
    assert prompt_tokens([ChatMessage(role="user", content=text)]) >= tokens


def test_what_the_caller_leaves_out_comes_from_the_effort() -> None:
    limits = limits_of(POLICIES["medium"], Budget(max_calls=2, max_tool_calls=0))

    assert (limits.calls, limits.tool_calls, limits.seconds) == (2, 0, POLICIES["medium"].max_seconds)
