"""Judges the recipe on rows it did not see: grouped folds, whole sources left out, and a set that is never trained on.

Knows nothing of files. "Slow share" is the share of rows sent slow at the default threshold: recall where the rows are slow, false slows where fast.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from router.calibration import Calibration
from router.training.fit import Matrix, fit_calibration, probabilities
from router.training.metrics import Share, auroc, brier, calibration_error, share_of
from router.training.rows import Row

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Report: TypeAlias = Callable[[str], None]

FOLDS: Final = 5
THRESHOLD: Final = 0.5


class Figures(TypedDict):
    """One router on the rows of one language; AUROC, ECE and Brier under the balancing weights, shares per row."""

    auroc: float
    ece: float
    brier: float
    recall: Share
    false_slow: Share


class Problem:
    """Rows with their features, labels, weights and folds."""

    def __init__(self, rows: Sequence[Row], matrix: Matrix, weights: Floats) -> None:
        self.rows = rows
        self.matrix = matrix
        self.weights = weights
        self.labels = np.array([float(row.label) for row in rows])
        self.languages = [row.language for row in rows]
        self.sources = np.array([row.source for row in rows])
        self.folds = np.array([_fold(row.group) for row in rows])

    def out_of_fold_scores(self, report: Report) -> Floats:
        """Each row's score by a model that saw no row of its group (rows,)."""
        scores = np.zeros(len(self.rows))
        for fold in range(FOLDS):
            unseen = np.flatnonzero(self.folds == fold)
            scores[unseen] = self.matrix.scores(self.matrix.fit(np.flatnonzero(self.folds != fold), self.labels, self.weights), unseen)
            report(f"  fold {fold + 1} of {FOLDS}")
        return scores

    def cross_calibrated(self, scores: Floats) -> Floats:
        """Each row's probability by a calibration fitted on the other folds (rows,)."""
        p = np.zeros(len(self.rows))
        for fold in range(FOLDS):
            seen, unseen = np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)
            calibration = fit_calibration(scores[seen], self.labels[seen], self.weights[seen], [self.languages[index] for index in seen])
            p[unseen] = probabilities(calibration, scores[unseen], [self.languages[index] for index in unseen])
        return p


def by_language(problem: Problem, p: Floats) -> dict[str, Figures]:
    """Figures for English, Chinese and all rows."""
    names = np.array(problem.languages)
    everything = np.ones(len(names), dtype=np.bool_)
    return {name: _figures(problem, p, rows) for name, rows in (("en", names == "en"), ("zh", names == "zh"), ("all", everything))}


def baselines(problem: Problem, randomness: np.random.Generator) -> dict[str, dict[str, Figures]]:
    """What the router must beat: chance, the length of the prompt alone (calibrated the same way), and never going slow."""
    lengths = np.array([math.log1p(len(row.text)) for row in problem.rows])
    return {
        "random": by_language(problem, randomness.random(len(problem.rows))),
        "length_only": by_language(problem, problem.cross_calibrated(lengths)),
        "always_fast": by_language(problem, np.zeros(len(problem.rows))),
    }


def by_source(problem: Problem, p: Floats) -> dict[str, Share]:
    """Slow share of each source, language and label."""
    return _shares(problem, p, np.ones(len(problem.rows), dtype=np.bool_))


def leave_one_source_out(problem: Problem, calibration: Calibration, report: Report) -> dict[str, Share]:
    """Slow share of each source by a model that saw nothing of it, with the calibration of the whole."""
    shares: dict[str, Share] = {}
    for source in sorted(set(problem.sources.tolist())):
        is_left_out = problem.sources == source
        unseen = np.flatnonzero(is_left_out)
        model = problem.matrix.fit(np.flatnonzero(~is_left_out), problem.labels, problem.weights)
        p = np.zeros(len(problem.rows))
        p[unseen] = probabilities(calibration, problem.matrix.scores(model, unseen), [problem.languages[index] for index in unseen])
        shares |= _shares(problem, p, is_left_out)
        report(f"  without {source}")
    return shares


def _figures(problem: Problem, p: Floats, rows: NDArray[np.bool_]) -> Figures:
    labels, weights = problem.labels[rows], problem.weights[rows]
    is_slow = p[rows] >= THRESHOLD
    return Figures(
        auroc=round(auroc(p[rows], labels, weights), 4),
        ece=round(calibration_error(p[rows], labels, weights), 4),
        brier=round(brier(p[rows], labels, weights), 4),
        recall=share_of(is_slow[labels == 1]),
        false_slow=share_of(is_slow[labels == 0]),
    )


def _shares(problem: Problem, p: Floats, rows: NDArray[np.bool_]) -> dict[str, Share]:
    keys = np.array([f"{row.source}/{row.language}/{'slow' if row.label else 'fast'}" for row in problem.rows])
    is_slow = p >= THRESHOLD
    return {str(key): share_of(is_slow[rows & (keys == key)]) for key in np.unique(keys[rows])}


def _fold(group: str) -> int:
    """The same group falls into the same fold in every run."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % FOLDS
