"""The routing decision: pure, from turns, a classifier's score, a policy and the situation. Knows nothing of HTTP, storage or files.

Who decides, and in which order, is in ``router/choice.py``.
"""

import time
from collections.abc import Callable
from typing import Final

from router.choice import CALM, Ask, Choice, Policy, Situation, choose, without_score
from router.conversation import signs_of
from router.effort import effort_for
from router.overrides import lane_in_words
from router.text import Text, read_text
from tandem.ports import Classifier, Score, Turns
from tandem.schemas.policies import Bands, ClassBands, RoutingPolicy
from tandem.schemas.routing import CALLER_SOURCES, Decision, Effort, Reason, ScoringBackend
from tandem.settings import RouterSettings

SETTINGS_VERSION: Final = "settings"
"""Version of the policy that decides before anything is published."""
_SLOW_EFFORTS: Final = frozenset[Effort]({"high", "max"})


RESEARCH_SHARE: Final = 0.4
"""Of the other cuts. A brief answered at once is worth nothing, and of 5,647 fast rows of the training sources it sends 3."""


def default_policy(settings: RouterSettings) -> Policy:
    """The policy of the settings; a ``check_at`` above the threshold leaves no check band. What reads like a research brief goes slow sooner."""
    bands = Bands(check_at=min(settings.check_at, settings.threshold), slow_at=settings.threshold)
    research = ClassBands(intent="research", check_at=RESEARCH_SHARE * bands.check_at, slow_at=RESEARCH_SHARE * bands.slow_at)
    return Policy.of(SETTINGS_VERSION, RoutingPolicy(bands=bands, classes=[research]))


def decide(
    turns: Turns,
    classifier: Classifier,
    policy: Policy,
    situation: Situation = CALM,
    *,
    score: Score | None = None,
    backend: ScoringBackend = "linear",
    model_version: str | None = None,
    timer_ns: Callable[[], int] = time.thread_time_ns,
) -> Decision:
    """Choose the lane and the effort. Equal arguments give equal decisions except for ``latency_us``, read from ``timer_ns``.

    A ``score`` of another ``backend`` that was asked stands in place of the classifier's; ``model_version`` is then that backend's.
    """
    started_ns = timer_ns()
    text = read_text(turns.text)
    scored = score if score is not None else classifier.score(turns)
    ask = _ask(turns, text, scored)
    choice = choose(ask, policy, situation)
    return Decision(
        lane=choice.lane,
        band=choice.band,
        effort=_effort(turns, text, choice, scored),
        p_slow=scored.p_slow,
        p_fast_fails=scored.p_fast_fails,
        p_slow_fixes=scored.p_slow_fixes,
        p_tools=scored.p_tools,
        intent=scored.intent,
        check_at=choice.check_at,
        threshold=choice.slow_at,
        margin=scored.p_slow - choice.slow_at,
        policy_version=policy.version,
        model_version=model_version if model_version is not None else classifier.version,
        backend=backend,
        override=choice.override,
        arm=situation.arm,
        propensity=choice.propensity,
        reasons=[Reason(feature=name, weight=weight) for name, weight in scored.contributions],
        signs=ask.signs,
        language=text.language,
        latency_us=max(timer_ns() - started_ns, 0) / 1_000,
    )


def must_ask(turns: Turns, score: Score, policy: Policy, situation: Situation = CALM) -> bool:
    """Whether the policy's backend is to be asked: it is not the linear one, which is unsure, and its word could change the lane."""
    document = policy.document
    if document.backend == "linear" or not document.ask_between.check_at <= score.p_slow < document.ask_between.slow_at:
        return False
    return without_score(_ask(turns, read_text(turns.text), score), policy, situation) is None


def _ask(turns: Turns, text: Text, score: Score) -> Ask:
    return Ask(
        p_slow=score.p_slow,
        language=text.language,
        intent=score.intent,
        signs=signs_of(turns),
        chars=text.chars,
        text=turns.text,
        named=(turns.choice, turns.chosen_by) if turns.choice != "auto" else None,
        words=lane_in_words(text),
        wants_effort=turns.effort in _SLOW_EFFORTS,
    )


def _effort(turns: Turns, text: Text, choice: Choice, score: Score) -> Effort:
    """What the caller asks for, else a rule's, else low for the fast lane; a user who says "think hard" gets high.

    What is checked gets medium: with that a doubtful answer is worked out anew.
    """
    if turns.effort is not None:
        return turns.effort
    if choice.effort is not None:
        return choice.effort
    if choice.lane == "fast":
        return "medium" if choice.band == "check" else "low"
    return "high" if choice.override == "text" else effort_for(text, score)


__all__ = ["CALLER_SOURCES", "CALM", "SETTINGS_VERSION", "Policy", "Situation", "decide", "default_policy", "must_ask"]
