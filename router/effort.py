"""How much effort a slow task deserves when nobody says. Knows nothing of lanes or models."""

from typing import Final

import numpy as np

from router.features import DENSE_NAMES, Dense, dense_features
from router.text import Text
from tandem.ports import Score
from tandem.schemas.routing import Effort

SURE: Final = 0.8
"""Below this P(slow) the task may well be easy, so it gets the cheaper effort."""
DEMANDING: Final = 1.0
"""Demand from which a task is worth high effort: a proof alone, or two other cues together."""
_CUES: Final = ("proof", "research", "planning", "deliverable", "analysis", "comparison", "constraints", "output_size", "date_range", "enumeration")
_CUE_INDEXES: Final = np.array([DENSE_NAMES.index(name) for name in _CUES])


def demand_of(dense: Dense) -> float:
    """Sum of the cues of a demanding task, 0..len(cues)."""
    return float(dense[_CUE_INDEXES].sum())


def effort_for(text: Text, score: Score) -> Effort:
    """``medium`` or ``high``; ``max`` is only ever asked for, and ``low`` belongs to the fast lane.

    A score without a demand, of a backend that does not compute features, costs a pass over the text.
    """
    if score.p_slow < SURE:
        return "medium"
    demand = demand_of(dense_features(text)) if score.demand is None else score.demand
    return "high" if demand >= DEMANDING else "medium"
