"""The two dials: a target for the slow share, and one for the quality kept. Both move all cuts of a policy alike and leave the rest as it is.

All cuts move by the same amount of log-odds, the check band with them: a language or intent that was treated more carefully stays so, and no cut
leaves 0..1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.choice import CALM, Policy, without_score
from router.estimates import mean_of
from router.quality import Outcomes, scores_of
from router.queueing import has_enough, mean_wait_s
from router.redecision import Traffic, situation_of
from tandem.errors import InvalidRequest
from tandem.ports import JobTimes, LoggedDecision
from tandem.schemas.policies import Bands, ClassBands, RoutingPolicy
from tandem.schemas.routing import CALLER_SOURCES

Floats: TypeAlias = NDArray[np.float64]

LEAST_REQUESTS: Final = 50
"""Scored requests to find a slow share from; with fewer the share found is off by more than 14 points (95 %)."""
LEAST_PAIRS: Final = 100
"""Requests answered by both lanes to find a quality from."""
FARTHEST: Final = 20.0
"""Log-odds that the dials move a cut at most: from 0.5 to within 3e-9 of 0 or 1."""
TOLERANCE: Final = 0.02
"""A target that traffic misses by more than this cannot be reached."""


def apply_dials(
    logged: Sequence[LoggedDecision],
    document: RoutingPolicy,
    target_slow_share: float | None,
    target_quality: float | None,
    outcomes: Outcomes,
    job_times: JobTimes | None = None,
) -> RoutingPolicy:
    """The policy with its cuts moved to a target on logged traffic (newest first), or as it is without one.

    The slow share is that of the requests that the caller left open, before the cap. The quality is the part of the slow lane's gain that is kept, on
    requests that both lanes answered; of the cuts that keep it, those with the smallest slow share.

    Raises:
        InvalidRequest: Two targets, too few data, or a target that no cut reaches or that the policy's cap forbids.
    """
    if target_quality is not None:
        if target_slow_share is not None:
            raise InvalidRequest("`target_slow_share` and `target_quality` move the same cuts in two ways; give one of them", param="target_quality")
        document, scored = _prepared(logged, document, outcomes)
        return _shifted(document, _for_quality(scored, target_quality))
    if target_slow_share is None:
        return document
    if document.slow_share_cap is not None and target_slow_share > document.slow_share_cap:
        raise InvalidRequest(
            f"the policy's cap holds the slow share at {document.slow_share_cap:.1%}, below {target_slow_share:.1%}; raise 'slow_share_cap' as well",
            param="target_slow_share",
        )
    document, scored = _prepared(logged, document, outcomes)
    if job_times is not None and has_enough(job_times):
        scored = scored.at_wait(_wait_s(scored, target_slow_share, job_times), document)
    return _shifted(document, _for_share(scored, target_slow_share))


@dataclass(frozen=True, slots=True)
class _Scored:
    """The requests whose lane the score decides, as arrays (n,), and how many others there are."""

    p_slow: Floats
    cut: Floats
    is_held_fast: NDArray[np.bool_]
    """The lane before was fast: going slow takes more."""
    is_held_slow: NDArray[np.bool_]
    hysteresis: float
    raised: float
    """What waiting adds to the cuts."""
    auto: int
    """All that the caller left open."""
    settled_slow: int
    """Of them, those that rules, "continue" and their length alone send slow."""
    logged_slow: int
    pairs: Floats
    """Scores of the fast and the slow lane (n, 2); NaN where not both are known."""

    @classmethod
    def of(cls, traffic: Traffic, document: RoutingPolicy, outcomes: Outcomes) -> "_Scored":
        policy = Policy.of("dialled", document)
        rows: list[tuple[float, float, bool, bool]] = []
        pairs: list[tuple[float, float]] = []
        auto = settled_slow = logged_slow = 0
        for logged, ask in zip(traffic.logged, traffic.asks, strict=True):
            settled = without_score(ask, policy, situation_of(logged, policy, CALM))
            if settled is not None and settled[1] in CALLER_SOURCES:
                continue
            auto += 1
            logged_slow += logged.decision.lane == "slow"
            if settled is not None:
                settled_slow += settled[0] == "slow"
                continue
            before = ask.signs.previous_lane
            rows.append((ask.p_slow, policy.bands_of(ask.language, ask.intent).slow_at, before == "fast", before == "slow"))
            pairs.append(scores_of(outcomes.get(logged.id, ())) or (np.nan, np.nan))
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        return cls(
            p_slow=table[:, 0],
            cut=table[:, 1],
            is_held_fast=table[:, 2] > 0,
            is_held_slow=table[:, 3] > 0,
            hysteresis=document.hysteresis,
            raised=0.0,
            auto=auto,
            settled_slow=settled_slow,
            logged_slow=logged_slow,
            pairs=np.array(pairs, dtype=np.float64).reshape(-1, 2),
        )

    def at_wait(self, wait_s: float, document: RoutingPolicy) -> "_Scored":
        raised = document.wait_cost_per_min * wait_s / 60
        return replace(self, raised=raised)

    def is_slow(self, shift: float) -> NDArray[np.bool_]:
        """Who goes slow with all cuts moved; as ``router/choice.py`` decides, over all rows at once."""
        cut = np.minimum(_moved(self.cut, shift) + self.raised, 1.0)
        upward = np.where(self.is_held_fast, np.minimum(self.hysteresis, (1 - cut) / 2), 0.0)
        downward = np.where(self.is_held_slow, np.minimum(self.hysteresis, cut / 2), 0.0)
        return self.p_slow >= cut + upward - downward

    def slow_share(self, shift: float) -> float:
        return (self.settled_slow + int(self.is_slow(shift).sum())) / self.auto


def _prepared(logged: Sequence[LoggedDecision], document: RoutingPolicy, outcomes: Outcomes) -> tuple[RoutingPolicy, _Scored]:
    """The policy with cuts that can be moved, and its scored requests."""
    if document.mode != "score":
        raise InvalidRequest(f"a dial moves cuts, and a policy of mode {document.mode!r} has none in use; set mode 'score'", param="policy.mode")
    movable = document.model_copy(update={"bands": _movable(document.bands)})
    return movable, _Scored.of(Traffic.of(logged), movable, outcomes)


def _for_share(scored: _Scored, target: float) -> float:
    """The shift whose slow share is nearest to the target, in the middle of all shifts with this share."""
    if len(scored.p_slow) < LEAST_REQUESTS:
        raise InvalidRequest(
            f"the log holds {len(scored.p_slow)} requests that the score decides; {LEAST_REQUESTS} are needed to find a cut: look further back",
            param="target_slow_share",
        )
    below = _first(lambda shift: scored.slow_share(shift) < target)
    share = min(scored.slow_share(below - 1e-9), scored.slow_share(below), key=lambda each: abs(each - target))
    if abs(share - target) > TOLERANCE:
        raise InvalidRequest(_unreached(scored, target, share), param="target_slow_share")
    return (_first(lambda shift: scored.slow_share(shift) <= share) + _first(lambda shift: scored.slow_share(shift) < share)) / 2


def _unreached(scored: _Scored, target: float, share: float) -> str:
    most, least = scored.slow_share(-FARTHEST), scored.slow_share(FARTHEST)
    if least <= target <= most:
        why = "many requests have the very same p_slow, and a cut lies beside all of them or none"
    else:
        why = f'rules, "continue", long conversations and hysteresis settle the rest: cuts reach {least:.1%} to {most:.1%}'
    return f"no cut sends {target:.1%} of the logged requests slow; the nearest share is {share:.1%}, since {why}"


def _for_quality(scored: _Scored, target: float) -> float:
    """The largest shift that keeps the target's part of what the slow lane gains."""
    known = ~np.isnan(scored.pairs[:, 0])
    gains: Floats = (scored.pairs[:, 1] - scored.pairs[:, 0])[known]  # (pairs,)
    if len(gains) < LEAST_PAIRS:
        raise InvalidRequest(
            f"{len(gains)} logged requests were answered by both lanes and scored; {LEAST_PAIRS} are needed to find a cut for a quality:"
            " `tandem router collect` makes such rows, or set `target_slow_share`",
            param="target_quality",
        )
    whole = float(gains.sum())
    low = mean_of(list((gains + 1) / 2)).low  # gains are -1..1
    if low is None or low <= 0.5:
        found = f"on {len(gains)} requests answered by both lanes the slow lane is not measurably better ({whole / len(gains):+.3f} in the mean)"
        raise InvalidRequest(f"{found}: there is no gain to keep", param="target_quality")
    with np.errstate(invalid="ignore"):  # a probability of 1 beside a cut of 1
        log_odds = _log_odds(scored.p_slow[known]) - _log_odds(scored.cut[known])
    # Below, between and above all rows: the gain kept changes nowhere else.
    ordered = np.unique(log_odds[np.abs(log_odds) < FARTHEST])
    shifts = np.concatenate([[-FARTHEST], (ordered[1:] + ordered[:-1]) / 2, [FARTHEST]])
    for shift in shifts[::-1]:
        if float(gains[scored.is_slow(float(shift))[known]].sum()) >= target * whole:
            return float(shift)
    why = 'rules, "continue" or a class that never goes slow keep requests fast'
    raise InvalidRequest(f"no cut keeps {target:.0%} of the slow lane's gain: {why}", param="target_quality")


def _first(holds: Callable[[float], bool]) -> float:
    """The smallest shift from which on a condition holds, if it holds from some shift on."""
    low, high = -FARTHEST, FARTHEST
    for _ in range(50):  # 40 log-odds halved 50 times: 4e-14
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _wait_s(scored: _Scored, target: float, times: JobTimes) -> float:
    """Projected wait once the target is reached, with jobs in proportion."""
    if not scored.logged_slow:
        return 0.0
    per_s = times.jobs / (times.hours * 3_600) * target * scored.auto / scored.logged_slow
    return mean_wait_s(per_s, times.mean_run_s, times.workers)


def _shifted(document: RoutingPolicy, shift: float) -> RoutingPolicy:
    classes = [ClassBands(language=each.language, intent=each.intent, **_moved_bands(each, shift).model_dump()) for each in document.classes]
    return document.model_copy(update={"bands": _moved_bands(document.bands, shift), "classes": classes})


def _moved_bands(bands: Bands, shift: float) -> Bands:
    cuts = _moved(np.array([bands.check_at, bands.slow_at]), shift)
    return Bands(check_at=round(float(cuts[0]), 6), slow_at=round(float(cuts[1]), 6))


def _movable(bands: Bands) -> Bands:
    """Cuts at 0 and 1 have no log-odds to move; those of all requests are put just beside, those of a class mean always or never and stay."""
    return Bands(check_at=min(max(bands.check_at, 1e-6), 1 - 1e-6), slow_at=min(max(bands.slow_at, 1e-6), 1 - 1e-6))


def _moved(cuts: Floats, shift: float) -> Floats:
    return 1 / (1 + np.exp(-(_log_odds(cuts) + shift)))


def _log_odds(values: Floats) -> Floats:
    with np.errstate(divide="ignore"):  # 0 and 1 are infinitely far
        return np.log(values) - np.log1p(-values)
