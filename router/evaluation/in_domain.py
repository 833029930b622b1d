"""What the router's features can learn from a set's own outcomes: ridge regression of the gain, scored on rows it was not fitted on.

Nothing is tuned: one penalty, fixed beforehand. Needs scikit-learn, as training does.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from router.evaluation.outcomes import OutcomeSet, quality_gain
from router.training.fit import Matrix
from router.training.protocol import Floats

Ints: TypeAlias = NDArray[np.int64]

PENALTY: Final = 3.0
FOLDS: Final = 5
GOLD_ROWS: Final = 1_500
"""Labels that RouteLLM's augmented routers had of MMLU."""
GOLD_SEEDS: Final = 5


class FeatureRidge:
    """Ridge regressions on the features of one set's prompts, which are computed once."""

    def __init__(self, prompts: Sequence[str]) -> None:
        self._matrix = Matrix(prompts).sparse

    def predict(self, targets: Floats, seen: Ints, unseen: Ints) -> Floats:
        """The gain of unseen rows, from the targets of the seen ones (len(unseen),)."""
        model = cast(Any, Ridge(alpha=PENALTY, solver="lsqr"))
        with threadpool_limits(1):  # the vectors are too short for threads
            model.fit(self._matrix[seen], targets[seen])
        return cast(Floats, model.predict(self._matrix[unseen]))


def cross_validated(ridge: FeatureRidge, one: OutcomeSet, seed: int) -> Floats:
    """Each row's gain as predicted by a model that did not see it (rows,)."""
    gains = quality_gain(one.outcomes)
    fold_of = np.random.default_rng(seed).permutation(len(gains)) % FOLDS
    scores = np.zeros(len(gains))
    for fold in range(FOLDS):
        unseen = np.flatnonzero(fold_of == fold)
        scores[unseen] = ridge.predict(gains, np.flatnonzero(fold_of != fold), unseen)
    return scores


def from_gold(ridge: FeatureRidge, one: OutcomeSet, seed: int) -> tuple[Ints, Floats]:
    """Rows that are not among ``GOLD_ROWS`` drawn ones, and their gains as these predict them."""
    order = np.random.default_rng(seed).permutation(len(one.prompts))
    seen, unseen = np.sort(order[:GOLD_ROWS]), np.sort(order[GOLD_ROWS:])
    return unseen, ridge.predict(quality_gain(one.outcomes), seen, unseen)
