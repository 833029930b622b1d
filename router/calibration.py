"""Scores to probabilities: a logistic map per language (Platt), pulled towards the map of all languages where data is few.

Knows nothing of features; fitting lives in ``router/training/fit.py`` because only training needs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp


@dataclass(frozen=True, slots=True)
class PlattMap:
    """Log-odds = ``slope * score + offset``."""

    slope: float
    offset: float

    def log_odds(self, score: float) -> float:
        return self.slope * score + self.offset


@dataclass(frozen=True, slots=True)
class Calibration:
    """One map per language; a language without one uses the map of all."""

    overall: PlattMap
    by_language: Mapping[str, PlattMap]

    def map_for(self, language: str) -> PlattMap:
        return self.by_language.get(language, self.overall)


@dataclass(frozen=True, slots=True)
class Calibrations:
    """Of each output that is given as a probability."""

    slow: Calibration
    fast_fails: Calibration
    slow_fixes: Calibration
    tools: Calibration


def shrink(own: PlattMap, overall: PlattMap, rows: float, prior_rows: float) -> PlattMap:
    """Mean of the two maps, weighted by ``rows`` seen and by ``prior_rows``, the rows from which the own map outweighs the common one."""
    share = rows / (rows + prior_rows)
    return PlattMap(
        slope=share * own.slope + (1 - share) * overall.slope,
        offset=share * own.offset + (1 - share) * overall.offset,
    )


def sigmoid(log_odds: float) -> float:
    """Probability of the log-odds; never overflows."""
    if log_odds >= 0:
        return 1 / (1 + exp(-log_odds))
    odds = exp(log_odds)
    return odds / (1 + odds)
