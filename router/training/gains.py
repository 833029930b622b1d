"""The heads that rank within a kind of ask: how much the strong model gains on the weak one, of exam questions and of word problems.

An outcome is one throw of a coin, so its noise is averaged first: of exam questions over their subject, of word problems by learning how many
calculations the solution takes from questions without outcomes. Both end as plain linear weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from router.heads import Blend
from router.training.fit import Floats, Ints, LinearModel, Matrix

PENALTY: Final = 3.0
"""L2 of the ridge regressions. Of .3, 1, 3 and 10 the best on MMLU, by a little (APGR .637, .637, .642, .639)."""
SUBJECT_SHARE: Final = 0.8
"""Part of a target that is its subject's mean; of .5, .8, .9 and 1 the best."""
PRIOR_ROWS: Final = 15.0
"""Rows of the common mean that a subject's mean is pulled by."""
STEP_GAIN: Final = 0.15
"""Gain per standard deviation of the steps that a word problem seems to take; .05 to .2 give an APGR of .606 to .616."""
MOST_STEPS: Final = 9
LIMIT: Final = 4.0
"""Log-odds at which the kind of ask is bent flat, so that the gain ranks where the kind is certain."""


def fit_exam_gain(matrix: Matrix, rows: Ints, gains: Floats, subjects: Sequence[str], weights: Floats) -> LinearModel:
    """Ridge regression of the smoothed gain; ``gains``, ``subjects`` and ``weights`` are those of all rows."""
    return _ridge(matrix, rows, smoothed(gains[rows], [subjects[int(row)] for row in rows]), weights[rows])


def smoothed(gains: Floats, subjects: Sequence[str]) -> Floats:
    """Each gain, drawn towards the mean of its subject (rows,)."""
    names, places = np.unique(np.array(subjects), return_inverse=True)
    sums, counts = np.bincount(places, gains, len(names)), np.bincount(places, minlength=len(names))
    means = (sums + PRIOR_ROWS * gains.mean()) / (counts + PRIOR_ROWS)
    return SUBJECT_SHARE * means[places] + (1 - SUBJECT_SHARE) * gains


class StepsHead:
    """How many steps a word problem takes, as learnt from solved ones; its unit is one standard deviation."""

    def __init__(self, matrix: Matrix, steps: Sequence[int]) -> None:
        rows = np.arange(len(steps))
        model = _ridge(matrix, rows, np.minimum(np.array(steps, dtype=np.float64), MOST_STEPS), None)
        spread = float(matrix.scores(model, rows).std()) or 1.0
        self.model = LinearModel(model.weights / spread, model.intercepts / spread)


def fit_math_gain(matrix: Matrix, rows: Ints, gains: Floats, steps: StepsHead, weights: Floats) -> LinearModel:
    """The steps' part of the gain, and a ridge regression of the rest."""
    known = STEP_GAIN * matrix.scores(steps.model, rows)[:, 0]
    rest = _ridge(matrix, rows, gains[rows] - known, weights[rows])
    return LinearModel(rest.weights + STEP_GAIN * steps.model.weights, rest.intercepts + STEP_GAIN * steps.model.intercepts)


@dataclass(frozen=True, slots=True)
class Sample:
    """Unseen rows that a blend is fitted on."""

    columns: Floats
    """What is blended (rows, columns)."""
    answers: Floats
    """1: needs the slow lane (rows,)."""
    weights: Floats
    """(rows,)"""


def fit_blend(exam: Sample, exam_lanes: Sample, math: Sample) -> Blend:
    """How strongly gain and failure count, by logistic regression; yes and no weigh the same.

    Args:
        exam: Gain and failure of exam questions with outcomes, and whether the weak model failed and the strong one did not: the slopes, which rank.
        exam_lanes: The same of exam questions with a lane: with the former, each set weighing the same, they set how far the ranks spread and where.
        math: Gain of word problems, and the need.
    """
    exam_slope, exam_fails, _ = (max(slope, 0.0) for slope in _logistic(exam))
    slopes = np.array([exam_slope, exam_fails])
    both = [sample for sample in (exam, exam_lanes) if len(np.unique(sample.answers)) == 2]
    spread, exam_offset = 1.0, 0.0
    if both:
        spread, exam_offset = _logistic(
            Sample(
                np.concatenate([sample.columns @ slopes for sample in both])[:, None],
                np.concatenate([sample.answers for sample in both]),
                np.concatenate([_even(sample) for sample in both]),
            )
        )
    spread = max(spread, LEAST_SPREAD)
    math_slope, math_offset = _logistic(math)
    return Blend(
        limit=LIMIT,
        exam_slope=spread * exam_slope,
        exam_fails=spread * exam_fails,
        exam_offset=exam_offset,
        math_slope=max(math_slope, 0.0),
        math_offset=math_offset,
    )


LEAST_SPREAD: Final = 0.1
"""Keeps the order where the two sets contradict each other."""


def blended(blend: Blend, kinds: Floats, exam_parts: tuple[Floats, Floats], math_gains: Floats, exam: Floats, math: Floats) -> Floats:
    """``Blend`` over many rows; ``exam_parts`` are gain and failure (rows,)."""
    gains, fails = exam_parts
    return (
        blend.limit * np.tanh(kinds / blend.limit) * (1 - exam)
        + exam * (blend.exam_offset + blend.exam_slope * gains + blend.exam_fails * fails)
        + math * (blend.math_offset + blend.math_slope * math_gains)
    )


def _even(sample: Sample) -> Floats:
    """The weights, so that yes and no weigh one half each."""
    mass = np.array([sample.weights[sample.answers == answer].sum() for answer in (0.0, 1.0)])
    return sample.weights / (2 * mass[sample.answers.astype(np.int64)])


def _logistic(sample: Sample) -> list[float]:
    """Coefficients, then the intercept; nothing where there is but one answer."""
    if len(np.unique(sample.answers)) < 2:
        return [0.0] * (sample.columns.shape[1] + 1)
    solver = cast(Any, LogisticRegression(C=100.0, max_iter=1_000))
    solver.fit(sample.columns, sample.answers, sample_weight=_even(sample) * len(sample.answers))
    return [*map(float, solver.coef_[0]), float(solver.intercept_[0])]


def _ridge(matrix: Matrix, rows: Ints, targets: Floats, weights: Floats | None) -> LinearModel:
    solver = cast(Any, Ridge(alpha=PENALTY, solver="sparse_cg", tol=1e-4, max_iter=300))
    with threadpool_limits(1):  # as in fit.py
        solver.fit(matrix.sparse[rows], targets, sample_weight=weights)
    return LinearModel(np.atleast_2d(solver.coef_).T, np.atleast_1d(solver.intercept_).astype(np.float64))
