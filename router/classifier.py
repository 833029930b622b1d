"""The embedded scoring backend: a linear model over ``router/features.py``, calibrated per language.

Knows nothing of thresholds, overrides or files. Immutable after construction, so one instance serves every thread.
"""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.calibration import Calibration, sigmoid
from router.features import DENSE_NAMES, Dense, extract
from router.text import read_text
from tandem.ports import Score, Turns

Weights: TypeAlias = NDArray[np.float32]

MAX_CONTRIBUTIONS: Final = 5
WORDING: Final = "wording"
"""Name under which the hashed n-grams' contributions are summed: single ones are small, and naming them would copy the user's words."""


class LinearClassifier:
    """P(needs the slow lane) from hashed n-grams and dense features.

    Args:
        version: Version of the artefact.
        bucket_weights: (BUCKETS,)
        dense_weights: (len(DENSE_NAMES),)
        intercept: Log-odds before calibration of a text without features.
        calibration: Score to probability.
    """

    def __init__(self, version: str, bucket_weights: Weights, dense_weights: Weights, intercept: float, calibration: Calibration) -> None:
        self._version = version
        self._bucket_weights = bucket_weights
        self._dense_weights = dense_weights
        self._intercept = intercept
        self._calibration = calibration

    @property
    def version(self) -> str:
        return self._version

    def score(self, turns: Turns) -> Score:
        """Calibrated probability and its largest contributions in log-odds."""
        text = read_text(turns.text)
        features = extract(text)
        dense: Dense = self._dense_weights * features.dense
        wording = float(self._bucket_weights[features.buckets].sum()) / max(len(features.buckets), 1) ** 0.5
        platt = self._calibration.map_for(text.language)
        log_odds = platt.log_odds(self._intercept + float(dense.sum()) + wording)
        named = [(WORDING, platt.slope * wording), *_largest(dense, platt.slope)]
        named.sort(key=lambda item: -abs(item[1]))
        return Score(p_slow=sigmoid(log_odds), contributions=tuple(item for item in named[:MAX_CONTRIBUTIONS] if item[1] != 0))


def _largest(dense: Dense, slope: float) -> list[tuple[str, float]]:
    """The dense contributions of largest size, with their names."""
    order = np.argsort(-np.abs(dense), kind="stable")[:MAX_CONTRIBUTIONS]
    return [(DENSE_NAMES[index], slope * float(dense[index])) for index in order]
