"""A routing decision: which mind a request deserves, how sure the router is, and why."""

from typing import Final, Literal

from pydantic import Field

from tandem.schemas.base import Wire
from tandem.schemas.text import CleanText

Lane = Literal["fast", "slow"]
LaneChoice = Literal["auto", "fast", "slow"]
"""What a caller may ask for; ``auto`` lets the router decide."""
Band = Literal["fast", "check", "slow"]
"""``check`` answers from the fast lane and tests that answer; what fails the test goes on as a slow job."""
Effort = Literal["low", "medium", "high", "max"]
Language = Literal["en", "zh", "other"]
Intent = Literal["chat", "question", "writing", "math", "code", "planning", "research", "tools"]
"""What kind of ask it is: small talk and assistant commands, a question of fact, text to write or change, something to calculate or prove,
a program, a plan or comparison, a research brief, a task of several tool calls."""
ScoringBackend = Literal["linear", "readout", "decision_model"]
"""The embedded linear model; the fast model's logprobs read out; a decision model behind ``/v1/systemone`` or ``/v1/decisions``."""
OverrideSource = Literal["model", "lane", "text", "effort", "rule", "kill_switch", "context", "sticky", "hysteresis", "cap", "explore"]
"""Who decided in place of the score. The caller: the ``model`` or ``lane`` field, words in the text (``/deep``, "think hard"), an explicit effort.
The policy: one of its fixed rules, its kill switch, a conversation too long for the fast model (``context``), a "continue" that inherits its lane
(``sticky``), a margin too small to change the lane (``hysteresis``), the cap on the slow share (``cap``), or a draw (``explore``)."""
CALLER_SOURCES: Final = frozenset[OverrideSource]({"model", "lane", "text", "effort"})
"""The caller's own word: such requests are not ``auto``."""
Arm = Literal["stable", "candidate"]
"""Which policy of a staged rollout decided."""


class Reason(Wire):
    """One contribution to the score."""

    feature: str
    weight: float
    """Contribution in log-odds of the slow lane; positive pushes to slow."""


class Signs(Wire):
    """What the conversation around a message tells."""

    turns: int = Field(default=0, ge=0)
    """Human messages before this one."""
    reask: float = Field(default=0.0, ge=0.0, le=1.0)
    """Likeness to one of the two human messages before it: 1 is the same again."""
    is_negative: bool = False
    """Says that the last answer was wrong or not enough."""
    is_continuation: bool = False
    """Asks to go on with what went before."""
    has_running_job: bool = False
    previous_lane: Lane | None = None


class ShadowDecision(Wire):
    """What the shadow policy would have done; it never acts."""

    policy_version: str
    lane: Lane
    band: Band


class Decision(Wire):
    """The router's answer for one request. Pure function of request, conversation, policy and situation; its id is given when it is logged."""

    lane: Lane
    band: Band
    effort: Effort
    p_slow: float = Field(ge=0.0, le=1.0)
    """P(the request needs the slow lane), calibrated."""
    p_fast_fails: float | None = Field(default=None, ge=0.0, le=1.0)
    """P(the fast lane's answer is not good enough); None from a backend that does not say."""
    p_slow_fixes: float | None = Field(default=None, ge=0.0, le=1.0)
    """P(the slow lane's answer is good | the fast one's is not)."""
    p_tools: float | None = Field(default=None, ge=0.0, le=1.0)
    """P(the task needs tools)."""
    intent: Intent | None = None
    check_at: float = Field(ge=0.0, le=1.0)
    """``p_slow`` at or above it is checked."""
    threshold: float = Field(ge=0.0, le=1.0)
    """``p_slow`` at or above it goes slow, as the policy's bands, its waiting cost and the queue set it for this request."""
    margin: float
    """``p_slow - threshold``, -1..1."""
    policy_version: str
    model_version: str
    """Version of the scoring artefact."""
    backend: ScoringBackend = "linear"
    """Who gave ``p_slow``."""
    override: OverrideSource | None = None
    arm: Arm = "stable"
    propensity: float | None = Field(default=None, gt=0.0, le=1.0)
    """P(this lane | this request) under the policy with its exploration; None where nothing was drawn."""
    shadow: ShadowDecision | None = None
    reasons: list[Reason] = Field(default_factory=list[Reason])
    """Largest contributions first, at most five."""
    signs: Signs = Field(default_factory=Signs)
    language: Language = "other"
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
    previous_lane: Lane | None = None
    has_running_job: bool = False
    policy_version: str | None = Field(default=None, max_length=64)
    """A draft or an old version to ask instead of the active policy."""
