"""The log of routing decisions, what became of them, and the policies with their rollout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from tandem.ids import DecisionId, OutcomeId, PolicyVersionId, TenantId
from tandem.ports.common import Once
from tandem.schemas.outcomes import LabelStatus, Outcome, OutcomeKind, OutcomeSource
from tandem.schemas.policies import PolicyVersion, RoutingAction, RoutingChange, RoutingPolicy, RoutingState, VersionStats
from tandem.schemas.routing import Decision, Lane

DecidingDoor = Literal["chat", "jobs", "threads", "responses"]


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """A decision with what replay needs."""

    id: DecisionId
    tenant: TenantId
    decision: Decision
    text_chars: int
    door: DecidingDoor
    text: str | None = None
    """The ask, cut and redacted; only where ``router.log_prompts`` is on."""
    created_at: datetime | None = None
    """By the database's clock; None until it is read back."""


@dataclass(frozen=True, slots=True)
class JobTimes:
    """What finished jobs of a time took, for projections."""

    jobs: int
    mean_run_s: float
    """From the first claim to the end."""
    hours: float
    """Of the time looked at, from the creation of its first job on: a young database is not taken for an idle one."""
    workers: int
    """Jobs that were run at once at most. A job that asked somebody counts neither here nor in the mean: it waited without a worker."""


class DecisionLog(Protocol):
    """Every routing decision, for replay."""

    async def add(self, decisions: Sequence[LoggedDecision]) -> None:
        """Keep them; one that is kept already stays as it was."""
        ...

    async def recent(self, tenant: TenantId, limit: int) -> Sequence[LoggedDecision]:
        """Newest first."""
        ...

    async def get(self, decision_id: DecisionId, tenant: TenantId) -> LoggedDecision:
        """Raises ``NotFound`` also for another tenant's."""
        ...

    async def since(self, seconds: float, limit: int) -> Sequence[LoggedDecision]:
        """Of all tenants, newest first: the newest ``limit`` of the last ``seconds``. Without their reasons, which no figure is made of."""
        ...

    async def stats(self, seconds: float) -> Sequence[VersionStats]:
        """Figures per policy version and arm, of decisions and their outcomes; counted in the database."""
        ...

    async def job_times(self, seconds: float) -> JobTimes:
        """Of jobs that ended in the last ``seconds``."""
        ...


@dataclass(frozen=True, slots=True)
class NewOutcome:
    """An outcome to be kept."""

    id: OutcomeId
    decision_id: DecisionId
    tenant: TenantId
    kind: OutcomeKind
    source: OutcomeSource
    status: LabelStatus = "pending"
    wanted_lane: Lane | None = None
    fast_score: float | None = None
    slow_score: float | None = None
    text: str | None = None
    comment: str = ""


class OutcomeStore(Protocol):
    """What became of decisions; approved rows are training labels."""

    async def add(self, outcomes: Sequence[NewOutcome]) -> None:
        """Keep them; of the same decision, kind and source only the newest stays."""
        ...

    async def list(self, *, status: LabelStatus | None, kind: OutcomeKind | None, after: OutcomeId | None, limit: int) -> Sequence[Outcome]:
        """Of all tenants, newest first. A row without a text of its own has that of its decision, where prompts are logged."""
        ...

    async def judge(self, outcome_id: OutcomeId, status: LabelStatus, wanted_lane: Lane | None) -> Outcome:
        """Approve or reject; without a ``wanted_lane`` the one it speaks for stays. Raises ``NotFound``."""
        ...

    async def of_decisions(self, decision_ids: Sequence[DecisionId]) -> Mapping[DecisionId, Sequence[Outcome]]:
        """For replay; decisions without one are left out, and so are the decisions' texts."""
        ...


@dataclass(frozen=True, slots=True)
class NewState:
    """What a change of the routing leads to, and what the history says of it."""

    active: str | None
    candidate_json: str | None
    """A ``Rollout`` without ``since``, which is the database's time when its stage is new; None: no candidate."""
    is_new_stage: bool
    shadow: str | None
    kill: Literal["all_fast", "rules"] | None
    action: RoutingAction
    version: str | None
    actor: str
    detail: Mapping[str, str | int | float | bool | None] = field(default_factory=dict[str, str | int | float | bool | None])


class PolicyStore(Protocol):
    """Immutable policy versions, the one row that says which of them decide, and its history. Platform-wide, no tenant's."""

    async def add(self, version: PolicyVersionId, policy: RoutingPolicy, *, author: str, note: str, once: Once | None = None) -> PolicyVersion:
        """Keep a draft, numbered; its parent is what is active now. The history gets a line (without a new revision).

        With ``once`` a repeated call of the same author returns the draft of the first. Raises ``IdempotencyKeyReused``.
        """
        ...

    async def get(self, version: str) -> PolicyVersion:
        """Its status follows from the state and the history. Raises ``NotFound``."""
        ...

    async def list(self, *, after: str | None, limit: int) -> Sequence[PolicyVersion]:
        """Newest first."""
        ...

    async def state(self) -> RoutingState:
        """One indexed row: cheap enough to be asked twice a second."""
        ...

    async def now(self) -> datetime:
        """The database's time, as of ``Rollout.since``."""
        ...

    async def change(self, new: NewState, *, expected_revision: int) -> RoutingState:
        """Replace the state and write a line of history, in one transaction.

        Raises:
            Conflict: The revision has moved on; the message names the present one.
            NotFound: The state would name a version that is not kept.
        """
        ...

    async def history(self, *, before: int | None, limit: int) -> Sequence[RoutingChange]:
        """Newest first; ``before`` is the ``number`` of the last line of the page before."""
        ...
