"""A logged request decided again: from its probability, its signs and who forced it, mostly without its words, which few logs keep.

What the log cannot tell: conversations go on as they did (the lane before is the one that was), a backend is not asked again, and where prompts are
not kept, no rule about words matches and no words are heard that the logged policy did not obey.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from router.choice import CALM, Ask, Choice, Policy, Situation, choose
from router.effort import effort_for
from router.overrides import lane_in_words
from router.share import SlowShare
from router.text import read_text
from tandem.ports import LoggedDecision, Score
from tandem.schemas.routing import CALLER_SOURCES, Decision, Effort, Lane

_NAMED: Final = frozenset({"model", "lane"})


def redecide(logged: LoggedDecision, policy: Policy, situation: Situation = CALM) -> Decision:
    """What the policy would have made of a logged request. Its tenant, length and former draw are the log's, not the situation's."""
    choice = choose(ask_of(logged), policy, situation_of(logged, policy, situation))
    return logged.decision.model_copy(
        update={
            "lane": choice.lane,
            "band": choice.band,
            "effort": _effort(logged, choice),
            "check_at": choice.check_at,
            "threshold": choice.slow_at,
            "margin": logged.decision.p_slow - choice.slow_at,
            "policy_version": policy.version,
            "override": choice.override,
            "arm": situation.arm,
            "propensity": choice.propensity,
            "shadow": None,
        }
    )


def ask_of(logged: LoggedDecision) -> Ask:
    """What a policy reads of a logged request."""
    decision, words = logged.decision, None
    if decision.override == "text":
        words = decision.lane
    elif logged.text is not None:
        words = lane_in_words(read_text(logged.text))
    return Ask(
        p_slow=decision.p_slow,
        language=decision.language,
        intent=decision.intent,
        signs=decision.signs,
        chars=logged.text_chars,
        text=logged.text,
        named=(decision.lane, decision.override) if decision.override is not None and decision.override in _NAMED else None,
        words=words,
        wants_effort=_wanted_effort(decision),
    )


def situation_of(logged: LoggedDecision, policy: Policy, situation: Situation, slow_share: float | None = None) -> Situation:
    """The situation with what the log knows: a draw that fell once falls again alike, so that two replays differ by their policies only."""
    override = logged.decision.override
    draw = situation.draw
    if override == "explore":
        draw = 0.0 if logged.decision.lane == "slow" else 0.75 * policy.document.explore
    return Situation(  # spelled out: `dataclasses.replace` took a third of a replay's time
        tenant=logged.tenant,
        slow_share=situation.slow_share if slow_share is None else slow_share,
        queue_wait_s=situation.queue_wait_s,
        fits_fast=situation.fits_fast and override != "context",
        draw=draw,
        kill=situation.kill,
        arm=situation.arm,
    )


@dataclass(frozen=True, slots=True)
class Traffic:
    """A log made ready to be decided again and again."""

    logged: Sequence[LoggedDecision]
    """Oldest first."""
    asks: Sequence[Ask]

    @classmethod
    def of(cls, newest_first: Sequence[LoggedDecision]) -> "Traffic":
        logged = list(reversed(newest_first))
        return cls(logged, [ask_of(each) for each in logged])

    def choices(self, policy: Policy, situation: Situation = CALM) -> list[Choice]:
        """In the order of ``logged``. The cap is held against the slow share of this very replay."""
        share = SlowShare()
        found: list[Choice] = []
        for logged, ask in zip(self.logged, self.asks, strict=True):
            choice = choose(ask, policy, situation_of(logged, policy, situation, share.value))
            share.add(choice.lane, choice.override)
            found.append(choice)
        return found


def is_auto(choice: Choice) -> bool:
    """Whether the caller left the lane open."""
    return choice.override not in CALLER_SOURCES


def _wanted_effort(decision: Decision) -> bool:
    """Whether the caller asked for a high effort: the log says so of the override, and else only where no one else could have chosen it."""
    if decision.override == "effort":
        return True
    return decision.override != "rule" and (decision.effort == "max" or (decision.effort == "high" and decision.lane == "fast"))


def _effort(logged: LoggedDecision, choice: Choice) -> Effort:
    """As ``decide`` would set it, as far as the log can say."""
    decision = logged.decision
    lane: Lane = choice.lane
    if _wanted_effort(decision) or (choice.band == decision.band and choice.effort is None):
        return decision.effort
    if choice.effort is not None:
        return choice.effort
    if lane == "fast":
        return "medium" if choice.band == "check" else "low"
    if choice.override == "text":
        return "high"
    return effort_for(read_text(logged.text), Score(p_slow=decision.p_slow, contributions=())) if logged.text is not None else "medium"
