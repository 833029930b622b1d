"""A routing decision: which mind a request deserves, how sure the router is, and why."""

from typing import Literal

from pydantic import Field

from tandem.schemas.base import Wire
from tandem.schemas.text import CleanText

Lane = Literal["fast", "slow"]
LaneChoice = Literal["auto", "fast", "slow"]
"""What a caller may ask for; ``auto`` lets the router decide."""
Effort = Literal["low", "medium", "high", "max"]
OverrideSource = Literal["model", "lane", "text", "effort", "policy"]
"""Who forced the lane: the ``model`` or ``lane`` field, words in the text (``/deep``), an explicit effort, or the policy."""


class Reason(Wire):
    """One contribution to the score."""

    feature: str
    weight: float
    """Contribution in log-odds of the slow lane; positive pushes to slow."""


class Decision(Wire):
    """The router's answer for one request. Pure function of request, conversation and policy; ``id`` is given when it is logged."""

    lane: Lane
    effort: Effort
    p_slow: float = Field(ge=0.0, le=1.0)
    """P(the request needs the slow lane), calibrated."""
    threshold: float = Field(ge=0.0, le=1.0)
    """``p_slow`` at or above it goes slow."""
    margin: float
    """``p_slow - threshold``, -1..1."""
    policy_version: str
    model_version: str
    """Version of the scoring artefact."""
    override: OverrideSource | None = None
    reasons: list[Reason] = Field(default_factory=list[Reason])
    """Largest contributions first, at most five."""
    language: Literal["en", "zh", "other"] = "other"
    latency_us: float = Field(default=0.0, ge=0.0)
    """CPU time of the decision in microseconds."""


class DecideRequest(Wire):
    """Body of ``POST /v1/router/decide``: a dry run, answered with a ``Decision``; nothing is started."""

    text: CleanText = Field(min_length=1)
    """The newest human message."""
    history: list[CleanText] = Field(default_factory=list[str], max_length=100)
    """Earlier human messages, oldest first."""
    lane: LaneChoice = "auto"
    effort: Effort | None = None
