"""Figures of merit: AUROC, calibration error, Brier score, shares with Wilson intervals. Pure functions of arrays."""

from math import sqrt
from typing import Final, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

ECE_BINS: Final = 15
_Z: Final = 1.959964  # 95 % of a normal distribution


class Share(TypedDict):
    """A share with its 95 % Wilson interval."""

    share: float
    low: float
    high: float
    rows: int


def auroc(scores: Floats, labels: Floats, weights: Floats) -> float:
    """P(a slow row scores above a fast one), ties count half."""
    order = np.argsort(scores, kind="stable")
    starts = np.unique(scores[order], return_index=True)[1]
    slow = np.add.reduceat((weights * labels)[order], starts)  # (distinct scores,)
    fast = np.add.reduceat((weights * (1 - labels))[order], starts)
    below = np.cumsum(fast) - fast
    return float((slow * (below + fast / 2)).sum() / (slow.sum() * fast.sum()))


def calibration_error(probabilities: Floats, labels: Floats, weights: Floats) -> float:
    """Expected calibration error over ``ECE_BINS`` bins of equal weight."""
    order = np.argsort(probabilities, kind="stable")
    p, y, w = probabilities[order], labels[order], weights[order]
    place = np.minimum((np.cumsum(w) - w / 2) / w.sum() * ECE_BINS, ECE_BINS - 1).astype(np.int64)
    gaps = np.bincount(place, w * (p - y), ECE_BINS)
    return float(np.abs(gaps).sum() / w.sum())


def brier(probabilities: Floats, labels: Floats, weights: Floats) -> float:
    """Mean squared error of the probabilities."""
    return float(np.average((probabilities - labels) ** 2, weights=weights))


def share_of(flags: NDArray[np.bool_]) -> Share:
    """The share of true flags."""
    rows = len(flags)
    share = float(flags.mean())
    centre = (share + _Z**2 / (2 * rows)) / (1 + _Z**2 / rows)
    half = _Z / (1 + _Z**2 / rows) * sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2))
    return Share(share=round(share, 4), low=round(max(centre - half, 0.0), 4), high=round(min(centre + half, 1.0), 4), rows=rows)
