"""The linear model's outputs: which there are, their weights side by side, and how they become one score of the slow lane.

Knows nothing of text, probabilities or files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import tanh
from typing import Final, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from router.features import Buckets, Dense, Features
from tandem.schemas.routing import Intent

Weights: TypeAlias = NDArray[np.float32]
Outputs: TypeAlias = NDArray[np.float32]

INTENTS: Final[tuple[Intent, ...]] = get_args(Intent)
KIND: Final = "kind"
"""Log-odds that this kind of ask needs the slow lane."""
EXAM_GAIN: Final = "exam_gain"
"""Of exam questions: how much likelier the strong model is right than the weak one."""
MATH_GAIN: Final = "math_gain"
"""The same of word problems."""
FAST_FAILS: Final = "fast_fails"
SLOW_FIXES: Final = "slow_fixes"
TOOLS: Final = "tools"
SCALARS: Final = (KIND, EXAM_GAIN, MATH_GAIN, FAST_FAILS, SLOW_FIXES, TOOLS)
HEADS: Final = (*SCALARS, *(f"intent_{name}" for name in INTENTS))
"""Names of the outputs, in the order of the weights' columns."""
PLACES: Final[Mapping[str, int]] = {name: place for place, name in enumerate(HEADS)}
FIRST_INTENT: Final = len(SCALARS)


@dataclass(frozen=True, slots=True)
class Heads:
    """Weights of all outputs."""

    buckets: Weights
    """(BUCKETS, len(HEADS)); a text's hashed features share one unit of length."""
    dense: Weights
    """(len(DENSE_NAMES), len(HEADS))"""
    intercepts: Weights
    """(len(HEADS),)"""

    def wording(self, buckets: Buckets) -> Outputs:
        """What the hashed features add to each output (len(HEADS),)."""
        total: Outputs = self.buckets[buckets].sum(axis=0)
        return np.multiply(total, max(len(buckets), 1) ** -0.5, dtype=np.float32)

    def outputs(self, features: Features, wording: Outputs) -> Outputs:
        """All outputs before calibration (len(HEADS),)."""
        return np.add(self.intercepts + wording, features.dense @ self.dense, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Blend:
    """How the kind of an ask and the gain within its kind make one score.

    ``score = bend(kind) * (1 - exam) + exam * (exam_offset + exam_slope * gain + exam_fails * fails) + math * (math_offset + math_slope * gain)``

    with ``exam`` 0 or 1, ``math`` the probability of the mathematical intent where there is no exam, ``fails`` the output of that name, and
    ``bend(x) = limit * tanh(x / limit)``: the kind decides between lanes, and where it is certain the gain ranks. Of exam questions the kind says
    nothing that their outcomes do not say better.
    """

    limit: float
    exam_slope: float
    exam_fails: float
    exam_offset: float
    math_slope: float
    math_offset: float

    def kind_share(self, kind: float, exam: float) -> float:
        """Factor from the kind's log-odds to their part in the score."""
        bent = self.limit * tanh(kind / self.limit) / kind if kind else 1.0
        return bent * (1 - exam)

    def exam_part(self, gain: float, fails: float, exam: float) -> float:
        return exam * (self.exam_offset + self.exam_slope * gain + self.exam_fails * fails)

    def math_part(self, gain: float, math: float) -> float:
        return math * (self.math_offset + self.math_slope * gain)


def intent_chances(outputs: Outputs) -> NDArray[np.float64]:
    """Softmax of the intents (len(INTENTS),)."""
    scores = outputs[FIRST_INTENT:].astype(np.float64)
    odds = np.exp(scores - scores.max())
    return odds / odds.sum()


def dense_column(dense: Dense, weights: Weights, head: str) -> Dense:
    """What each dense feature adds to one output (len(DENSE_NAMES),)."""
    return dense * weights[:, PLACES[head]]
