"""How much effort a slow task deserves when nobody says: from the probability and the size of the ask. Knows nothing of lanes or models."""

from typing import Final

from router.features import DENSE_NAMES, dense_features
from router.text import Text
from tandem.schemas.routing import Effort

SURE: Final = 0.8
"""Below this P(slow) the task may well be easy, so it gets the cheaper effort."""
DEMANDING: Final = 1.0
"""Sum of the cues below from which a task is worth high effort: a proof alone, or two others together."""
_CUES: Final = ("proof", "research", "planning", "deliverable", "analysis", "comparison", "constraints", "output_size", "date_range", "enumeration")
_CUE_INDEXES: Final = tuple(DENSE_NAMES.index(name) for name in _CUES)


def effort_for(text: Text, p_slow: float) -> Effort:
    """``medium`` or ``high``; ``max`` is only ever asked for, and ``low`` belongs to the fast lane."""
    if p_slow < SURE:
        return "medium"
    dense = dense_features(text)
    return "high" if float(sum(dense[index] for index in _CUE_INDEXES)) >= DEMANDING else "medium"
