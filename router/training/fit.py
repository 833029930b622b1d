"""Fits the linear model and the calibration. The only module that imports scikit-learn and its kin, which serving does not need."""

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

INVERSE_PENALTY: Final = 3.0
"""L2. Of 0.3, 1 and 3 the best on unseen groups (AUROC .974, .976, .978); on unseen sources they are within 0.5 points of error."""
MOST_ITERATIONS: Final = 200
PRIOR_ROWS: Final = 200.0
"""Rows from which a language's own calibration outweighs the common one."""


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Weights before calibration."""

    buckets: Floats
    dense: Floats
    intercept: float


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
        self._matrix = cast(Any, csr_matrix(parts, shape=(len(texts), BUCKETS + len(DENSE_NAMES))))

    def fit(self, rows: Ints, labels: Floats, weights: Floats) -> LinearModel:
        """Weighted logistic regression on some rows; ``labels`` and ``weights`` are those of all rows."""
        solver = cast(Any, LogisticRegression(C=INVERSE_PENALTY, max_iter=MOST_ITERATIONS, tol=1e-4))
        with threadpool_limits(1):  # the vectors are too short for threads, which only spin on a busy machine
            solver.fit(self._matrix[rows], labels[rows], sample_weight=weights[rows])
        coefficients = cast(Floats, solver.coef_[0])
        return LinearModel(coefficients[:BUCKETS], coefficients[BUCKETS:], float(solver.intercept_[0]))

    def scores(self, model: LinearModel, rows: Ints) -> Floats:
        """Log-odds before calibration of some rows (len(rows),)."""
        weights = np.concatenate([model.buckets, model.dense])
        return cast(Floats, self._matrix[rows] @ weights) + model.intercept


def fit_platt(scores: Floats, labels: Floats, weights: Floats) -> PlattMap:
    """The logistic map that makes scores probabilities."""
    solver = cast(Any, LogisticRegression(C=1e6))
    solver.fit(scores[:, None], labels, sample_weight=weights)
    return PlattMap(slope=float(solver.coef_[0][0]), offset=float(solver.intercept_[0]))


def fit_calibration(scores: Floats, labels: Floats, weights: Floats, languages: Sequence[str]) -> Calibration:
    """One map for all rows and, pulled towards it, one for each of English and Chinese."""
    overall = fit_platt(scores, labels, weights)
    names = np.array(languages)
    maps: dict[str, PlattMap] = {}
    for language in ("en", "zh"):
        own = names == language
        if len(np.unique(labels[own])) == 2:
            effective_rows = float(weights[own].sum() ** 2 / (weights[own] ** 2).sum())
            maps[language] = shrink(fit_platt(scores[own], labels[own], weights[own]), overall, effective_rows, PRIOR_ROWS)
    return Calibration(overall, maps)


def probabilities(calibration: Calibration, scores: Floats, languages: Sequence[str]) -> Floats:
    """Calibrated P(slow) (rows,)."""
    maps = [calibration.map_for(language) for language in languages]
    log_odds = scores * np.array([platt.slope for platt in maps]) + np.array([platt.offset for platt in maps])
    return 1 / (1 + np.exp(-np.clip(log_odds, -500, 500)))
