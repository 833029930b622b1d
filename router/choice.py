"""Who decides a lane: the one place that reads a policy's cuts and rules. Pure; the same for a live request and for one of the log.

The order: the caller's lane or model, the kill switch, a conversation too long for the fast model, words in the text, the caller's effort, the fixed
rules, "continue", then the score: bands of its class, the price of waiting, hysteresis, the cap, and a draw.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tandem.schemas.policies import Bands, FixedRule, RoutingPolicy
from tandem.schemas.routing import Arm, Band, Effort, Intent, Lane, Language, OverrideSource, Signs

EXPLORED_WIDTH: Final = 0.15
"""A lane is only drawn this near to a cut, where the score knows least and a wrong lane costs least."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A version of what operators tune; immutable, replaced as a whole."""

    version: str
    document: RoutingPolicy
    classes: Mapping[tuple[Language | None, Intent | None], Bands] = field(compare=False, repr=False)
    """The document's classes by what they are for."""

    @classmethod
    def of(cls, version: str, document: RoutingPolicy) -> "Policy":
        """A document, made ready to be asked."""
        return cls(version, document, {(each.language, each.intent): each for each in document.classes})

    def bands_of(self, language: Language, intent: Intent | None) -> Bands:
        """The most specific: of the intent in this language, of the intent, of the language, of all requests."""
        if not self.classes:
            return self.document.bands
        wanted: list[tuple[Language | None, Intent | None]] = [(language, None)]
        if intent is not None:
            wanted = [(language, intent), (None, intent), (language, None)]
        return next((self.classes[each] for each in wanted if each in self.classes), self.document.bands)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision depends on beside the request and the policy."""

    tenant: str = "default"
    slow_share: float | None = None
    """Of the newest ``auto`` requests of this gateway; None while there are too few to say."""
    queue_wait_s: float = 0.0
    """Projected wait of a new job for a worker."""
    fits_fast: bool = True
    """The conversation fits into the fast model's context."""
    draw: float = 1.0
    """Uniform in 0..1, new for each request; below half of ``explore`` draws the slow lane, below ``explore`` the fast one."""
    kill: Literal["all_fast", "rules"] | None = None
    arm: Arm = "stable"


CALM: Final = Situation()
"""Nothing out of the ordinary, and nothing drawn."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a policy reads of a request."""

    p_slow: float
    language: Language
    intent: Intent | None
    signs: Signs
    chars: int
    text: str | None
    """The message; None where the log does not keep it, and then no rule about its words holds."""
    named: tuple[Lane, OverrideSource] | None = None
    """The lane that the caller's ``lane`` or ``model`` names."""
    words: Lane | None = None
    """The lane that words in the text ask for."""
    wants_effort: bool = False
    """The caller asks for an effort of high or max."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A lane, with who chose it."""

    band: Band
    override: OverrideSource | None
    check_at: float
    slow_at: float
    effort: Effort | None = None
    """What a fixed rule says of it."""
    propensity: float | None = None

    @property
    def lane(self) -> Lane:
        return "slow" if self.band == "slow" else "fast"


def choose(ask: Ask, policy: Policy, situation: Situation) -> Choice:
    """The lane of a request, and the cuts that hold for it whoever chose."""
    bands = policy.bands_of(ask.language, ask.intent)
    slow_at = min(bands.slow_at + policy.document.wait_cost_per_min * situation.queue_wait_s / 60, 1.0)
    given = without_score(ask, policy, situation)
    if given is not None:
        lane, source, effort = given
        return Choice(lane, source, bands.check_at, slow_at, effort)
    band, source = _by_score(ask, policy.document, bands.check_at, slow_at, situation)
    drawn, propensity = _drawn(ask.p_slow, band, policy.document, bands.check_at, slow_at, situation)
    return Choice(drawn, source if drawn == band else "explore", bands.check_at, slow_at, None, propensity)


def without_score(ask: Ask, policy: Policy, situation: Situation) -> tuple[Lane, OverrideSource, Effort | None] | None:
    """The lane that is settled whatever the score, who settled it, and the effort if a rule says one."""
    document = policy.document
    killed = situation.kill or (document.mode if document.mode != "score" else None)
    if ask.named is not None:
        return (*ask.named, None)
    if killed is not None:
        rule = matching_rule(ask, document, situation.tenant) if killed == "rules" else None
        return (rule.lane, "rule", rule.effort) if rule is not None else ("fast", "kill_switch", None)
    if not situation.fits_fast:
        return ("slow", "context", None)
    if ask.words is not None and document.obeys_text:
        return (ask.words, "text", None)
    if ask.wants_effort and document.obeys_effort:
        return ("slow", "effort", None)
    rule = matching_rule(ask, document, situation.tenant)
    if rule is not None:
        return (rule.lane, "rule", rule.effort)
    if document.inherits_lane and ask.signs.is_continuation and ask.signs.previous_lane is not None:
        return (ask.signs.previous_lane, "sticky", None)
    return None


def matching_rule(ask: Ask, document: RoutingPolicy, tenant: str) -> FixedRule | None:
    """The first rule whose conditions all hold."""
    return next((rule for rule in document.rules if _matches(rule, ask, tenant)), None)


def _matches(rule: FixedRule, ask: Ask, tenant: str) -> bool:
    return (
        (rule.tenant is None or rule.tenant == tenant)
        and (rule.language is None or rule.language == ask.language)
        and (rule.intent is None or rule.intent == ask.intent)
        and (rule.min_chars is None or ask.chars >= rule.min_chars)
        and (rule.contains is None or (ask.text is not None and rule.contains.casefold() in ask.text.casefold()))
    )


def _by_score(ask: Ask, document: RoutingPolicy, check_at: float, slow_at: float, situation: Situation) -> tuple[Band, OverrideSource | None]:
    """The score's band, which hysteresis may hold to the lane before and the cap may take out of the slow lane."""
    p_slow = ask.p_slow
    source: OverrideSource | None = None
    # What does not go slow although its score is above the cut, is checked: the answer is tested instead.
    below: Band = "check" if p_slow >= check_at else "fast"
    is_slow = p_slow >= slow_at
    if _is_held(ask, document.hysteresis, slow_at, is_slow=is_slow):
        is_slow, source = not is_slow, "hysteresis"
    if is_slow and document.slow_share_cap is not None and situation.slow_share is not None and situation.slow_share >= document.slow_share_cap:
        return below, "cap"
    return ("slow" if is_slow else below), source


def _is_held(ask: Ask, hysteresis: float, slow_at: float, *, is_slow: bool) -> bool:
    """Whether the conversation stays in its lane. At most half of the way to 0 or 1 is asked for, so that every cut can be crossed."""
    before = ask.signs.previous_lane
    if before is None or (before == "slow") == is_slow:
        return False
    if is_slow:
        return ask.p_slow - slow_at < min(hysteresis, (1.0 - slow_at) / 2)
    return slow_at - ask.p_slow < min(hysteresis, slow_at / 2)


def _drawn(p_slow: float, band: Band, document: RoutingPolicy, check_at: float, slow_at: float, situation: Situation) -> tuple[Band, float | None]:
    """The band after the draw, and P(its lane) where one was made. A request drawn out of the slow lane is checked."""
    explore = document.explore
    is_capped = document.slow_share_cap is not None and situation.slow_share is not None and situation.slow_share >= document.slow_share_cap
    if explore == 0.0 or is_capped or min(abs(p_slow - check_at), abs(p_slow - slow_at)) > EXPLORED_WIDTH:
        return band, None
    lane_before = band == "slow"
    is_slow = lane_before if situation.draw >= explore else situation.draw < explore / 2
    propensity = 1.0 - explore / 2 if is_slow == lane_before else explore / 2
    if is_slow == lane_before:
        return band, propensity
    return ("slow" if is_slow else "check"), propensity
