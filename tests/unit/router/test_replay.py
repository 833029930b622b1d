import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.choice import Policy, Situation
from router.policy import decide
from router.replay import redecide, replay
from tandem.ids import DecisionId, TenantId
from tandem.ports import JobTimes, LoggedDecision, Score, Turns
from tandem.schemas.outcomes import Outcome
from tandem.schemas.policies import RoutingPolicy
from tandem.schemas.routing import Effort, Intent, Lane, OverrideSource

Logged = Callable[..., LoggedDecision]
TIMES = JobTimes(jobs=100, mean_run_s=60.0, hours=10.0, workers=2)
TEXTS = ["why", "/deep why", "/fast why", "think hard: why?", "认真想想这个问题", "证明它"]


class Scripted:
    version = "scripted"

    def __init__(self, p_slow: float) -> None:
        self._p_slow = p_slow

    def score(self, turns: Turns) -> Score:
        return Score(p_slow=self._p_slow, contributions=(), intent="math")


def policy_of(**fields: object) -> Policy:
    return Policy.of("new", RoutingPolicy.model_validate(fields))


def cuts(slow_at: float, check_at: float | None = None, **fields: object) -> Policy:
    return policy_of(bands={"check_at": slow_at if check_at is None else check_at, "slow_at": slow_at}, **fields)


@given(
    p_slow=st.floats(0, 1),
    text=st.sampled_from(TEXTS),
    choice=st.sampled_from(["auto", "auto", "fast", "slow"]),
    effort=st.sampled_from([None, None, "low", "high", "max"]),
    previous=st.sampled_from([None, "fast", "slow"]),
    situation=st.builds(Situation, slow_share=st.none() | st.floats(0, 1), queue_wait_s=st.floats(0, 600), draw=st.floats(0, 1)),
    explore=st.sampled_from([0.0, 0.02]),
    keeps_text=st.booleans(),
)
def test_a_policy_decides_its_own_log_as_it_did(
    p_slow: float,
    text: str,
    choice: Lane,
    effort: Effort | None,
    previous: Lane | None,
    situation: Situation,
    explore: float,
    keeps_text: bool,
) -> None:
    policy = policy_of(explore=explore, wait_cost_per_min=0.02, rules=[{"name": "zh", "lane": "slow", "language": "zh", "min_chars": 5}])
    turns = Turns(text=text, choice=choice, effort=effort, previous_lane=previous)
    decision = decide(turns, Scripted(p_slow), policy, situation, timer_ns=lambda: 0)
    logged = LoggedDecision(DecisionId("d"), TenantId("default"), decision, len(text), "chat", text if keeps_text else None)
    assert redecide(logged, policy, situation) == decision


def test_a_callers_lane_stays_under_any_policy(logged: Logged) -> None:
    for override in ("model", "lane"):
        again = redecide(logged(0.9, lane="slow", override=override), policy_of(mode="all_fast"))
        assert (again.lane, again.override, again.policy_version) == ("slow", override, "new")


def test_words_count_as_far_as_the_new_policy_obeys_them(logged: Logged) -> None:
    forced = logged(0.1, lane="slow", override="text", effort="high")
    assert redecide(forced, policy_of()).lane == "slow"
    assert (redecide(forced, policy_of(obeys_text=False)).lane, redecide(forced, policy_of(obeys_text=False)).effort) == ("fast", "low")
    assert redecide(logged(0.1, text="/deep why"), policy_of()).override == "text"


def test_an_asked_effort_is_known_again(logged: Logged) -> None:
    assert redecide(logged(0.1, lane="fast", effort="high"), policy_of()).override == "effort"
    assert redecide(logged(0.9, effort="max"), cuts(0.95)).lane == "slow"
    assert redecide(logged(0.9, effort="max", override="rule"), cuts(0.95)).lane == "fast"  # the rule's effort, not the caller's
    assert redecide(logged(0.1, lane="slow", override="effort", effort="max"), policy_of(obeys_effort=False)).effort == "max"


def test_what_did_not_fit_the_fast_model_still_does_not(logged: Logged) -> None:
    assert redecide(logged(0.1, lane="slow", override="context"), policy_of()).override == "context"


def test_signs_and_tenant_come_from_the_log(logged: Logged) -> None:
    held = redecide(logged(0.52, signs={"previous_lane": "fast"}), policy_of())
    assert (held.lane, held.override) == ("fast", "hysteresis")
    assert redecide(logged(0.1, signs={"previous_lane": "slow", "is_continuation": True}), policy_of()).override == "sticky"
    assert redecide(logged(0.1, tenant="acme"), policy_of(rules=[{"name": "a", "lane": "slow", "tenant": "acme"}])).override == "rule"


def test_a_changed_lane_has_a_new_effort(logged: Logged) -> None:
    assert redecide(logged(0.6), cuts(0.9)).effort == "low"
    assert redecide(logged(0.2), cuts(0.1)).effort == "medium"
    assert redecide(logged(0.4, band="fast"), policy_of()).effort == "medium"  # it was not checked, and is now
    assert redecide(logged(0.9, text="证明并分析比较，写报告", lane="fast"), cuts(0.5)).effort == "high"
    assert (
        redecide(logged(0.9, lane="fast", text="why"), policy_of(rules=[{"name": "a", "lane": "slow", "effort": "max", "min_chars": 1}])).effort
        == "max"
    )
    assert redecide(logged(0.1, text="/deep why"), policy_of()).effort == "high"


def test_the_logged_policy_flips_nothing(logged: Logged) -> None:
    rng = random.Random(1)  # noqa: S311 - reproducible traffic, not a secret
    found = replay([logged(rng.random()) for _ in range(300)], policy_of(slow_share_cap=None))
    assert (found.flips, found.decisions, found.examples) == (0, 300, [])
    assert found.slow_share == found.slow_share_before


def test_shares_are_of_what_the_caller_left_open(logged: Logged) -> None:
    log = [logged(0.9), logged(0.6), logged(0.4), logged(0.1), logged(0.1, lane="slow", override="lane"), logged(0.1, lane="slow", override="text")]
    found = replay(log, cuts(0.7, 0.3))
    assert (found.decisions, found.slow_share.n) == (6, 4)
    assert (found.slow_share_before.value, found.slow_share.value, found.check_share.value) == (0.5, 0.25, 0.5)
    assert found.slow_share.low is not None
    assert found.slow_share.low < 0.25
    assert [(flip.before, flip.after, flip.p_slow) for flip in found.examples] == [("slow", "fast", 0.6)]


def test_shares_are_told_by_language_and_intent(logged: Logged) -> None:
    intents: list[Intent | None] = ["math", "math", None]
    log = [logged(p, language=language, intent=intent) for p, language, intent in zip((0.9, 0.2, 0.3), ("en", "zh", "zh"), intents, strict=True)]
    found = replay(log, policy_of())
    assert {name: (each.value, each.n) for name, each in found.by_language.items()} == {"zh": (0.0, 2), "en": (1.0, 1)}
    assert {name: (each.value, each.n) for name, each in found.by_intent.items()} == {"math": (0.5, 2), "unknown": (0.0, 1)}


def test_the_examples_are_the_flips_nearest_to_the_cut(logged: Logged) -> None:
    log = [logged(0.5 + number / 100) for number in range(40)]
    found = replay(log, cuts(0.9))
    assert found.flips == 40
    assert [flip.p_slow for flip in found.examples] == [pytest.approx(0.89 - number / 100) for number in range(20)]


def test_the_cap_is_held_against_the_replayed_share(logged: Logged) -> None:
    found = replay([logged(0.9) for _ in range(1_000)], policy_of(slow_share_cap=0.3))
    assert found.slow_share.value == pytest.approx(0.3, abs=0.05)
    assert found.check_share.value == pytest.approx(0.7, abs=0.05)


def test_an_empty_log_says_nothing() -> None:
    found = replay([], policy_of())
    assert (found.slow_share.value, found.quality.value, found.queue_wait_s.value, found.by_language) == (None, None, None, {})
    assert found.quality_basis.startswith("unknown: ")


def test_load_follows_the_slow_share(logged: Logged) -> None:
    log = [logged(0.6 if number % 10 == 0 else 0.45 if number % 10 == 1 else 0.1) for number in range(1_001)]  # 10 hours, 101 slow
    same, more, none = (replay(log, cuts(slow_at), job_times=TIMES) for slow_at in (0.5, 0.4, 0.9))
    assert same.slow_seconds.value == pytest.approx(600.0)
    assert more.slow_seconds.value == pytest.approx(1_200.0)
    assert none.slow_seconds.value == pytest.approx(0.0, abs=6.1)
    waits = [each.queue_wait_s.value for each in (none, same, more)]
    assert None not in waits
    assert waits == sorted(waits, key=lambda wait: wait or 0.0)
    assert same.slow_seconds.low is not None
    assert same.slow_seconds.high is not None
    assert same.slow_seconds.low < 600 < same.slow_seconds.high


def test_load_is_unknown_with_few_jobs(logged: Logged) -> None:
    few = JobTimes(jobs=19, mean_run_s=60.0, hours=10.0, workers=2)
    found = replay([logged(0.9)], policy_of(), job_times=few)
    assert (found.queue_wait_s.value, found.queue_wait_s.n, found.slow_seconds.value) == (None, 19, None)


def test_checks_that_fail_are_load(logged: Logged, outcome: Callable[..., Outcome]) -> None:
    log = [logged(0.4) for _ in range(1_001)]
    kinds = ["check_failed" if number % 4 == 0 else "check_passed" for number in range(40)]
    outcomes = {each.id: [outcome(kind=kind)] for each, kind in zip(log, kinds, strict=False)}
    without_checks = replay(log, cuts(0.9), job_times=TIMES, outcomes=outcomes)
    assert without_checks.slow_seconds.value == 0.0  # 250 jobs fewer than the 100 there were
    all_slow = replay(log, cuts(0.3, slow_share_cap=None), job_times=TIMES, outcomes=outcomes)
    assert all_slow.slow_seconds.value == pytest.approx((100 + 1_001 * 0.75) / 10 * 60)


def test_a_policy_that_prices_waiting_settles_between_its_extremes(logged: Logged) -> None:
    log = [logged(0.5 + (number % 50) / 100) for number in range(1_001)]
    busy = JobTimes(jobs=1_000, mean_run_s=36.0, hours=10.0, workers=1)
    free = replay(log, cuts(0.5, slow_share_cap=None), job_times=busy)
    priced = replay(log, cuts(0.5, slow_share_cap=None, wait_cost_per_min=0.1), job_times=busy)
    assert free.slow_share.value == 1.0
    assert priced.slow_share.value is not None
    assert 0.5 < priced.slow_share.value < 1.0
    assert priced.queue_wait_s.value is not None
    assert priced.queue_wait_s.value < (free.queue_wait_s.value or 0.0)
    # The cut is where the wait puts it, to a request's width.
    assert 1 - priced.slow_share.value == pytest.approx(2 * 0.1 * priced.queue_wait_s.value / 60, abs=0.05)


@pytest.mark.parametrize("override", ["cap", "hysteresis", "kill_switch", "rule", "sticky"])
def test_what_a_policy_once_overrode_is_decided_anew(logged: Logged, override: OverrideSource) -> None:
    assert replay([logged(0.9, lane="fast", band="check", override=override)], policy_of()).slow_share.value == 1.0


def test_a_draw_falls_again_alike_and_is_no_flip_under_the_same_policy(logged: Logged) -> None:
    log = [logged(0.4, lane="slow", override="explore", propensity=0.01), logged(0.6, lane="fast", band="check", override="explore", propensity=0.01)]
    assert replay(log, policy_of(explore=0.02)).flips == 0
    assert replay(log, policy_of()).flips == 2
