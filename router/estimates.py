"""Shares, means and differences with their intervals. Pure arithmetic; knows nothing of lanes."""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tandem.schemas.policies import Estimate

Z95: Final = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""


def share_of(count: int, total: int) -> Estimate:
    """A share with Wilson's interval, which also holds near 0 and 1; nothing of nothing."""
    if total == 0:
        return Estimate(value=None, n=0)
    low, high = wilson(count, total, Z95)
    return Estimate(value=count / total, low=low, high=high, n=total)


def wilson(count: int, total: int, z: float) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    share, spread = count / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    # The bounds meet the share at 0 and at 1 only up to rounding.
    return min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)


def rise_at_least(before: tuple[int, int], after: tuple[int, int], limit: float, alpha: float) -> bool:
    """Whether the share ``after`` is surely more than ``limit`` above that ``before``: one-sided, by Newcombe's interval of a difference.

    Both are (count, total) with a total above 0.
    """
    z = NormalDist().inv_cdf(1 - alpha)
    share_before, share_after = before[0] / before[1], after[0] / after[1]
    high_before, low_after = wilson(*before, z)[1], wilson(*after, z)[0]
    return share_after - share_before - sqrt((share_after - low_after) ** 2 + (high_before - share_before) ** 2) > limit


def mean_of(values: Sequence[float]) -> Estimate:
    """A mean of values in 0..1 with its normal interval."""
    return weighted_mean(np.asarray(values, dtype=np.float64), np.ones(len(values)))[0]


def weighted_mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[Estimate, float]:
    """The self-normalised mean of values in 0..1 (n,) under weights (n,), with its linearised interval, and the effective number of values."""
    total = float(weights.sum())
    if total == 0.0:
        return Estimate(value=None, n=0), 0.0
    mean = float((weights * values).sum()) / total
    error = sqrt(float(((weights * (values - mean)) ** 2).sum())) / total
    effective = total * total / float((weights * weights).sum())
    bounds = max(mean - Z95 * error, 0.0), min(mean + Z95 * error, 1.0)
    return Estimate(value=min(max(mean, 0.0), 1.0), low=bounds[0], high=bounds[1], n=int(np.count_nonzero(weights))), effective
