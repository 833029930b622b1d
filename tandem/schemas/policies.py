"""Routing policies: what operators tune, its immutable versions, how one is rolled out, and the evidence before and after."""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from tandem.schemas.base import Wire
from tandem.schemas.routing import Arm, Effort, Intent, Lane, Language, ScoringBackend
from tandem.schemas.text import CleanText

PolicyMode = Literal["score", "all_fast", "rules"]
"""``score`` is the normal one. The kill switches: everybody ``fast`` unless the caller says otherwise, or the fixed ``rules`` alone (else fast)."""
PolicyStatus = Literal["draft", "candidate", "active", "retired", "rolled_back"]
ROLLOUT_STAGES = (5, 25, 100)
"""Percent of the conversations a candidate decides, stage by stage."""


class Bands(Wire):
    """Two cuts of ``p_slow``: below ``check_at`` fast, from ``slow_at`` on slow, between them checked."""

    check_at: float = Field(ge=0.0, le=1.0)
    slow_at: float = Field(ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.check_at > self.slow_at:
            raise ValueError(f"check_at ({self.check_at:g}) is above slow_at ({self.slow_at:g}); lower it, or set both alike to have no check band")
        return self


class ClassBands(Bands):
    """Bands of the requests of one language, one intent, or one intent in one language."""

    language: Language | None = None
    intent: Intent | None = None

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.language is None and self.intent is None:
            raise ValueError("a class needs a language or an intent; the bands of all requests are the policy's own `bands`")
        return self


class FixedRule(Wire):
    """Sends matching requests to a lane whatever their score; all conditions that are set must hold. Judged in order, the first match wins."""

    name: CleanText = Field(min_length=1, max_length=60)
    lane: Lane
    effort: Effort | None = None
    tenant: CleanText | None = Field(default=None, max_length=64)
    language: Language | None = None
    intent: Intent | None = None
    contains: CleanText | None = Field(default=None, min_length=1, max_length=200)
    """Letters that the message holds, in any case."""
    min_chars: int | None = Field(default=None, ge=1)
    """Length of the whole message."""

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if not any((self.tenant, self.language, self.intent, self.contains, self.min_chars)):
            raise ValueError(f"rule {self.name!r} has no condition and would catch every request; add one, or use mode 'all_fast'")
        return self


class CheckRules(Wire):
    """When a fast answer of the check band is not good enough."""

    min_confidence: float = Field(default=0.7, ge=0.0, le=1.0)
    """Below this mean probability of its tokens, the least sure fifth counted double, an answer fails. Chosen on 118 answers of the default fast
    model, of which it fails a third of the wrong and a seventh of the right ones; a weak sign, and each model has its own scale."""
    second_draft: bool = False
    """Ask the fast model a second time and fail answers that disagree. Doubles the fast lane's work in this band."""
    max_pending: int = Field(default=4, ge=0, le=1_000)
    """Jobs that failed checks may have unfinished at once in one gateway; beyond it a failed check is only reported."""


class RoutingPolicy(Wire):
    """All that operators tune, replaced as a whole."""

    mode: PolicyMode = "score"
    bands: Bands = Field(default_factory=lambda: Bands(check_at=0.35, slow_at=0.5))
    classes: list[ClassBands] = Field(default_factory=list[ClassBands], max_length=40)
    """The most specific match wins: intent and language, then intent, then language."""
    wait_cost_per_min: float = Field(default=0.0, ge=0.0, le=1.0)
    """How much a minute of projected waiting raises ``slow_at``: the price of slowness (lambda) in units of P(slow)."""
    slow_share_cap: float | None = Field(default=0.4, gt=0.0, le=1.0)
    """Most of the newest routed requests that may go slow in one gateway; beyond it they are checked instead. None: no cap."""
    hysteresis: float = Field(default=0.05, ge=0.0, le=0.5)
    """A conversation changes its lane only when the score is this far beyond the cut."""
    inherits_lane: bool = True
    """"Continue" and its kin stay in the lane of the answer before."""
    obeys_text: bool = True
    """``/deep``, ``/fast``, "think hard" and their kin are obeyed."""
    obeys_effort: bool = True
    """An explicit effort of high or max goes slow."""
    rules: list[FixedRule] = Field(default_factory=list[FixedRule], max_length=100)
    check: CheckRules = Field(default_factory=CheckRules)
    explore: float = Field(default=0.0, ge=0.0, le=0.02)
    """Share of scored requests near a cut (within 0.15) whose lane is drawn, so that replay can estimate quality without bias."""
    backend: ScoringBackend = "linear"
    ask_between: Bands = Field(default_factory=lambda: Bands(check_at=0.2, slow_at=0.8))
    """Another backend than ``linear`` is asked only where the linear ``p_slow`` is at or above the first and below the second."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.name for rule in self.rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rules are named {twice[0]!r}; names must differ, since decisions and history refer to them")
        kinds = [(each.language, each.intent) for each in self.classes]
        if len(set(kinds)) < len(kinds):
            raise ValueError("two entries of `classes` are for the same language and intent; join them")
        if self.mode == "rules" and not self.rules:
            raise ValueError("mode 'rules' needs at least one rule; use 'all_fast' to send everything fast")
        return self


class PolicyVersion(Wire):
    """One immutable version."""

    version: str
    """``pol_`` and 26 characters; ``settings`` is the policy of the settings, before anything was published."""
    number: int
    """Counts up from 1 in the order of creation."""
    status: PolicyStatus
    policy: RoutingPolicy
    parent: str | None
    """The version that was active when it was drafted."""
    author: str
    """Id of the API key, or ``tandem`` for the platform itself."""
    note: str
    created_at: datetime
    published_at: datetime | None = None


class PolicyPage(Wire):
    """A page of versions, newest first."""

    object: Literal["list"] = "list"
    data: list[PolicyVersion]
    next_after: str | None = None
    """Pass it as ``after`` to read on; null at the end."""


class PolicyDraft(Wire):
    """Body of ``POST /v1/router/policies``."""

    policy: RoutingPolicy
    note: CleanText = Field(default="", max_length=500)


class Guardrails(Wire):
    """When a candidate is rolled back without anybody's doing. Rates are compared with those of the stable policy over the same time."""

    min_decisions: int = Field(default=50, ge=1)
    """Of the candidate; nothing is judged before."""
    max_slow_share_rise: float = Field(default=0.10, ge=0.0, le=1.0)
    max_negative_rise: float = Field(default=0.05, ge=0.0, le=1.0)
    """Of thumbs down, "wrong route" and re-asks, together, per decision."""
    max_escalation_rise: float = Field(default=0.05, ge=0.0, le=1.0)
    """Of failed checks and of users who move an answer to the slow lane, per decision."""
    max_queue_age_s: float = Field(default=300.0, ge=0.0)
    """Oldest queued job, whoever caused it."""


class Publish(Wire):
    """Body of ``POST /v1/router/policies/{version}/publish``."""

    percent: Literal[5, 25, 100] = 100
    """Of the conversations, by a stable hash; 100 makes it the active policy at once."""
    guardrails: Guardrails = Field(default_factory=Guardrails)
    stage_s: float | None = Field(default=None, gt=0.0, le=2_592_000.0)
    """Seconds after which an unobjectionable stage moves to the next by itself; None waits for a person."""
    is_forced: bool = False
    """Publish although validation has errors about logged traffic; never overrides a malformed policy."""
    expected_revision: int | None = Field(default=None, ge=0)
    """Refuse with 409 when somebody changed the routing since this revision was read."""


class Advance(Wire):
    """Body of ``POST /v1/router/advance``: the candidate's next stage, now."""

    expected_revision: int | None = Field(default=None, ge=0)


class RollBack(Wire):
    """Body of ``POST /v1/router/rollback``."""

    to: str | None = Field(default=None, max_length=64)
    """A version, or ``settings``; None drops the candidate, and without one goes back to the version that was active before."""
    note: CleanText = Field(default="", max_length=500)
    expected_revision: int | None = Field(default=None, ge=0)


class KillSwitch(Wire):
    """Body of ``PUT /v1/router/kill``."""

    mode: Literal["all_fast", "rules"]
    note: CleanText = Field(default="", max_length=500)


class ShadowChoice(Wire):
    """Body of ``PUT /v1/router/shadow``."""

    version: str = Field(min_length=1, max_length=64)


class Rollout(Wire):
    """A candidate under way."""

    version: str
    percent: Literal[5, 25, 100]
    since: datetime
    """When this stage began, by the database's clock."""
    guardrails: Guardrails
    stage_s: float | None = None


class RoutingState(Wire):
    """What every gateway follows."""

    revision: int = Field(ge=0)
    """Raised by every change."""
    active: str | None = None
    """None: the policy of the settings."""
    candidate: Rollout | None = None
    shadow: str | None = None
    kill: Literal["all_fast", "rules"] | None = None
    """The kill switch, above every policy."""


RoutingAction = Literal["draft", "publish", "advance", "complete", "roll_back", "auto_roll_back", "shadow", "kill", "unkill"]


class RoutingChange(Wire):
    """One line of the history."""

    number: int = Field(ge=1)
    """Of the line, from 1 without gaps: what a listing goes on from."""
    revision: int
    """Of the state after it; a draft changes no state."""
    at: datetime
    action: RoutingAction
    version: str | None
    actor: str
    detail: dict[str, str | int | float | bool | None] = Field(default_factory=dict[str, str | int | float | bool | None])
    """Reasons and figures, as of a rollback's guardrail."""


class HistoryPage(Wire):
    """A page of the history, newest first."""

    object: Literal["list"] = "list"
    data: list[RoutingChange]
    next_before: int | None = None
    """Pass it as ``before`` to read on; null at the end."""


class Estimate(Wire):
    """A share or rate with its 95 % interval, or nothing where the log cannot say."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = Field(ge=0)


class FieldProblem(Wire):
    """One finding of a validation."""

    level: Literal["error", "warning"]
    field: str
    """Dotted path in the policy."""
    message: str


class Validation(Wire):
    """What is to be said of a policy before it is published."""

    problems: list[FieldProblem]
    judged_on: int = Field(ge=0)
    """Logged requests it was held against."""


class Flip(Wire):
    """A logged request that a draft would treat otherwise."""

    decision_id: str
    language: Language
    intent: Intent | None
    p_slow: float
    before: Lane
    after: Lane


class ReplayRequest(Wire):
    """Body of ``POST /v1/router/replay``: a version, a policy that is not stored, or a dial."""

    version: str | None = Field(default=None, max_length=64)
    policy: RoutingPolicy | None = None
    target_slow_share: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Find the ``slow_at`` that sends this share of the logged requests slow."""
    target_quality: float | None = Field(default=None, gt=0.0, le=1.0)
    """Find the smallest slow share that keeps this part of the slow lane's gain, where outcomes exist."""
    since_s: float = Field(default=604_800.0, gt=0.0, le=7_776_000.0)
    """How far back, in seconds."""
    limit: int = Field(default=10_000, ge=1, le=100_000)
    """Newest logged decisions at most."""


class Replay(Wire):
    """What a policy would have done with logged traffic."""

    policy: RoutingPolicy
    """The one replayed, with the dials applied."""
    decisions: int = Field(ge=0)
    slow_share_before: Estimate
    slow_share: Estimate
    check_share: Estimate
    by_language: dict[str, Estimate]
    """Slow share."""
    by_intent: dict[str, Estimate]
    flips: int = Field(ge=0)
    examples: list[Flip]
    """Flips nearest to the cut, at most 20."""
    queue_wait_s: Estimate
    """Projected mean wait of a job for a worker; nothing where the log holds too few jobs."""
    slow_seconds: Estimate
    """Projected worker seconds per hour."""
    quality: Estimate
    """Share of good answers where outcomes or the exploration log exist; unknown (no value) elsewhere."""
    quality_basis: str
    """How it was estimated, or why it is unknown."""


class VersionStats(Wire):
    """Figures of one policy version over a time."""

    version: str
    arm: Arm
    decisions: int
    auto: int
    """Of them, those that nobody forced."""
    slow: int
    """Of the auto ones."""
    checked: int
    """Decisions of the check band."""
    failed_checks: int
    thumbs_up: int
    thumbs_down: int
    wrong_route: int
    reasks: int
    escalations: int
    """Failed checks and answers a user moved to the slow lane."""
    mean_latency_us: float


class RouterStats(Wire):
    """``GET /v1/router/stats``."""

    since: datetime
    versions: list[VersionStats]
    by_language: dict[str, int]
    by_intent: dict[str, int]
    overrides: dict[str, int]
    p_slow_histogram: list[int] = Field(min_length=20, max_length=20)
    """Scored requests per twentieth of ``p_slow``."""
    drift: list["Drift"]
    oldest_queued_s: float


class Drift(Wire):
    """How far the newest day's traffic is from the time before (population stability index)."""

    what: Literal["p_slow", "language", "intent", "slow_share", "calibration"]
    value: float | None
    """None where there are too few requests to say."""
    level: Literal["ok", "watch", "alarm", "unknown"]
    message: str


class ShadowReport(Wire):
    """``GET /v1/router/shadow``: how the shadow policy differs from what was done."""

    version: str | None
    decisions: int
    agreement: Estimate
    slow_share_before: Estimate
    slow_share: Estimate
    to_slow: int
    to_fast: int


class PolicyDiff(Wire):
    """One changed field between two versions."""

    field: str
    before: str
    after: str


class PolicyComparison(Wire):
    """``GET /v1/router/policies/{version}/diff``: what a version changes."""

    object: Literal["list"] = "list"
    data: list[PolicyDiff]
    against: str
    """The version it is held against."""
