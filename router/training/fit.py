"""Fits linear heads and calibrations. With ``gains.py`` the only module that imports scikit-learn and its kin, which serving does not need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from router.calibration import Calibration, PlattMap, shrink
from router.features import BUCKETS, DENSE_NAMES, extract
from router.text import read_text

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

INVERSE_PENALTY: Final = 10.0
"""L2. Of 3 and 10 this one misses fewer research briefs and hard open questions in unseen groups (AUROC .976 and .975)."""
MOST_ITERATIONS: Final = 200
CLASS_TOLERANCE: Final = 2e-3
"""Of the multinomial fit, which costs eight times as much a step and changes few answers after that."""
TOLERANCE: Final = 1e-4
PRIOR_ROWS: Final = 200.0
"""Rows from which a language's own calibration outweighs the common one."""


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Weights of one or more outputs, before calibration."""

    weights: Floats
    """(BUCKETS + len(DENSE_NAMES), outputs)"""
    intercepts: Floats
    """(outputs,)"""


class Matrix:
    """The features of all rows; row i of the matrix is row i of the texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        columns: list[Ints] = []
        values: list[Floats] = []
        ends = [0]
        for text in texts:
            features = extract(read_text(text))
            filled = np.flatnonzero(features.dense)
            columns.append(np.concatenate([features.buckets.astype(np.int64), BUCKETS + filled]))
            wording = np.full(len(features.buckets), max(len(features.buckets), 1) ** -0.5)
            values.append(np.concatenate([wording, features.dense[filled].astype(np.float64)]))
            ends.append(ends[-1] + len(columns[-1]))
        parts = (np.concatenate(values), np.concatenate(columns), np.array(ends))
        self.sparse = cast(Any, csr_matrix(parts, shape=(len(texts), BUCKETS + len(DENSE_NAMES))))

    def fit(self, rows: Ints, chances: Floats, weights: Floats) -> LinearModel:
        """Weighted logistic regression on some rows; ``chances`` (0..1, of a yes) and ``weights`` are those of all rows."""
        yes, no = rows[chances[rows] > 0], rows[chances[rows] < 1]
        places = np.concatenate([yes, no])
        answers = np.concatenate([np.ones(len(yes)), np.zeros(len(no))])
        shares = np.concatenate([chances[yes], 1 - chances[no]])
        solver = cast(Any, LogisticRegression(C=INVERSE_PENALTY, max_iter=MOST_ITERATIONS, tol=TOLERANCE))
        with threadpool_limits(1):  # the vectors are too short for threads, which only spin on a busy machine
            solver.fit(self.sparse[places], answers, sample_weight=weights[places] * shares)
        return LinearModel(cast(Floats, solver.coef_).T, cast(Floats, solver.intercept_))

    def fit_classes(self, rows: Ints, classes: Ints, weights: Floats, count: int) -> LinearModel:
        """Multinomial regression with an output for each of ``count`` classes; one without rows is never the likeliest."""
        solver = cast(Any, LogisticRegression(C=INVERSE_PENALTY, max_iter=MOST_ITERATIONS, tol=CLASS_TOLERANCE))
        with threadpool_limits(1):
            solver.fit(self.sparse[rows], classes[rows], sample_weight=weights[rows])
        found = cast(Ints, solver.classes_)
        model = LinearModel(np.zeros((self.sparse.shape[1], count)), np.full(count, UNSEEN_CLASS))
        if len(found) == 2:  # scikit-learn then gives the second class's log-odds alone
            model.weights[:, found[1]], model.intercepts[found] = solver.coef_[0], [0.0, solver.intercept_[0]]
        else:
            model.weights[:, found], model.intercepts[found] = solver.coef_.T, solver.intercept_
        return model

    def scores(self, model: LinearModel, rows: Ints) -> Floats:
        """Outputs before calibration of some rows (len(rows), outputs)."""
        return cast(Floats, self.sparse[rows] @ model.weights) + model.intercepts


UNSEEN_CLASS: Final = -30.0
"""Log-odds of a class without rows."""


def fit_platt(scores: Floats, chances: Floats, weights: Floats) -> PlattMap:
    """The logistic map that makes scores probabilities."""
    solver = cast(Any, LogisticRegression(C=1e6))
    answers = np.concatenate([np.ones(len(scores)), np.zeros(len(scores))])
    shares = np.concatenate([weights * chances, weights * (1 - chances)])
    solver.fit(np.tile(scores, 2)[:, None], answers, sample_weight=shares)
    return PlattMap(slope=max(float(solver.coef_[0][0]), LEAST_SLOPE), offset=float(solver.intercept_[0]))


LEAST_SLOPE: Final = 1e-3
"""A head that orders few unseen rows wrongly is flattened, not turned round."""


def fit_calibration(scores: Floats, chances: Floats, weights: Floats, languages: Sequence[str]) -> Calibration:
    """One map for all rows and, pulled towards it, one for each of English and Chinese."""
    overall = fit_platt(scores, chances, weights)
    names = np.array(languages)
    maps: dict[str, PlattMap] = {}
    for language in ("en", "zh"):
        own = names == language
        if own.any() and 0 < float((weights * chances)[own].sum()) < float(weights[own].sum()):
            effective_rows = float(weights[own].sum() ** 2 / (weights[own] ** 2).sum())
            maps[language] = shrink(fit_platt(scores[own], chances[own], weights[own]), overall, effective_rows, PRIOR_ROWS)
    return Calibration(overall, maps)


def probabilities(calibration: Calibration, scores: Floats, languages: Sequence[str]) -> Floats:
    """Calibrated probabilities (rows,)."""
    maps = [calibration.map_for(language) for language in languages]
    log_odds = scores * np.array([platt.slope for platt in maps]) + np.array([platt.offset for platt in maps])
    return 1 / (1 + np.exp(-np.clip(log_odds, -500, 500)))
