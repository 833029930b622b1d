"""How good the answers of a policy would be, where the log can say: and where it cannot, why not.

Three sources, the best that has enough rows is taken: requests that both lanes answered and that were scored; exploration, whose drawn lanes let the
complaints of a policy be estimated that never ran; labels that people approved. A checked answer counts as the fast lane's, as it first was.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from router.choice import Choice
from router.estimates import mean_of, share_of, weighted_mean
from router.redecision import Traffic, is_auto
from tandem.ids import DecisionId
from tandem.ports import LoggedDecision
from tandem.schemas.outcomes import Outcome, OutcomeKind
from tandem.schemas.policies import Estimate
from tandem.schemas.routing import Lane

Outcomes: TypeAlias = Mapping[DecisionId, Sequence[Outcome]]

LEAST_ROWS: Final = 30
"""Fewer scored pairs or labels give no figure: their interval would be wider than 35 points."""
LEAST_DRAWN: Final = 10
"""Drawn requests among those whose lane changes: with fewer, one complaint moves the estimate by more than a tenth of the change."""
UNEXPLORED: Final = 0.02
"""Share of requests that may change their lane where nothing was ever drawn; beyond it the estimate would leave out too much of what changes."""
COMPLAINTS: Final = frozenset[OutcomeKind]({"thumbs_down", "wrong_route", "reask", "escalated"})


def quality_of(traffic: Traffic, choices: Sequence[Choice], outcomes: Outcomes) -> tuple[Estimate, str]:
    """The quality and what it stands on, for ``choices`` made without draws."""
    reasons: list[str] = []
    for judged in (_of_pairs, _of_exploration, _of_labels):
        estimate, words = judged(traffic, choices, outcomes)
        if estimate is not None:
            return estimate, words
        reasons.append(words)
    return Estimate(value=None, n=0), f"unknown: {'; '.join(reasons)}"


def scores_of(found: Sequence[Outcome]) -> tuple[float, float] | None:
    """What the fast and the slow lane's answers to a request scored, if both are known and nobody rejected it."""
    for outcome in found:
        if outcome.kind == "answer_scored" and outcome.status != "rejected" and outcome.fast_score is not None and outcome.slow_score is not None:
            return outcome.fast_score, outcome.slow_score
    return None


def wanted_lane(found: Sequence[Outcome]) -> Lane | None:
    """The lane that an approved label asks for."""
    return next((outcome.wanted_lane for outcome in found if outcome.status == "approved" and outcome.wanted_lane is not None), None)


def _of_pairs(traffic: Traffic, choices: Sequence[Choice], outcomes: Outcomes) -> tuple[Estimate | None, str]:
    rows = [
        (scores, choice.lane == "slow")
        for logged, choice in zip(traffic.logged, choices, strict=True)
        if is_auto(choice) and (scores := scores_of(outcomes.get(logged.id, ()))) is not None
    ]
    if len(rows) < LEAST_ROWS:
        return None, f"{len(rows)} requests were answered by both lanes and scored, {LEAST_ROWS} are needed"
    fast, slow = (sum(scores[lane] for scores, _ in rows) / len(rows) for lane in (0, 1))
    words = f"mean score of {len(rows)} requests that both lanes answered; all of them fast would have {fast:.3f}, all slow {slow:.3f}"
    return mean_of([scores[is_slow] for scores, is_slow in rows]), words


def _of_exploration(traffic: Traffic, choices: Sequence[Choice], outcomes: Outcomes) -> tuple[Estimate | None, str]:
    """Self-normalised inverse propensity scoring of P(no complaint), over all requests that the caller left open."""
    rows = [(logged, choice) for logged, choice in zip(traffic.logged, choices, strict=True) if is_auto(choice)]
    if not any(outcome.kind in COMPLAINTS or outcome.kind == "thumbs_up" for logged, _ in rows for outcome in outcomes.get(logged.id, ())):
        return None, "no request has feedback"
    changed = [logged for logged, choice in rows if choice.lane != _undrawn(logged)]
    drawn = sum(logged.decision.override == "explore" for logged in changed)
    unexplored = sum(logged.decision.propensity is None for logged in changed)
    if unexplored > UNEXPLORED * len(rows):
        return None, f"{unexplored} of {len(rows)} requests would change their lane where none was ever drawn (`explore`)"
    if changed and drawn < LEAST_DRAWN:
        return None, f"the exploration log holds {drawn} drawn requests among the {len(changed)} whose lane changes, {LEAST_DRAWN} are needed"
    rewards = np.array([float(not _has_complaint(outcomes.get(logged.id, ()))) for logged, _ in rows])
    weights = np.array([_weight(logged, choice) for logged, choice in rows])
    estimate, effective = weighted_mean(rewards, weights)
    basis = f"share of requests without a complaint (thumbs down, wrong route, re-ask, escalation) over {len(rows)} requests"
    return estimate, f"{basis}, {drawn} of them drawn where the lane changes (SNIPS, effective n {effective:.0f})"


def _of_labels(traffic: Traffic, choices: Sequence[Choice], outcomes: Outcomes) -> tuple[Estimate | None, str]:
    wanted = [
        (lane, choice.lane)
        for logged, choice in zip(traffic.logged, choices, strict=True)
        if is_auto(choice) and (lane := wanted_lane(outcomes.get(logged.id, ()))) is not None
    ]
    if len(wanted) < LEAST_ROWS:
        return None, f"{len(wanted)} requests have an approved label, {LEAST_ROWS} are needed"
    words = f"share of {len(wanted)} approved labels whose lane the policy chooses; people label what went wrong, so this is no share of all answers"
    return share_of(sum(lane == chosen for lane, chosen in wanted), len(wanted)), words


def _undrawn(logged: LoggedDecision) -> Lane:
    """The lane that the logged policy had without its draw."""
    lane = logged.decision.lane
    if logged.decision.override != "explore":
        return lane
    return "fast" if lane == "slow" else "slow"


def _weight(logged: LoggedDecision, choice: Choice) -> float:
    if logged.decision.lane != choice.lane:
        return 0.0
    return 1.0 / (logged.decision.propensity or 1.0)


def _has_complaint(found: Sequence[Outcome]) -> bool:
    return any(outcome.kind in COMPLAINTS and outcome.status != "rejected" for outcome in found)
