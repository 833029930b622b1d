import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.choice import Policy
from router.dials import apply_dials
from router.replay import replay
from tandem.errors import InvalidRequest
from tandem.ids import DecisionId
from tandem.ports import JobTimes, LoggedDecision
from tandem.schemas.outcomes import Outcome
from tandem.schemas.policies import RoutingPolicy

Logged = Callable[..., LoggedDecision]
MakeOutcome = Callable[..., Outcome]


def document_of(**fields: object) -> RoutingPolicy:
    return RoutingPolicy.model_validate(fields)


def to_share(log: list[LoggedDecision], document: RoutingPolicy, target: float, times: JobTimes | None = None) -> RoutingPolicy:
    return apply_dials(log, document, target, None, {}, times)


def share_under(log: list[LoggedDecision], document: RoutingPolicy, times: JobTimes | None = None) -> float:
    value = replay(log, Policy.of("dialled", document), job_times=times).slow_share.value
    assert value is not None
    return value


def traffic(logged: Logged, size: int, seed: int = 1) -> list[LoggedDecision]:
    """Bimodal scores, as of real traffic, in two languages and conversations."""
    rng = random.Random(seed)  # noqa: S311 - reproducible traffic, not a secret
    return [
        logged(
            rng.betavariate(0.4, 1.2),
            language=rng.choice(["en", "zh"]),
            signs={"previous_lane": rng.choice([None, None, "fast", "slow"])},
            **({"lane": "slow", "override": "lane"} if rng.random() < 0.1 else {}),
        )
        for _ in range(size)
    ]


@settings(max_examples=12, deadline=None)
@given(target=st.floats(0.03, 0.75), hysteresis=st.sampled_from([0.0, 0.05, 0.3]))
def test_the_slow_share_lands_on_its_target(target: float, hysteresis: float, logged: Logged) -> None:
    log = traffic(logged, 1_000)
    document = document_of(hysteresis=hysteresis, slow_share_cap=None, classes=[{"language": "zh", "check_at": 0.2, "slow_at": 0.4}])
    assert share_under(log, to_share(log, document, target)) == pytest.approx(target, abs=0.002)


@pytest.mark.parametrize("target", [0.1, 0.2, 0.35])
def test_the_share_holds_on_traffic_that_was_not_looked_at(target: float, logged: Logged) -> None:
    found = to_share(traffic(logged, 4_000, seed=1), document_of(), target)
    assert share_under(traffic(logged, 4_000, seed=2), found) == pytest.approx(target, abs=0.02)


def test_all_cuts_move_alike_and_nothing_else_does(logged: Logged) -> None:
    rules = [{"name": "long", "lane": "slow", "min_chars": 9_999}]
    classes = [{"language": "zh", "check_at": 0.2, "slow_at": 0.4}, {"intent": "chat", "check_at": 1, "slow_at": 1}]
    before = document_of(classes=classes, rules=rules, hysteresis=0)
    after = to_share(traffic(logged, 500), before, 0.15)
    assert after.bands.check_at < after.bands.slow_at
    assert after.classes[0].slow_at < after.bands.slow_at
    assert (after.classes[1].check_at, after.classes[1].slow_at) == (1, 1)  # never slow stays never
    assert after.model_copy(update={"bands": before.bands, "classes": before.classes}) == before


def test_a_policy_without_a_check_band_still_has_none(logged: Logged) -> None:
    after = to_share(traffic(logged, 500), document_of(bands={"check_at": 0.5, "slow_at": 0.5}), 0.2)
    assert after.bands.check_at == after.bands.slow_at


@pytest.mark.parametrize("cut", [0.0, 1.0])
def test_a_cut_at_the_end_can_be_moved(cut: float, logged: Logged) -> None:
    log = traffic(logged, 500)
    after = to_share(log, document_of(bands={"check_at": cut, "slow_at": cut}, slow_share_cap=None), 0.2)
    assert share_under(log, after) == pytest.approx(0.2, abs=0.01)


def test_what_is_settled_without_a_score_counts_for_the_target(logged: Logged) -> None:
    log = [logged(number / 100, text_chars=500 if number % 10 == 0 else 10) for number in range(100)]
    document = document_of(rules=[{"name": "long", "lane": "slow", "min_chars": 500}], slow_share_cap=None)
    assert share_under(log, to_share(log, document, 0.3)) == pytest.approx(0.3, abs=0.005)
    with pytest.raises(InvalidRequest, match=r"no cut sends 5\.0%.*nearest share is 10\.0%.*rules"):
        to_share(log, document, 0.05)


def test_equal_scores_cannot_be_cut_apart(logged: Logged) -> None:
    with pytest.raises(InvalidRequest, match="the very same p_slow") as raised:
        to_share([logged(0.7) for _ in range(100)], document_of(slow_share_cap=None), 0.5)
    assert raised.value.param == "target_slow_share"


def test_no_cut_sends_more_slow_than_the_cap_lets_through(logged: Logged) -> None:
    log = traffic(logged, 1_000)
    with pytest.raises(InvalidRequest, match=r"cap holds the slow share at 40\.0%, below 50\.0%; raise 'slow_share_cap'") as raised:
        to_share(log, document_of(slow_share_cap=0.4), 0.5)
    assert raised.value.param == "target_slow_share"
    assert to_share(log, document_of(slow_share_cap=0.5), 0.5).slow_share_cap == 0.5


def test_waiting_is_reckoned_with(logged: Logged) -> None:
    log = traffic(logged, 1_000)
    times = JobTimes(jobs=300, mean_run_s=100.0, hours=10.0, workers=1)
    priced = to_share(log, document_of(wait_cost_per_min=0.05, slow_share_cap=None), 0.2, times)
    assert priced.bands.slow_at < to_share(log, document_of(), 0.2).bands.slow_at
    assert share_under(log, priced, times) == pytest.approx(0.2, abs=0.03)


def test_where_nothing_went_slow_no_wait_is_projected(logged: Logged) -> None:
    log = [logged(number / 200, lane="fast") for number in range(200)]
    times = JobTimes(jobs=300, mean_run_s=100.0, hours=10.0, workers=1)
    document = document_of(wait_cost_per_min=0.05)
    assert to_share(log, document, 0.2, times) == to_share(log, document, 0.2)


def test_few_requests_give_no_cut(logged: Logged) -> None:
    with pytest.raises(InvalidRequest, match="the log holds 49 requests that the score decides; 50 are needed"):
        to_share([logged(0.3) for _ in range(49)], document_of(), 0.2)


def test_without_a_target_the_policy_stays() -> None:
    document = document_of()
    assert apply_dials([], document, None, None, {}) is document


def test_two_targets_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="give one of them"):
        apply_dials([], document_of(), 0.2, 0.9, {})


def test_a_policy_without_a_score_has_no_dials() -> None:
    with pytest.raises(InvalidRequest, match="mode 'all_fast' has none in use"):
        to_share([], document_of(mode="all_fast"), 0.2)


def answered(logged: Logged, outcome: MakeOutcome, size: int) -> tuple[list[LoggedDecision], dict[DecisionId, list[Outcome]]]:
    """Requests whose slow answer is the better one with exactly their probability."""
    rng = random.Random(5)  # noqa: S311 - reproducible traffic, not a secret
    log = [logged(rng.random()) for _ in range(size)]
    scores: list[dict[str, Any]] = [
        {"fast_score": 0.0, "slow_score": 1.0} if rng.random() < each.decision.p_slow else {"fast_score": 1.0, "slow_score": 1.0} for each in log
    ]
    return log, {each.id: [outcome(kind="answer_scored", **score)] for each, score in zip(log, scores, strict=True)}


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95])
def test_the_kept_quality_has_the_smallest_slow_share(target: float, logged: Logged, outcome: MakeOutcome) -> None:
    log, outcomes = answered(logged, outcome, 4_000)
    after = apply_dials(log, document_of(slow_share_cap=None), None, target, outcomes)
    # With needs spread evenly the slow part [c, 1] keeps 1 - c**2 of the gain.
    assert after.bands.slow_at == pytest.approx((1 - target) ** 0.5, abs=0.03)


def test_few_scored_answers_give_no_cut_for_a_quality(logged: Logged, outcome: MakeOutcome) -> None:
    log, outcomes = answered(logged, outcome, 99)
    with pytest.raises(InvalidRequest, match="99 logged requests were answered by both lanes"):
        apply_dials(log, document_of(), None, 0.9, outcomes)


def test_without_a_gain_there_is_none_to_keep(logged: Logged, outcome: MakeOutcome) -> None:
    log = [logged(number / 200) for number in range(200)]
    outcomes = {each.id: [outcome(kind="answer_scored", fast_score=number % 2, slow_score=(number + 1) % 2)] for number, each in enumerate(log)}
    with pytest.raises(InvalidRequest, match="not measurably better"):
        apply_dials(log, document_of(), None, 0.9, outcomes)


def test_a_gain_behind_a_class_that_never_goes_slow_cannot_be_kept(logged: Logged, outcome: MakeOutcome) -> None:
    log, outcomes = answered(logged, outcome, 400)
    with pytest.raises(InvalidRequest, match="no cut keeps 90%"):
        apply_dials(log, document_of(classes=[{"language": "en", "check_at": 1, "slow_at": 1}]), None, 0.9, outcomes)
