from collections.abc import Iterator
from itertools import count
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy import CALM, Policy, Situation, decide, default_policy, must_ask
from tandem.ports import Classifier, Score, Turns
from tandem.schemas.policies import Bands, ClassBands, FixedRule, RoutingPolicy
from tandem.schemas.routing import Band, Decision, Effort, Intent, Lane
from tandem.settings import RouterSettings

PROBABILITY = st.floats(0, 1)
LANES: st.SearchStrategy[Lane] = st.sampled_from(["fast", "slow"])
PREVIOUS: st.SearchStrategy[Lane | None] = st.none() | LANES
KILLS: st.SearchStrategy[Literal["all_fast", "rules"] | None] = st.sampled_from([None, "all_fast", "rules"])
INTENTS: list[tuple[str, Intent | None]] = [
    ("证明这个定理", "math"),
    ("prove it", "math"),
    ("证明这个定理", "code"),
    ("证明这个定理", None),
    ("prove it", "code"),
]


class Scripted:
    version = "scripted"

    def __init__(self, p_slow: float, intent: Intent | None = None) -> None:
        self._p_slow = p_slow
        self._intent: Intent | None = intent

    def score(self, turns: Turns) -> Score:
        return Score(p_slow=self._p_slow, contributions=(), intent=self._intent)


def policy_of(**fields: object) -> Policy:
    return Policy.of("test", RoutingPolicy.model_validate(fields))


def decided(p_slow: float, policy: Policy, situation: Situation = CALM, *, text: str = "words", previous_lane: Lane | None = None) -> Decision:
    return decide(Turns(text=text, previous_lane=previous_lane), Scripted(p_slow), policy, situation, timer_ns=lambda: 0)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Policies that decide by the score."""
    cuts = sorted((draw(PROBABILITY), draw(PROBABILITY)))
    return policy_of(
        bands={"check_at": cuts[0], "slow_at": cuts[1]},
        hysteresis=draw(st.floats(0, 0.5)),
        wait_cost_per_min=draw(PROBABILITY),
        slow_share_cap=draw(st.none() | st.floats(0.01, 1)),
        explore=draw(st.floats(0, 0.02)),
    )


SITUATIONS = st.builds(Situation, slow_share=st.none() | PROBABILITY, queue_wait_s=st.floats(0, 10_000), draw=PROBABILITY)
RANK: dict[str, int] = {"fast": 0, "check": 1, "slow": 2}


@given(low=PROBABILITY, high=PROBABILITY, policy=policies(), situation=SITUATIONS, previous=PREVIOUS)
def test_a_higher_probability_never_has_a_lower_band(low: float, high: float, policy: Policy, situation: Situation, previous: Lane | None) -> None:
    calm = Situation(slow_share=situation.slow_share, queue_wait_s=situation.queue_wait_s)  # a draw is chance, not score
    bands = [decided(p_slow, policy, calm, previous_lane=previous).band for p_slow in sorted((low, high))]
    assert RANK[bands[0]] <= RANK[bands[1]]


@given(p_slow=PROBABILITY, policy=policies(), situation=SITUATIONS, previous=PREVIOUS)
def test_equal_arguments_give_equal_decisions(p_slow: float, policy: Policy, situation: Situation, previous: Lane | None) -> None:
    assert decided(p_slow, policy, situation, previous_lane=previous) == decided(p_slow, policy, situation, previous_lane=previous)


@given(p_slow=PROBABILITY, low=PROBABILITY, high=PROBABILITY)
def test_raising_the_cut_never_sends_more_slow(p_slow: float, low: float, high: float) -> None:
    lanes = [decided(p_slow, policy_of(bands={"check_at": 0, "slow_at": cut})).lane for cut in sorted((low, high))]
    assert lanes != ["fast", "slow"]


@given(p_slow=PROBABILITY, first=PROBABILITY, second=PROBABILITY)
def test_the_bands_are_cut_at_their_lower_ends(p_slow: float, first: float, second: float) -> None:
    check_at, slow_at = sorted((first, second))
    decision = decided(p_slow, policy_of(bands={"check_at": check_at, "slow_at": slow_at}))
    assert decision.band == ("slow" if p_slow >= slow_at else "check" if p_slow >= check_at else "fast")
    assert decision.lane == ("slow" if p_slow >= slow_at else "fast")
    assert (decision.check_at, decision.threshold, decision.margin) == (check_at, slow_at, p_slow - slow_at)


@given(p_slow=PROBABILITY, lane=LANES, policy=policies(), situation=SITUATIONS, kill=KILLS)
def test_the_callers_lane_always_wins(
    p_slow: float, lane: Lane, policy: Policy, situation: Situation, kill: Literal["all_fast", "rules"] | None
) -> None:
    broken = Situation(slow_share=1.0, queue_wait_s=situation.queue_wait_s, fits_fast=False, draw=situation.draw, kill=kill)
    for text in ("/deep why", "/fast why", "认真想想", "continue"):
        decision = decide(Turns(text=text, choice=lane, effort="max", previous_lane="fast"), Scripted(p_slow), policy, broken)
        assert (decision.lane, decision.band, decision.override) == (lane, lane, "lane")


def test_a_lane_named_by_the_model_field_is_told_apart(certain_fast: Classifier, policy: Policy) -> None:
    assert decide(Turns(text="hi", choice="slow", chosen_by="model"), certain_fast, policy).override == "model"


@given(p_slow=PROBABILITY, wait_s=st.floats(0, 10_000), policy=policies(), previous=PREVIOUS)
def test_waiting_never_sends_more_slow(p_slow: float, wait_s: float, policy: Policy, previous: Lane | None) -> None:
    calm, busy = (decided(p_slow, policy, Situation(queue_wait_s=each)) for each in (0.0, wait_s))
    assert busy.threshold >= calm.threshold
    assert (calm.lane, busy.lane) != ("fast", "slow")


def test_a_minute_of_waiting_has_its_price() -> None:
    policy = policy_of(wait_cost_per_min=0.1)
    assert decided(0.55, policy, Situation(queue_wait_s=30)).lane == "slow"
    assert decided(0.55, policy, Situation(queue_wait_s=60)).band == "check"
    assert decided(0.55, policy, Situation(queue_wait_s=60)).threshold == pytest.approx(0.6)


@given(p_slow=PROBABILITY, share=PROBABILITY, policy=policies(), previous=PREVIOUS)
def test_the_cap_never_makes_a_fast_request_slow(p_slow: float, share: float, policy: Policy, previous: Lane | None) -> None:
    free = decided(p_slow, policy, CALM, previous_lane=previous)
    capped = decided(p_slow, policy, Situation(slow_share=share), previous_lane=previous)
    assert RANK[capped.band] <= RANK[free.band]
    if capped.band != free.band:
        assert (free.lane, capped.lane, capped.override) == ("slow", "fast", "cap")


def test_at_the_cap_a_slow_request_is_checked() -> None:
    policy = policy_of(slow_share_cap=0.3)
    below, at, unknown = (decided(0.9, policy, Situation(slow_share=share)) for share in (0.29, 0.3, None))
    assert (below.band, below.override) == ("slow", None)
    assert (at.band, at.lane, at.override) == ("check", "fast", "cap")
    assert unknown.band == "slow"


@given(p_slow=PROBABILITY, policy=policies(), previous=LANES)
def test_hysteresis_only_ever_holds_the_lane_before(p_slow: float, policy: Policy, previous: Lane) -> None:
    decision = decided(p_slow, policy, previous_lane=previous)
    if decision.override == "hysteresis":
        assert decision.lane == previous
        assert abs(decision.margin) <= policy.document.hysteresis
    else:
        assert decision.band == decided(p_slow, policy).band


@pytest.mark.parametrize(
    ("p_slow", "previous", "band"),
    [
        (0.54, "fast", "check"),
        (0.56, "fast", "slow"),
        (0.46, "slow", "slow"),
        (0.44, "slow", "check"),
        (0.54, "slow", "slow"),
        (0.46, "fast", "check"),
    ],
)
def test_a_conversation_changes_its_lane_beyond_the_margin_only(p_slow: float, previous: Lane, band: Band) -> None:
    assert decided(p_slow, policy_of(hysteresis=0.05), previous_lane=previous).band == band


@given(slow_at=st.floats(0.01, 0.99), hysteresis=st.floats(0, 0.5))
def test_every_cut_can_be_crossed_from_both_sides(slow_at: float, hysteresis: float) -> None:
    policy = policy_of(bands={"check_at": 0, "slow_at": slow_at}, hysteresis=hysteresis)
    assert decided(1.0, policy, previous_lane="fast").lane == "slow"
    assert decided(0.0, policy, previous_lane="slow").lane == "fast"


def test_all_fast_leaves_only_the_callers_lane() -> None:
    for policy, situation in ((policy_of(mode="all_fast"), CALM), (policy_of(), Situation(kill="all_fast", fits_fast=False))):
        for text in ("prove it", "/deep prove it", "continue"):
            decision = decide(Turns(text=text, previous_lane="slow", effort="high"), Scripted(1.0), policy, situation)
            assert (decision.lane, decision.override) == ("fast", "kill_switch")
        assert decide(Turns(text="hi", choice="slow"), Scripted(0.0), policy, situation).lane == "slow"


def test_the_rules_alone_decide_when_they_are_the_kill_switch() -> None:
    rules = [{"name": "maths", "lane": "slow", "contains": "PROVE"}]
    for policy, situation in ((policy_of(mode="rules", rules=rules), CALM), (policy_of(rules=rules), Situation(kill="rules"))):
        assert (decided(1.0, policy, situation).lane, decided(1.0, policy, situation).override) == ("fast", "kill_switch")
        decision = decided(0.0, policy, situation, text="Prove it")
        assert (decision.lane, decision.override) == ("slow", "rule")


def test_a_gateways_kill_switch_beats_the_policys_mode() -> None:
    policy = policy_of(mode="rules", rules=[{"name": "all", "lane": "slow", "min_chars": 1}])
    assert decided(1.0, policy, Situation(kill="all_fast")).override == "kill_switch"


def test_what_does_not_fit_the_fast_model_goes_slow(certain_fast: Classifier, policy: Policy) -> None:
    decision = decide(Turns(text="/fast sum this up"), certain_fast, policy, Situation(fits_fast=False))
    assert (decision.lane, decision.override) == ("slow", "context")


@pytest.mark.parametrize(
    ("rule", "is_met"),
    [
        ({"tenant": "acme"}, True),
        ({"tenant": "other"}, False),
        ({"language": "en"}, True),
        ({"language": "zh"}, False),
        ({"intent": "math"}, True),
        ({"intent": "code"}, False),
        ({"contains": "THE SUM"}, True),
        ({"contains": "the product"}, False),
        ({"min_chars": 24}, True),
        ({"min_chars": 25}, False),
        ({"tenant": "acme", "language": "zh"}, False),
    ],
)
def test_a_rule_needs_all_its_conditions(rule: dict[str, object], is_met: bool) -> None:
    policy = policy_of(rules=[{"name": "one", "lane": "slow", "effort": "max", **rule}])
    decision = decide(Turns(text="what is the sum of it all"[:24]), Scripted(0.0, "math"), policy, Situation(tenant="acme"))
    assert (decision.lane, decision.override, decision.effort) == (("slow", "rule", "max") if is_met else ("fast", None, "low"))


def test_the_first_rule_that_matches_wins() -> None:
    rules = [FixedRule(name="a", lane="fast", min_chars=3), FixedRule(name="b", lane="slow", min_chars=2)]
    assert decided(1.0, Policy.of("test", RoutingPolicy(rules=rules)), text="why").lane == "fast"
    assert decided(0.0, Policy.of("test", RoutingPolicy(rules=rules)), text="hi").lane == "slow"


def test_the_most_specific_class_has_its_bands() -> None:
    classes = [
        ClassBands(language="zh", check_at=0.1, slow_at=0.1),
        ClassBands(intent="math", check_at=0.2, slow_at=0.2),
        ClassBands(language="zh", intent="math", check_at=0.3, slow_at=0.3),
    ]
    policy = Policy.of("test", RoutingPolicy(classes=classes))
    cuts = [decide(Turns(text=text), Scripted(0.0, intent), policy).threshold for text, intent in INTENTS]
    assert cuts == [0.3, 0.2, 0.1, 0.1, 0.5]


def test_an_intent_is_more_specific_than_a_language() -> None:
    classes = [ClassBands(language="zh", check_at=0.1, slow_at=0.1), ClassBands(intent="math", check_at=0.2, slow_at=0.2)]
    policy = Policy.of("test", RoutingPolicy(classes=classes))
    assert decide(Turns(text="证明这个定理"), Scripted(0.0, "math"), policy).threshold == 0.2


def test_only_near_a_cut_a_lane_is_drawn() -> None:
    policy = policy_of(bands={"check_at": 0.3, "slow_at": 0.5}, explore=0.02, hysteresis=0)
    drawn_slow, drawn_fast = Situation(draw=0.0), Situation(draw=0.015)
    to_slow, to_fast = decided(0.2, policy, drawn_slow), decided(0.6, policy, drawn_fast)
    assert (to_slow.band, to_slow.override, to_slow.propensity) == ("slow", "explore", 0.01)
    assert (to_fast.band, to_fast.lane, to_fast.override, to_fast.propensity) == ("check", "fast", "explore", 0.01)
    assert (decided(0.6, policy, drawn_slow).override, decided(0.6, policy, drawn_slow).propensity) == (None, 0.99)
    assert (decided(0.6, policy).band, decided(0.6, policy).propensity) == ("slow", 0.99)
    for p_slow in (0.1, 0.7):
        far = decided(p_slow, policy, drawn_slow if p_slow < 0.5 else drawn_fast)
        assert (far.override, far.propensity) == (None, None)


def test_at_the_cap_nothing_is_drawn() -> None:
    decision = decided(0.4, policy_of(explore=0.02, slow_share_cap=0.4), Situation(slow_share=0.5, draw=0.0))
    assert (decision.band, decision.propensity) == ("check", None)


@given(p_slow=PROBABILITY, draw=PROBABILITY, policy=policies())
def test_the_draw_keeps_to_its_propensity(p_slow: float, draw: float, policy: Policy) -> None:
    decision, greedy = decided(p_slow, policy, Situation(draw=draw)), decided(p_slow, policy)
    if decision.propensity is None:
        assert decision == greedy
    else:
        likely = decision.lane == greedy.lane
        assert decision.propensity == (1 - policy.document.explore / 2 if likely else policy.document.explore / 2)
        assert (decision.override == "explore") == (not likely)


def test_a_command_in_the_text_beats_the_effort(certain_slow: Classifier, policy: Policy) -> None:
    decision = decide(Turns(text="/fast prove it", effort="high"), certain_slow, policy)
    assert (decision.lane, decision.override, decision.effort) == ("fast", "text", "high")


def test_words_and_effort_are_obeyed_only_where_the_policy_says_so(certain_fast: Classifier) -> None:
    deaf = policy_of(obeys_text=False, obeys_effort=False)
    assert decide(Turns(text="/deep why", effort="max"), certain_fast, deaf).override is None


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


def test_what_is_checked_has_the_effort_that_a_failed_check_is_worked_out_anew_with(policy: Policy) -> None:
    assert (decided(0.4, policy).band, decided(0.4, policy).effort) == ("check", "medium")
    assert decide(Turns(text="hi", effort="low"), Scripted(0.4), policy).effort == "low"


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


def test_the_latency_comes_from_the_timer(certain_fast: Classifier, policy: Policy) -> None:
    ticks: Iterator[int] = count(0, 2_500)
    assert decide(Turns(text="hi"), certain_fast, policy, timer_ns=lambda: next(ticks)).latency_us == 2.5


def test_a_decision_says_what_made_it(shipped: Classifier, policy: Policy) -> None:
    decision = decide(Turns(text="证明根号2是无理数"), shipped, policy, Situation(arm="candidate"))
    assert decision.model_version == shipped.version
    assert (decision.policy_version, decision.threshold, decision.language, decision.arm) == ("test", 0.5, "zh", "candidate")
    assert 1 <= len(decision.reasons) <= 5
    assert "proof" in {reason.feature for reason in decision.reasons}


def test_the_score_of_an_asked_backend_stands_for_the_classifiers(certain_fast: Classifier, policy: Policy) -> None:
    score = Score(p_slow=0.9, contributions=(), p_fast_fails=0.8, p_slow_fixes=0.7, p_tools=0.6, intent="tools")
    decision = decide(Turns(text="hi"), certain_fast, policy, score=score, backend="readout", model_version="tiny-1")
    assert (decision.lane, decision.p_slow, decision.backend, decision.model_version, decision.intent) == ("slow", 0.9, "readout", "tiny-1", "tools")
    assert (decision.p_fast_fails, decision.p_slow_fixes, decision.p_tools) == (0.8, 0.7, 0.6)


@pytest.mark.parametrize(
    ("turns", "p_slow", "is_asked"),
    [
        (Turns(text="why"), 0.5, True),
        (Turns(text="why"), 0.2, True),
        (Turns(text="why"), 0.19, False),
        (Turns(text="why"), 0.8, False),
        (Turns(text="why", choice="slow"), 0.5, False),
        (Turns(text="/deep why"), 0.5, False),
        (Turns(text="why", effort="max"), 0.5, False),
    ],
)
def test_a_model_is_asked_only_where_its_word_could_matter(turns: Turns, p_slow: float, is_asked: bool) -> None:
    score = Score(p_slow=p_slow, contributions=())
    assert must_ask(turns, score, policy_of(backend="readout")) == is_asked
    assert not must_ask(turns, score, policy_of(backend="linear"))
    assert not must_ask(turns, score, policy_of(backend="readout"), Situation(kill="all_fast"))


def test_the_default_policy_takes_the_cuts_of_the_settings() -> None:
    policy = default_policy(RouterSettings(threshold=0.7, check_at=0.4))
    assert (policy.version, policy.document.bands) == ("settings", Bands(check_at=0.4, slow_at=0.7))


def test_what_reads_like_a_research_brief_goes_slow_sooner_by_the_default_policy() -> None:
    policy = default_policy(RouterSettings(threshold=0.6, check_at=0.4))
    research = policy.bands_of("zh", "research")
    assert (research.check_at, research.slow_at) == pytest.approx((0.16, 0.24))
    assert policy.bands_of("zh", "chat") == Bands(check_at=0.4, slow_at=0.6)


def test_a_check_band_above_the_threshold_of_the_settings_is_none() -> None:
    assert default_policy(RouterSettings(threshold=0.3, check_at=0.4)).document.bands == Bands(check_at=0.3, slow_at=0.3)
