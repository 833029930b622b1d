from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy import Policy, decide, default_policy
from tandem.errors import SettingsInvalid
from tandem.ports import Classifier, Score, Turns
from tandem.schemas.routing import Effort, Lane
from tandem.settings import RouterSettings

PROBABILITY = st.floats(0, 1)


class Scripted:
    version = "scripted"

    def __init__(self, p_slow: float) -> None:
        self._p_slow = p_slow

    def score(self, turns: Turns) -> Score:
        return Score(p_slow=self._p_slow, contributions=())


@given(p_slow=PROBABILITY, low=PROBABILITY, high=PROBABILITY)
def test_raising_the_threshold_never_sends_more_slow(p_slow: float, low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    lanes = [decide(Turns(text="words"), Scripted(p_slow), Policy(threshold, "test")).lane for threshold in (low, high)]
    assert lanes != ["fast", "slow"]


@given(p_slow=PROBABILITY, threshold=PROBABILITY)
def test_at_the_threshold_a_request_goes_slow(p_slow: float, threshold: float) -> None:
    decision = decide(Turns(text="words"), Scripted(p_slow), Policy(threshold, "test"))
    assert decision.lane == ("slow" if p_slow >= threshold else "fast")
    assert decision.margin == p_slow - threshold


@pytest.mark.parametrize("lane", ["fast", "slow"])
@pytest.mark.parametrize("text", ["/deep why", "/fast why", "think hard", "认真想想", "hi"])
def test_the_callers_lane_beats_everything(lane: Lane, text: str, certain_slow: Classifier, certain_fast: Classifier, policy: Policy) -> None:
    for classifier in (certain_fast, certain_slow):
        decision = decide(Turns(text=text, choice=lane, effort="max"), classifier, policy)
        assert (decision.lane, decision.override) == (lane, "lane")


def test_a_command_in_the_text_beats_the_effort(certain_slow: Classifier, policy: Policy) -> None:
    decision = decide(Turns(text="/fast prove it", effort="high"), certain_slow, policy)
    assert (decision.lane, decision.override, decision.effort) == ("fast", "text", "high")


@pytest.mark.parametrize("effort", ["high", "max"])
def test_a_high_effort_goes_slow(effort: Effort, certain_fast: Classifier, policy: Policy) -> None:
    decision = decide(Turns(text="hi", effort=effort), certain_fast, policy)
    assert (decision.lane, decision.override, decision.effort) == ("slow", "effort", effort)


@pytest.mark.parametrize("effort", ["low", "medium"])
def test_a_low_effort_leaves_the_lane_to_the_score(effort: Effort, certain_slow: Classifier, policy: Policy) -> None:
    decision = decide(Turns(text="prove it", effort=effort), certain_slow, policy)
    assert (decision.lane, decision.override, decision.effort) == ("slow", None, effort)


def test_the_fast_lane_has_low_effort(certain_fast: Classifier, policy: Policy) -> None:
    assert decide(Turns(text="hi"), certain_fast, policy).effort == "low"


def test_thinking_hard_on_request_has_high_effort(certain_fast: Classifier, policy: Policy) -> None:
    assert decide(Turns(text="Think hard: is it so?"), certain_fast, policy).effort == "high"


@pytest.mark.parametrize(
    ("text", "effort"),
    [
        ("Tom has 3 apples and buys 4. How many?", "medium"),
        ("Research the market, compare the players and write a report within the budget", "high"),
        ("深入调研行业现状，撰写报告并对比分析", "high"),
    ],
)
def test_a_demanding_task_has_high_effort(text: str, effort: Effort, certain_slow: Classifier, policy: Policy) -> None:
    assert decide(Turns(text=text), certain_slow, policy).effort == effort


def test_an_unsure_slow_decision_has_medium_effort(policy: Policy) -> None:
    assert decide(Turns(text="Prove it by induction"), Scripted(0.6), policy).effort == "medium"


def test_equal_arguments_give_equal_decisions(shipped: Classifier, policy: Policy) -> None:
    turns = Turns(text="Plan a week in Rome", history=("hi",), previous_lane="fast")
    first, second = (decide(turns, shipped, policy, timer_ns=lambda: 0) for _ in range(2))
    assert first == second


def test_the_latency_comes_from_the_timer(certain_fast: Classifier, policy: Policy) -> None:
    ticks: Iterator[int] = count(0, 2_500)
    assert decide(Turns(text="hi"), certain_fast, policy, timer_ns=lambda: next(ticks)).latency_us == 2.5


def test_a_decision_says_what_made_it(shipped: Classifier, policy: Policy) -> None:
    decision = decide(Turns(text="证明根号2是无理数"), shipped, policy)
    assert decision.model_version == shipped.version
    assert (decision.policy_version, decision.threshold, decision.language) == ("test", 0.5, "zh")
    assert 1 <= len(decision.reasons) <= 5
    assert "proof" in {reason.feature for reason in decision.reasons}


def test_the_default_policy_takes_the_threshold_of_the_settings() -> None:
    assert default_policy(RouterSettings(threshold=0.7)) == Policy(threshold=0.7, version="settings-0.7")


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold: float) -> None:
    with pytest.raises(SettingsInvalid, match="between 0 and 1"):
        Policy(threshold=threshold, version="test")
