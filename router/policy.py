"""The routing decision: pure, from turns, a classifier's score and a policy. Knows nothing of HTTP, storage or files.

Order of who decides: the caller's lane, words in the text, the caller's effort, then the score against the threshold.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from router.effort import effort_for
from router.overrides import lane_in_words
from router.text import Text, read_text
from tandem.errors import SettingsInvalid
from tandem.ports import Classifier, Turns
from tandem.schemas.routing import Decision, Effort, Lane, OverrideSource, Reason
from tandem.settings import RouterSettings

_SLOW_EFFORTS: Final = frozenset[Effort]({"high", "max"})


@dataclass(frozen=True, slots=True)
class Policy:
    """What operators tune; immutable, replaced as a whole."""

    threshold: float
    """P(needs the slow lane) at or above it goes slow, 0..1."""
    version: str

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise SettingsInvalid(f"router.threshold must be between 0 and 1, got {self.threshold!r}.")


def default_policy(settings: RouterSettings) -> Policy:
    """The policy of the settings; its version names the threshold."""
    return Policy(threshold=settings.threshold, version=f"settings-{settings.threshold:g}")


def decide(turns: Turns, classifier: Classifier, policy: Policy, *, timer_ns: Callable[[], int] = time.thread_time_ns) -> Decision:
    """Choose the lane and the effort. Equal arguments give equal decisions except for ``latency_us``, read from ``timer_ns``."""
    started_ns = timer_ns()
    text = read_text(turns.text)
    score = classifier.score(turns)
    forced = _forced(turns, text)
    lane: Lane = forced[0] if forced else _by_score(score.p_slow, policy)
    return Decision(
        lane=lane,
        band=lane,
        effort=_effort(turns, text, lane, forced, score.p_slow),
        p_slow=score.p_slow,
        check_at=policy.threshold,
        threshold=policy.threshold,
        margin=score.p_slow - policy.threshold,
        policy_version=policy.version,
        model_version=classifier.version,
        override=forced[1] if forced else None,
        reasons=[Reason(feature=name, weight=weight) for name, weight in score.contributions],
        language=text.language,
        latency_us=max(timer_ns() - started_ns, 0) / 1_000,
    )


def _forced(turns: Turns, text: Text) -> tuple[Lane, OverrideSource] | None:
    """Who forces the lane, if anybody does."""
    if turns.choice != "auto":
        return turns.choice, "lane"
    spoken = lane_in_words(text)
    if spoken is not None:
        return spoken, "text"
    if turns.effort in _SLOW_EFFORTS:
        return "slow", "effort"
    return None


def _by_score(p_slow: float, policy: Policy) -> Lane:
    return "slow" if p_slow >= policy.threshold else "fast"


def _effort(turns: Turns, text: Text, lane: Lane, forced: tuple[Lane, OverrideSource] | None, p_slow: float) -> Effort:
    """What the caller asks for, else low for the fast lane; a user who says "think hard" gets high."""
    if turns.effort is not None:
        return turns.effort
    if lane == "fast":
        return "low"
    if forced == ("slow", "text"):
        return "high"
    return effort_for(text, p_slow)
