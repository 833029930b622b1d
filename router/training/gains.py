"""The heads that rank within a kind of ask: how much the strong model gains on the weak one, of exam questions and of word problems.

An outcome is one throw of a coin, so its noise is averaged first: of exam questions over their subject, of word problems by learning how many
calculations the solution takes from questions without outcomes. Both end as plain linear weights.
"""

from collections.abc import Sequence
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


def fit_blend(kinds: Floats, exam: tuple[Ints, Floats], math: tuple[Ints, Floats], needs: Floats) -> Blend:
    """How strongly a gain counts: by logistic regression of the need (weak wrong, strong right) within each set, both outcomes weighing the same.

    Args:
        kinds: Log-odds of the kind of all rows.
        exam: Rows of exam questions, and their gains by models that did not see them.
        math: The same of word problems.
        needs: 1 where the weak model fails and the strong one does not (all rows).
    """
    exam_rows, exam_gains = exam
    math_rows, math_gains = math
    bent = LIMIT * np.tanh(kinds[exam_rows] / LIMIT)
    exam_kind, exam_slope, exam_offset = _balanced_logistic(np.stack([bent, exam_gains], axis=1), needs[exam_rows])
    math_slope, math_offset = _balanced_logistic(math_gains[:, None], needs[math_rows])
    return Blend(
        limit=LIMIT,
        exam_kind=max(exam_kind, 0.0),
        exam_slope=max(exam_slope, 0.0),
        exam_offset=exam_offset,
        math_slope=max(math_slope, 0.0),
        math_offset=math_offset,
    )


def blended(blend: Blend, kinds: Floats, exam_gains: Floats, math_gains: Floats, exam: Floats, math: Floats) -> Floats:
    """``Blend`` over many rows (rows,)."""
    bent = blend.limit * np.tanh(kinds / blend.limit)
    return (
        bent * (1 - exam + blend.exam_kind * exam)
        + exam * (blend.exam_offset + blend.exam_slope * exam_gains)
        + math * (blend.math_offset + blend.math_slope * math_gains)
    )


def _balanced_logistic(columns: Floats, needs: Floats) -> list[float]:
    """Coefficients, then the intercept; nothing where there is but one outcome."""
    if len(np.unique(needs)) < 2:
        return [0.0] * (columns.shape[1] + 1)
    solver = cast(Any, LogisticRegression(C=100.0, class_weight="balanced", max_iter=1_000))
    solver.fit(columns, needs)
    return [*map(float, solver.coef_[0]), float(solver.intercept_[0])]


def _ridge(matrix: Matrix, rows: Ints, targets: Floats, weights: Floats | None) -> LinearModel:
    solver = cast(Any, Ridge(alpha=PENALTY, solver="sparse_cg", tol=1e-4, max_iter=300))
    with threadpool_limits(1):  # as in fit.py
        solver.fit(matrix.sparse[rows], targets, sample_weight=weights)
    return LinearModel(np.atleast_2d(solver.coef_).T, np.atleast_1d(solver.intercept_).astype(np.float64))
