"""What a training run reports: the shape of ``metrics.json``."""

from typing import TypedDict

from router.training.evaluation import Figures, GainFigures, HeadFigures
from router.training.metrics import Share


class RowCounts(TypedDict):
    """Rows before and after cleaning."""

    read: int
    repeated: int
    overlapping: int
    kept: int
    copies: int
    labels: int


class Summary(TypedDict):
    """Everything the card shows."""

    version: str
    seed: int
    threshold: float
    dense_features: int
    rows: RowCounts
    unseen_groups: dict[str, Figures]
    baselines: dict[str, dict[str, Figures]]
    heads: dict[str, dict[str, HeadFigures]]
    intents: dict[str, Share]
    gains: dict[str, GainFigures]
    sources_in_folds: dict[str, Share]
    sources_left_out: dict[str, Share]
    unseen_word_problems: Share
