"""The staged rollout as pure functions: from the routing's state and an operator's or a guardrail's word to the state after it.

Knows nothing of storage or time: a store numbers and keeps what comes out. Arms nest: who is in a candidate's 5 % is also in its 25 %.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Final, Literal

from router.estimates import rise_at_least
from tandem.errors import Conflict
from tandem.ports import NewState
from tandem.schemas.policies import ROLLOUT_STAGES, Guardrails, Publish, Rollout, RoutingAction, RoutingChange, RoutingState, VersionStats
from tandem.schemas.routing import Arm

GuardrailName = Literal["slow_share", "negative", "escalation", "queue_age"]
Figures = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Breach:
    """A guardrail that a candidate broke."""

    guardrail: GuardrailName
    message: str
    figures: Figures
    """For the history's ``detail``."""


def arm_of(state: RoutingState, key: str) -> Arm:
    """Which policy decides for this conversation; the same as long as the candidate is the same."""
    if state.candidate is None:
        return "stable"
    digest = blake2b(f"{state.candidate.version}:{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return "candidate" if int.from_bytes(digest) * 100 < state.candidate.percent << 64 else "stable"


def begin(state: RoutingState, version: str, publish: Publish, actor: str) -> NewState:
    """Publish: at 100 % at once, below it as a candidate. Publishing the candidate again moves it to another percentage.

    Raises:
        Conflict: It is active already, or another candidate is under way.
    """
    if version == state.active:
        raise Conflict(f"policy {version!r} is active already")
    if state.candidate is not None and state.candidate.version != version:
        under_way = f"{state.candidate.version!r} is being rolled out ({state.candidate.percent} %)"
        raise Conflict(f"{under_way}; complete it or roll it back before publishing {version!r}")
    if publish.percent == 100:
        return _completed(state, version, actor, "complete" if state.candidate is not None else "publish")
    return _at_stage(state, version, publish.percent, publish.guardrails, publish.stage_s, actor, "publish")


def advance(state: RoutingState, actor: str) -> NewState:
    """The candidate's next stage; after the last one it is the active policy.

    Raises:
        Conflict: No candidate is under way.
    """
    candidate = _candidate(state)
    following = next(percent for percent in ROLLOUT_STAGES if percent > candidate.percent)
    if following == 100:
        return _completed(state, candidate.version, actor, "complete")
    return _at_stage(state, candidate.version, following, candidate.guardrails, candidate.stage_s, actor, "advance")


def roll_back(
    state: RoutingState, to: str | None, actor: str, reason: str, *, is_automatic: bool = False, figures: Figures | None = None
) -> NewState:
    """Withdraw the candidate if there is one, else the active policy in favour of ``to`` (None: the policy of the settings).

    ``to`` counts only without a candidate, or when it is another version than the active one: then both are withdrawn.

    Raises:
        Conflict: There is nothing to withdraw.
    """
    withdraws_active = state.candidate is None or (to is not None and to != state.active)
    if state.candidate is None and to == state.active:
        raise Conflict(f"nothing to roll back: {state.active or 'the policy of the settings'!r} decides already and no candidate is under way")
    active = to if withdraws_active else state.active
    withdrawn = state.candidate.version if state.candidate is not None else state.active
    action: RoutingAction = "auto_roll_back" if is_automatic else "roll_back"
    detail = {"reason": reason, "from": state.active, "to": active, **(figures or {})}
    return NewState(
        active, None, is_new_stage=False, shadow=state.shadow, kill=state.kill, action=action, version=withdrawn, actor=actor, detail=detail
    )


def set_shadow(state: RoutingState, version: str | None, actor: str) -> NewState:
    """Let a version decide without acting, or none.

    Raises:
        Conflict: It decides already.
    """
    if version is not None and version == state.active:
        raise Conflict(f"policy {version!r} is active: what it does needs no shadow")
    return _changed(state, "shadow", version, actor, shadow=version, kill=state.kill, detail={"before": state.shadow})


def set_kill(state: RoutingState, kill: Literal["all_fast", "rules"] | None, actor: str, reason: str = "") -> NewState:
    """Throw or release the kill switch. The policies stay, and decide again after the release."""
    action: RoutingAction = "unkill" if kill is None else "kill"
    return _changed(state, action, state.active, actor, shadow=state.shadow, kill=kill, detail={"kill": kill, "before": state.kill, "reason": reason})


def previous_active(history: Sequence[RoutingChange]) -> str | None:
    """What was active before the policy that is active now, from the whole history, newest first. None: the policy of the settings.

    A policy that was rolled back is not gone back to.
    """
    stack: list[str | None] = [None]
    for change in reversed(history):
        active = change.detail.get("to")
        if "to" not in change.detail or active == stack[-1] or not (active is None or isinstance(active, str)):
            continue
        if change.action in {"roll_back", "auto_roll_back"}:
            stack = stack[: _last(stack, active) + 1] if active in stack else [active]
        else:
            stack.append(active)
    return stack[-2] if len(stack) > 1 else None


def is_stage_over(rollout: Rollout, now: datetime, candidate: VersionStats | None = None) -> bool:
    """Whether a stage that nothing speaks against moves on by itself. With its figures: only after as many decisions as the guardrails need."""
    if rollout.stage_s is None or (now - rollout.since).total_seconds() < rollout.stage_s:
        return False
    return candidate is None or candidate.decisions >= rollout.guardrails.min_decisions


def judge(guardrails: Guardrails, stable: VersionStats, candidate: VersionStats, oldest_queued_s: float) -> list[Breach]:
    """The guardrails that a candidate breaks; nothing before it has made ``min_decisions``.

    A rate breaks one when its rise over the stable policy's is above the limit *and* chance alone does not explain it (``ALPHA``): a guardrail is
    looked at again and again, and a few unlucky requests must not end a rollout. The queue's age counts as it is.
    """
    if candidate.decisions < guardrails.min_decisions:
        return []
    rates: tuple[tuple[GuardrailName, str, float, tuple[int, int], tuple[int, int]], ...] = (
        ("slow_share", "slow share", guardrails.max_slow_share_rise, (stable.slow, stable.auto), (candidate.slow, candidate.auto)),
        ("negative", "rate of thumbs down, wrong routes and re-asks", guardrails.max_negative_rise, _negative(stable), _negative(candidate)),
        ("escalation", "rate of escalations", guardrails.max_escalation_rise, _escalated(stable), _escalated(candidate)),
    )
    found = [_risen(*rate) for rate in rates]
    breaches = [each for each in found if each is not None]
    if oldest_queued_s > guardrails.max_queue_age_s:
        message = f"the oldest queued job waits {oldest_queued_s:.0f} s, above {guardrails.max_queue_age_s:g} s"
        breaches.append(
            Breach("queue_age", message, {"guardrail": "queue_age", "oldest_queued_s": oldest_queued_s, "limit": guardrails.max_queue_age_s})
        )
    return breaches


ALPHA: Final = 0.005
"""P(a rate is taken for risen | its true rise is just the limit), at each look. A candidate that is no worse is far from its limit: of 300 simulated
ones, looked at 200 times in 1,000 decisions, none was rolled back (slow share .20, negatives .03), while a slow share of .50 was found after 50
decisions in the median and 100 at the 95th percentile, and negatives of .20 after 50 and 115."""


def _risen(guardrail: GuardrailName, words: str, limit: float, stable: tuple[int, int], candidate: tuple[int, int]) -> Breach | None:
    before, after = (count / total if total else 0.0 for count, total in (stable, candidate))
    if not stable[1] or after - before <= limit or not rise_at_least(stable, candidate, limit, ALPHA):
        return None
    message = (
        f"the {words} is {after:.1%} of {candidate[1]} against {before:.1%} of {stable[1]} under the stable policy: more than {limit:.1%} above it"
    )
    figures = {"guardrail": guardrail, "stable": before, "stable_n": stable[1], "candidate": after, "candidate_n": candidate[1], "limit": limit}
    return Breach(guardrail, message, figures)


def _negative(stats: VersionStats) -> tuple[int, int]:
    return min(stats.thumbs_down + stats.wrong_route + stats.reasks, stats.decisions), stats.decisions


def _escalated(stats: VersionStats) -> tuple[int, int]:
    return min(stats.escalations, stats.decisions), stats.decisions


def _candidate(state: RoutingState) -> Rollout:
    if state.candidate is None:
        raise Conflict("no rollout is under way; publish a draft with a percentage below 100 to begin one")
    return state.candidate


def _completed(state: RoutingState, version: str, actor: str, action: RoutingAction) -> NewState:
    shadow = None if state.shadow == version else state.shadow
    detail = {"percent": 100, "from": state.active, "to": version}
    return NewState(version, None, is_new_stage=False, shadow=shadow, kill=state.kill, action=action, version=version, actor=actor, detail=detail)


def _at_stage(
    state: RoutingState, version: str, percent: int, guardrails: Guardrails, stage_s: float | None, actor: str, action: RoutingAction
) -> NewState:
    rollout = {"version": version, "percent": percent, "guardrails": guardrails.model_dump(mode="json"), "stage_s": stage_s}
    return NewState(
        active=state.active,
        candidate_json=json.dumps(rollout),
        is_new_stage=True,
        shadow=None if state.shadow == version else state.shadow,
        kill=state.kill,
        action=action,
        version=version,
        actor=actor,
        detail={"percent": percent, "before": state.candidate.percent if state.candidate is not None else 0},
    )


def _changed(
    state: RoutingState,
    action: RoutingAction,
    version: str | None,
    actor: str,
    *,
    shadow: str | None,
    kill: Literal["all_fast", "rules"] | None,
    detail: Figures,
) -> NewState:
    """Another shadow or kill switch; a rollout under way goes on, its stage no younger."""
    kept = state.candidate.model_dump_json(exclude={"since"}) if state.candidate is not None else None
    return NewState(state.active, kept, is_new_stage=False, shadow=shadow, kill=kill, action=action, version=version, actor=actor, detail=detail)


def _last(stack: Sequence[str | None], version: str | None) -> int:
    """Place of the last entry that is this version."""
    return len(stack) - 1 - list(reversed(stack)).index(version)
