import random
from collections.abc import Callable

import pytest

from router.choice import Policy
from router.replay import replay
from tandem.ids import DecisionId
from tandem.ports import LoggedDecision
from tandem.schemas.outcomes import Outcome
from tandem.schemas.policies import Estimate, RoutingPolicy

Logged = Callable[..., LoggedDecision]
MakeOutcome = Callable[..., Outcome]
Outcomes = dict[DecisionId, list[Outcome]]


def quality_of(log: list[LoggedDecision], outcomes: Outcomes, slow_at: float = 0.5) -> tuple[Estimate, str]:
    document = RoutingPolicy.model_validate({"bands": {"check_at": min(slow_at, 0.35), "slow_at": slow_at}, "slow_share_cap": None})
    found = replay(log, Policy.of("new", document), outcomes=outcomes)
    return found.quality, found.quality_basis


def test_without_outcomes_it_is_unknown_and_says_why(logged: Logged) -> None:
    quality, basis = quality_of([logged(0.9)], {})
    assert (quality.value, quality.n) == (None, 0)
    assert basis == (
        "unknown: 0 requests were answered by both lanes and scored, 30 are needed; no request has feedback; "
        "0 requests have an approved label, 30 are needed"
    )


def test_requests_that_both_lanes_answered_give_their_mean_score(logged: Logged, outcome: MakeOutcome) -> None:
    log = [logged(0.1 if number % 2 else 0.9) for number in range(40)]
    outcomes: Outcomes = {each.id: [outcome(kind="answer_scored", fast_score=0.5, slow_score=1.0)] for each in log}
    quality, basis = quality_of(log, outcomes)
    assert (quality.value, quality.n) == (0.75, 40)
    assert basis == "mean score of 40 requests that both lanes answered; all of them fast would have 0.500, all slow 1.000"
    assert quality_of(log, outcomes, slow_at=0.95)[0].value == 0.5


def test_rejected_scores_do_not_count(logged: Logged, outcome: MakeOutcome) -> None:
    log = [logged(0.9) for _ in range(40)]
    outcomes: Outcomes = {each.id: [outcome(kind="answer_scored", status="rejected", fast_score=0, slow_score=1)] for each in log}
    assert quality_of(log, outcomes)[0].value is None


def test_approved_labels_give_the_share_of_right_lanes(logged: Logged, outcome: MakeOutcome) -> None:
    log = [logged(0.9 if number < 30 else 0.1) for number in range(40)]
    labels: Outcomes = {each.id: [outcome(kind="wrong_route", status="approved", wanted_lane="slow")] for each in log}
    quality, basis = quality_of(log, labels, slow_at=0.05)
    assert quality.value == 1.0
    assert basis.startswith("share of 40 approved labels")
    pending: Outcomes = {each.id: [outcome(kind="wrong_route", status="pending", wanted_lane="slow")] for each in log}
    assert quality_of(log, pending, slow_at=0.05)[0].value is None


def explored(logged: Logged, outcome: MakeOutcome, size: int, explore: float = 0.5) -> tuple[list[LoggedDecision], Outcomes]:
    """A log of the default cuts whose draws come often, so that a test needs few requests.

    In the fast lane P(complaint) is ``p_slow``, in the slow one 0.1.
    """
    rng = random.Random(2)  # noqa: S311 - reproducible traffic, not a secret
    log: list[LoggedDecision] = []
    outcomes: Outcomes = {}
    for _ in range(size):
        p_slow = rng.random()
        is_slow, fields = p_slow >= 0.5, {}
        if abs(p_slow - 0.5) <= 0.15:
            is_drawn = rng.random() < explore / 2
            is_slow ^= is_drawn
            fields = {"propensity": explore / 2 if is_drawn else 1 - explore / 2} | ({"override": "explore"} if is_drawn else {})
        log.append(logged(p_slow, lane="slow" if is_slow else "fast", **fields))
        if rng.random() < (0.1 if is_slow else p_slow):
            outcomes[log[-1].id] = [outcome(kind="thumbs_down")]
    return log, outcomes


@pytest.mark.parametrize(("slow_at", "truth"), [(0.4, 1 - 0.5 * 0.4**2 - 0.06), (0.5, 1 - 0.5 * 0.5**2 - 0.05), (0.6, 1 - 0.5 * 0.6**2 - 0.04)])
def test_exploration_tells_the_complaints_of_a_policy_that_never_ran(slow_at: float, truth: float, logged: Logged, outcome: MakeOutcome) -> None:
    log, outcomes = explored(logged, outcome, 4_000)
    quality, basis = quality_of(log, outcomes, slow_at)
    assert quality.low is not None
    assert quality.high is not None
    assert quality.value == pytest.approx(truth, abs=0.02)
    assert quality.low < truth < quality.high
    assert "SNIPS, effective n" in basis


def test_a_change_where_nothing_was_drawn_is_unknown(logged: Logged, outcome: MakeOutcome) -> None:
    log, outcomes = explored(logged, outcome, 1_000)
    quality, basis = quality_of(log, outcomes, slow_at=0.9)
    assert quality.value is None
    assert "would change their lane where none was ever drawn (`explore`)" in basis


def test_too_few_draws_are_unknown(logged: Logged, outcome: MakeOutcome) -> None:
    log, outcomes = explored(logged, outcome, 1_000, explore=0.02)
    quality, basis = quality_of(log, outcomes, slow_at=0.45)
    assert quality.value is None
    assert "drawn requests among the" in basis


def test_an_unchanged_policy_needs_no_draws(logged: Logged, outcome: MakeOutcome) -> None:
    log = [logged(0.9) for _ in range(100)]
    outcomes: Outcomes = {log[0].id: [outcome(kind="thumbs_down")], log[1].id: [outcome(kind="thumbs_down", status="rejected")]}
    quality, _ = quality_of(log, outcomes)
    assert (quality.value, quality.n) == (0.99, 100)


def test_the_quality_is_the_policys_without_its_draws(logged: Logged, outcome: MakeOutcome) -> None:
    log, outcomes = explored(logged, outcome, 2_000)
    drawing = RoutingPolicy.model_validate({"explore": 0.02, "slow_share_cap": None, "hysteresis": 0})
    found = replay(log, Policy.of("new", drawing), outcomes=outcomes)
    assert found.quality == quality_of(log, outcomes)[0]
