"""How far the newest traffic is from the time before, and whether the probabilities still mean what they say. Pure.

Mixes are compared by the population stability index with its usual limits: below 0.1 the same, from 0.25 on another population. Chance alone makes an
index of about (groups - 1) * (1/n + 1/m), which is taken off.
"""

from collections import Counter
from collections.abc import Sequence
from math import log, pi, sqrt
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from router.estimates import rise_at_least
from router.quality import Outcomes, scores_of, wanted_lane
from tandem.ports import LoggedDecision
from tandem.schemas.policies import Drift
from tandem.schemas.routing import CALLER_SOURCES

What = Literal["p_slow", "language", "intent", "slow_share", "calibration"]
Level = Literal["ok", "watch", "alarm", "unknown"]

LEAST_REQUESTS: Final = 200
"""In each of the two times: below it chance scatters an index of ten groups by more than 0.04."""
LEAST_JUDGED: Final = 200
"""Judged requests for a calibration error; with fewer, chance alone makes one of 0.05 and more."""
PSI_LIMITS: Final = (0.1, 0.25)
SHARE_LIMITS: Final = (0.05, 0.10)
"""Points by which the slow share may move; the second is the rise that a rollout's guardrail allows."""
CALIBRATION_LIMITS: Final = (0.03, 0.08)
"""Beyond what chance makes. 0.03 is what the shipped model promises per language."""
BINS: Final = 10
_ALPHA: Final = 0.01


def drift(
    newest: Sequence[LoggedDecision], before: Sequence[LoggedDecision], *, outcomes: Outcomes, slow_share_cap: float | None = None
) -> list[Drift]:
    """One finding for each thing watched. Decisions that the caller forced count for the mixes, as their scores do, but not for the slow share."""
    return [
        _scores(newest, before),
        _mix("language", [each.decision.language for each in newest], [each.decision.language for each in before]),
        _mix("intent", [each.decision.intent or "none" for each in newest], [each.decision.intent or "none" for each in before]),
        _slow_share(_auto(newest), _auto(before), slow_share_cap),
        _calibration([*newest, *before], outcomes),
    ]


def psi(newest: Sequence[int], before: Sequence[int]) -> float:
    """Population stability index of two counts per group, each with half a request added to every group, less what chance makes; at least 0."""
    groups = [(new, old) for new, old in zip(newest, before, strict=True) if new or old]
    totals = [sum(each) + len(groups) / 2 for each in zip(*groups, strict=True)]
    shares = [((new + 0.5) / totals[0], (old + 0.5) / totals[1]) for new, old in groups]
    by_chance = (len(groups) - 1) * sum(1 / total for total in totals)
    return max(sum((new - old) * log(new / old) for new, old in shares) - by_chance, 0.0)


def _scores(newest: Sequence[LoggedDecision], before: Sequence[LoggedDecision]) -> Drift:
    """The score's distribution, in tenths of the time before."""
    if (few := _too_few("p_slow", len(newest), len(before))) is not None:
        return few
    old = np.array([each.decision.p_slow for each in before])
    # Equal edges are merged: a tenth that is one single value has no inside.
    edges = np.unique(np.quantile(old, np.linspace(0, 1, BINS + 1)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).tolist() for values in (_scores_of(newest), old)]
    value = psi(counts[0], counts[1])
    return _finding("p_slow", value, PSI_LIMITS, f"the scores' stability index is {value:.3f}: {len(newest)} requests against {len(before)} before")


def _mix(what: What, newest: Sequence[str], before: Sequence[str]) -> Drift:
    if (few := _too_few(what, len(newest), len(before))) is not None:
        return few
    new, old = Counter(newest), Counter(before)
    names = sorted(new.keys() | old.keys())
    value = psi([new[name] for name in names], [old[name] for name in names])
    moved = max(names, key=lambda name: abs(new[name] / len(newest) - old[name] / len(before)))
    shares = f"{moved!r} moved most, from {old[moved] / len(before):.1%} to {new[moved] / len(newest):.1%}"
    return _finding(what, value, PSI_LIMITS, f"the {what} mix has a stability index of {value:.3f}; {shares}")


def _slow_share(newest: Sequence[LoggedDecision], before: Sequence[LoggedDecision], cap: float | None) -> Drift:
    if (few := _too_few("slow_share", len(newest), len(before))) is not None:
        return few
    new, old = (sum(each.decision.lane == "slow" for each in group) for group in (newest, before))
    value, was = new / len(newest), old / len(before)
    first, second = ((old, len(before)), (new, len(newest))) if value >= was else ((new, len(newest)), (old, len(before)))
    is_sure = rise_at_least(first, second, 0.0, _ALPHA)
    level = _level(abs(value - was), SHARE_LIMITS) if is_sure else "ok"
    message = f"{value:.1%} of {len(newest)} requests went slow, {was:.1%} of {len(before)} before"
    capped = sum(each.decision.override == "cap" for each in newest) / len(newest)
    if cap is not None and capped > 0.01:
        level = "alarm" if capped >= SHARE_LIMITS[0] else "watch" if level == "ok" else level
        message += f"; the cap of {cap:.1%} held back {capped:.1%}"
    return Drift(what="slow_share", value=value, level=level, message=message)


def _calibration(logged: Sequence[LoggedDecision], outcomes: Outcomes) -> Drift:
    """Expected calibration error of ``p_slow`` where somebody knows whether the slow lane was needed."""
    pairs = [(each.decision.p_slow, needed) for each in logged if (needed := _needed_slow(each, outcomes)) is not None]
    if len(pairs) < LEAST_JUDGED:
        message = f"{len(pairs)} requests were judged; {LEAST_JUDGED} are needed: approve labels, or run `tandem router collect`"
        return Drift(what="calibration", value=None, level="unknown", message=message)
    pairs.sort()
    error, by_chance = 0.0, 0.0
    for chunk in np.array_split(np.array(pairs, dtype=np.float64), BINS):
        mean, needed = (float(each) for each in chunk.mean(axis=0))
        error += abs(mean - needed) * len(chunk) / len(pairs)
        # Mean absolute deviation of a share of a calibrated bin, by the normal approximation.
        by_chance += sqrt(2 * max(mean * (1 - mean), 0.0) / (pi * len(chunk))) * len(chunk) / len(pairs)
    level = _level(error - by_chance, CALIBRATION_LIMITS)
    message = f"the calibration error of p_slow is {error:.3f} on {len(pairs)} judged requests, of which chance makes about {by_chance:.3f}"
    return Drift(what="calibration", value=error, level=level, message=message)


def _needed_slow(logged: LoggedDecision, outcomes: Outcomes) -> bool | None:
    found = outcomes.get(logged.id, ())
    scores = scores_of(found)
    if scores is not None:
        return scores[1] > scores[0]
    wanted = wanted_lane(found)
    return None if wanted is None else wanted == "slow"


def _too_few(what: What, newest: int, before: int) -> Drift | None:
    if min(newest, before) >= LEAST_REQUESTS:
        return None
    message = f"{newest} requests against {before} before; {LEAST_REQUESTS} of each are needed"
    return Drift(what=what, value=None, level="unknown", message=message)


def _finding(what: What, value: float, limits: tuple[float, float], message: str) -> Drift:
    return Drift(what=what, value=value, level=_level(value, limits), message=message)


def _level(value: float, limits: tuple[float, float]) -> Level:
    return "ok" if value < limits[0] else "watch" if value < limits[1] else "alarm"


def _auto(logged: Sequence[LoggedDecision]) -> list[LoggedDecision]:
    return [each for each in logged if each.decision.override not in CALLER_SOURCES]


def _scores_of(logged: Sequence[LoggedDecision]) -> NDArray[np.float64]:
    return np.array([each.decision.p_slow for each in logged])
