"""RouteLLM's protocol: what a router's order of the prompts buys, with bootstrap intervals. Pure functions of arrays.

Each row has a score (higher: stronger model), the weak model's quality ``w`` and the strong one's ``t``; ``W`` and ``S`` are their means. Eleven
thresholds at the quantiles 0, 0.1, ..., 1 of the scores give a share sent to the strong model and an accuracy each; see ``sweep``.

Ties are broken by a seeded random rank, drawn once per row, never by row order: rows are sorted by subject. In a bootstrap sample the copies of a
row tie with each other; equal edges are merged there.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from tandem.errors import InvalidRequest

Floats: TypeAlias = NDArray[np.float64]

EDGES: Final = 11
CPT_TARGETS: Final = (0.2, 0.5, 0.8)
RESAMPLES: Final = 1_000
INTERVAL: Final = (2.5, 97.5)
"""Percentiles of the resamples."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How well both models did on the same rows."""

    weak: Floats
    """Quality 0..1 (rows,)."""
    strong: Floats
    """(rows,)"""

    def __post_init__(self) -> None:
        if len(self.weak) != len(self.strong) or len(self.weak) < 2:
            raise InvalidRequest(f"outcomes need two or more rows of both models, got {len(self.weak)} and {len(self.strong)}")

    def take(self, rows: NDArray[np.int64]) -> "Outcomes":
        return Outcomes(self.weak[rows], self.strong[rows])


@dataclass(frozen=True, slots=True)
class Sweep:
    """The thresholds' results, by ascending strong share."""

    share: Floats
    """Of rows sent to the strong model (points,)."""
    accuracy: Floats
    """Mean quality of what the chosen models answered (points,)."""


class Interval(TypedDict):
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class ProtocolFigures(TypedDict):
    """One router on one set of outcomes."""

    apgr: Interval
    cpt: dict[str, Interval]
    """Strong share in percent for 20, 50, 80 % of the gap."""
    rises_evenly: bool
    """Accuracy rises with the strong share; where it does not, CPT is the smallest share that reaches the target."""
    rows: int


def break_ties(scores: Floats, randomness: np.random.Generator) -> Floats:
    """Ranks 0..rows-1, equal scores in random order."""
    order = np.lexsort((randomness.random(len(scores)), scores))
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(len(scores))
    return ranks


def sweep(scores: Floats, outcomes: Outcomes) -> Sweep:
    """Route at each edge of ten equal-mass bins: strong from the edge on; above it for the last edge, so that the sweep ends at no strong row."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    edges = np.unique(np.quantile(ordered, np.linspace(0, 1, EDGES)))
    firsts = np.append(np.searchsorted(ordered, edges[:-1] if len(edges) > 1 else edges, side="left"), len(ordered))
    weak_below = np.concatenate([[0.0], np.cumsum(outcomes.weak[order])])
    strong_below = np.concatenate([[0.0], np.cumsum(outcomes.strong[order])])
    rows = len(ordered)
    firsts = firsts[::-1]  # ascending share
    quality = weak_below[firsts] + strong_below[-1] - strong_below[firsts]
    return Sweep(share=(rows - firsts) / rows, accuracy=quality / rows)


def apgr(points: Sweep, outcomes: Outcomes) -> float:
    """Average performance gap recovered: mean over the strong share of (accuracy - W) / (S - W). A random order gives 0.5."""
    weak, gap = _gap(outcomes)
    span = float(points.share[-1] - points.share[0])
    return (float(np.trapezoid(points.accuracy, points.share)) - weak * span) / (gap * span)


def cpt(points: Sweep, outcomes: Outcomes, target: float) -> float:
    """Smallest strong share, interpolated, that recovers ``target`` of the gap (call-performance threshold), 0..1."""
    weak, gap = _gap(outcomes)
    wanted = weak + target * gap
    reached = int(np.argmax(points.accuracy >= wanted - 1e-12))  # all strong reaches every target up to 1
    if reached == 0:
        return float(points.share[0])
    low, high = points.accuracy[reached - 1], points.accuracy[reached]
    part = float((wanted - low) / (high - low))
    return float(points.share[reached - 1] + part * (points.share[reached] - points.share[reached - 1]))


@dataclass(frozen=True, slots=True)
class Judged:
    """One router's APGR and CPTs, of the rows and of each resample of them."""

    own: Floats
    """APGR, then the CPTs of ``CPT_TARGETS``, 0..1 (1 + targets,)."""
    drawn: Floats
    """(resamples, 1 + targets)"""
    rises_evenly: bool
    rows: int


def judge(scores: Floats, outcomes: Outcomes, *, seed: int, resamples: int = RESAMPLES) -> Judged:
    """Measure a router; edges, W and S are recomputed in each resample. The same seed gives every router the same resamples."""
    ranks = break_ties(scores, np.random.default_rng(seed))
    randomness = np.random.default_rng([seed, len(ranks)])
    drawn: list[list[float]] = []
    for _ in range(resamples):
        rows = randomness.integers(0, len(ranks), len(ranks))
        drawn.append(_measures(ranks[rows], outcomes.take(rows)))
    accuracy = sweep(ranks, outcomes).accuracy
    return Judged(np.array(_measures(ranks, outcomes)), np.array(drawn), bool((np.diff(accuracy) >= 0).all()), len(ranks))


def figures_of(judged: Judged) -> ProtocolFigures:
    """The table's figures."""
    intervals = [_interval(float(value), judged.drawn[:, column]) for column, value in enumerate(judged.own)]
    return ProtocolFigures(
        apgr=intervals[0],
        cpt={f"{100 * target:.0f}": _percent(interval) for target, interval in zip(CPT_TARGETS, intervals[1:], strict=True)},
        rises_evenly=judged.rises_evenly,
        rows=judged.rows,
    )


def apgr_difference(one: Judged, other: Judged) -> Interval:
    """APGR of one router minus another's, paired: both judged on the same rows with the same seed."""
    if one.rows != other.rows or len(one.drawn) != len(other.drawn):
        raise InvalidRequest(f"only routers judged on the same rows can be paired, got {one.rows} and {other.rows} rows")
    return _interval(float(one.own[0] - other.own[0]), one.drawn[:, 0] - other.drawn[:, 0])


def best_constant(outcomes: Outcomes) -> float:
    """Accuracy of always asking the better model."""
    return float(max(outcomes.weak.mean(), outcomes.strong.mean()))


def _gap(outcomes: Outcomes) -> tuple[float, float]:
    weak, strong = float(outcomes.weak.mean()), float(outcomes.strong.mean())
    if strong <= weak:
        raise InvalidRequest(f"the strong model ({strong:.4f}) must be better than the weak one ({weak:.4f}): there is no gap to recover")
    return weak, strong - weak


def _measures(ranks: Floats, outcomes: Outcomes) -> list[float]:
    points = sweep(ranks, outcomes)
    return [apgr(points, outcomes), *(cpt(points, outcomes, target) for target in CPT_TARGETS)]


def _interval(value: float, drawn: Floats) -> Interval:
    low, high = np.percentile(drawn, INTERVAL)
    return Interval(value=round(value, 4), low=round(float(low), 4), high=round(float(high), 4))


def _percent(interval: Interval) -> Interval:
    return Interval(value=round(100 * interval["value"], 2), low=round(100 * interval["low"], 2), high=round(100 * interval["high"], 2))
