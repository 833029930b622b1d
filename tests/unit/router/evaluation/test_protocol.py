"""RouteLLM's protocol against cases computed by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from router.training.protocol import Floats, Outcomes, apgr, apgr_difference, best_constant, break_ties, cpt, figures_of, judge, sweep
from tandem.errors import InvalidRequest


def array(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


FOUR = Outcomes(weak=array(1, 1, 0, 0), strong=array(1, 1, 1, 1))
"""The weak model fails on the last two."""
GOOD, BAD = array(1, 2, 3, 4), array(4, 3, 2, 1)


def test_the_sweep_runs_from_no_strong_row_to_all() -> None:
    points = sweep(GOOD, FOUR)
    # Edges 1, 1.3, ..., 3.7 route 4, 3, 3, 3, 2, 2, 2, 1, 1, 1 rows, and the last one, with >, none.
    assert_allclose(points.share, [0, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.75, 0.75, 0.75, 1])
    assert_allclose(points.accuracy, [0.5, 0.75, 0.75, 0.75, 1, 1, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # Trapezoids of the good order: .15625, .21875 and .5, so .875, less the weak model's .5, over its gap of .5.
        (GOOD, 0.75),
        # Of the bad one: .25, .15625 and .21875, so .625.
        (BAD, 0.25),
    ],
)
def test_apgr_is_the_mean_gap_recovered(scores: Floats, expected: float) -> None:
    assert apgr(sweep(scores, FOUR), FOUR) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "target", "share"),
    [(GOOD, 0.2, 0.1), (GOOD, 0.5, 0.25), (GOOD, 0.8, 0.4), (BAD, 0.2, 0.6), (BAD, 0.5, 0.75), (BAD, 0.8, 0.9)],
)
def test_cpt_interpolates_the_share_that_reaches_the_target(scores: Floats, target: float, share: float) -> None:
    assert cpt(sweep(scores, FOUR), FOUR, target) == pytest.approx(share)


def test_cpt_is_the_smallest_share_where_accuracy_falls_again() -> None:
    # Top row gains 1, the next loses 1, the others gain: W = .25, S = .75, accuracy by share: .25, .5, .25, .5, .75.
    outcomes = Outcomes(weak=array(0, 0, 1, 0), strong=array(1, 1, 0, 1))
    points = sweep(GOOD, outcomes)
    assert_allclose(points.accuracy[[0, 1, 4, 7, 10]], [0.25, 0.5, 0.25, 0.5, 0.75])
    assert cpt(points, outcomes, 0.5) == pytest.approx(0.25)
    assert not judge(GOOD, outcomes, seed=0, resamples=0).rises_evenly


def test_equal_edges_are_merged() -> None:
    points = sweep(array(1, 1, 1, 2), FOUR)
    assert_allclose(points.share, [0, 0.25, 0.25, 0.25, 1])


def test_one_score_for_all_rows_leaves_the_ends_alone() -> None:
    points = sweep(np.zeros(4), FOUR)
    assert_allclose(points.share, [0, 1])
    assert apgr(points, FOUR) == pytest.approx(0.5)


def test_only_the_order_of_the_scores_counts() -> None:
    randomness = np.random.default_rng(0)
    scores = randomness.random(200)
    outcomes = Outcomes(weak=(randomness.random(200) < 0.5).astype(float), strong=np.ones(200))
    assert apgr(sweep(scores, outcomes), outcomes) == pytest.approx(apgr(sweep(np.exp(9 * scores), outcomes), outcomes))


def test_ties_are_broken_by_chance_and_not_by_the_order_of_rows() -> None:
    # In row order a constant router would be perfect here: the weak model fails on the last half.
    rows = 2_000
    outcomes = Outcomes(weak=(np.arange(rows) < rows / 2).astype(float), strong=np.ones(rows))
    judged = judge(np.zeros(rows), outcomes, seed=3, resamples=0)
    assert judged.own[0] == pytest.approx(0.5, abs=0.05)


def test_a_broken_tie_keeps_the_order_of_different_scores() -> None:
    ranks = break_ties(array(5, 1, 5, 9), np.random.default_rng(1))
    assert ranks[1] == 0
    assert ranks[3] == 3
    assert {ranks[0], ranks[2]} == {1, 2}


def test_an_oracle_may_beat_the_strong_model() -> None:
    outcomes = Outcomes(weak=array(1, 0, 0, 0), strong=array(0, 1, 1, 1))
    assert apgr(sweep(outcomes.strong - outcomes.weak, outcomes), outcomes) > 1 / 2 + 1 / 4


def test_intervals_hold_the_figure_and_repeat_with_the_seed() -> None:
    randomness = np.random.default_rng(5)
    hard = randomness.random(300)
    outcomes = Outcomes(weak=(randomness.random(300) > hard).astype(float), strong=np.ones(300))
    one, again = (figures_of(judge(hard, outcomes, seed=7, resamples=60)) for _ in range(2))
    assert one == again
    assert one["apgr"]["low"] < one["apgr"]["value"] < one["apgr"]["high"]
    assert one["apgr"]["low"] > 0.5
    assert one["rows"] == 300
    assert list(one["cpt"]) == ["20", "50", "80"]


def test_a_router_is_not_ahead_of_itself_and_is_ahead_of_its_opposite() -> None:
    randomness = np.random.default_rng(5)
    hard = randomness.random(300)
    outcomes = Outcomes(weak=(randomness.random(300) > hard).astype(float), strong=np.ones(300))
    good, bad = (judge(scores, outcomes, seed=7, resamples=60) for scores in (hard, -hard))
    assert apgr_difference(good, good) == {"value": 0, "low": 0, "high": 0}
    assert apgr_difference(good, bad)["low"] > 0


def test_routers_of_other_rows_cannot_be_paired() -> None:
    other = Outcomes(weak=array(0, 0, 1), strong=array(1, 1, 1))
    with pytest.raises(InvalidRequest, match="same rows"):
        apgr_difference(judge(GOOD, FOUR, seed=0, resamples=0), judge(array(1, 2, 3), other, seed=0, resamples=0))


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    outcomes = Outcomes(weak=array(1, 1), strong=array(1, 0))
    with pytest.raises(InvalidRequest, match="no gap"):
        apgr(sweep(array(1, 2), outcomes), outcomes)


def test_outcomes_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="3 and 2"):
        Outcomes(weak=array(1, 0, 1), strong=array(1, 0))


def test_the_best_constant_is_the_better_model() -> None:
    assert best_constant(FOUR) == 1.0
