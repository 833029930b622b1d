"""Ids and requests for tests: fresh, ordered, and with nothing in them that a test did not ask for."""

from datetime import datetime
from itertools import count
from json import dumps
from typing import Literal, TypedDict, Unpack

from tandem.ids import DecisionId, IdFactory, KeyId, ResponseId, ScheduleId, TenantId, ThreadId
from tandem.ports import LoggedDecision, NewJob, NewOutcome, NewState, Once
from tandem.schemas.jobs import Budget, JobRequest
from tandem.schemas.outcomes import LabelStatus, OutcomeKind, OutcomeSource
from tandem.schemas.policies import Guardrails, RoutingAction
from tandem.schemas.routing import Arm, Band, Decision, Lane, OverrideSource

ALICE = TenantId("alice")
BOB = TenantId("bob")
DECISION = Decision(
    lane="slow", band="slow", effort="low", p_slow=0.75, check_at=0.35, threshold=0.5, margin=0.25, policy_version="p1", model_version="m1"
)


class Asked(TypedDict, total=False):
    """Fields of a ``JobRequest`` that a test may ask for."""

    webhook_url: str | None
    webhook_endpoints: list[str] | None
    priority: int
    metadata: dict[str, str]
    budget: Budget
    on_budget: Literal["finish", "wait"]
    run_at: datetime | None
    deadline: datetime | None
    parent_id: str | None
    files: list[str]


class Decided(TypedDict, total=False):
    """Fields of a ``Decision`` that a test may ask for."""

    lane: Lane
    band: Band
    p_slow: float
    override: OverrideSource | None
    policy_version: str
    arm: Arm
    latency_us: float


class Learnt(TypedDict, total=False):
    """Fields of a ``NewOutcome`` that a test may ask for."""

    status: LabelStatus
    wanted_lane: Lane | None
    fast_score: float | None
    slow_score: float | None
    text: str | None
    comment: str


class Samples:
    """Makes ids in creation order, and jobs, decisions and outcomes to be kept."""

    def __init__(self) -> None:
        milliseconds = count(1_700_000_000_000)
        self.ids = IdFactory(now_ms=lambda: next(milliseconds))

    def job(
        self,
        *,
        tenant: TenantId = ALICE,
        key_id: KeyId | None = None,
        thread_id: str | None = None,
        once: Once | None = None,
        response_id: ResponseId | None = None,
        schedule_id: ScheduleId | None = None,
        is_stored: bool = True,
        **asked: Unpack[Asked],
    ) -> NewJob:
        """A small task of a tenant."""
        return NewJob(
            id=self.ids.job(),
            tenant=tenant,
            key_id=key_id,
            request=JobRequest.model_validate({"input": "add 2 and 3", "metadata": {"order": "17"}} | asked),
            effort="low",
            title="A sum",
            thread_id=None if thread_id is None else ThreadId(thread_id),
            once=once,
            response_id=response_id,
            schedule_id=schedule_id,
            is_stored=is_stored,
        )

    def logged(self, *, tenant: TenantId = ALICE, text: str | None = None, **decided: Unpack[Decided]) -> LoggedDecision:
        """A decision of the chat door; slow by its score where nothing else is said."""
        decision = DECISION.model_copy(update=dict(decided))
        return LoggedDecision(self.ids.decision(), tenant, decision, text_chars=len(text or "hello"), door="chat", text=text)

    def outcome(
        self,
        decision_id: DecisionId,
        kind: OutcomeKind = "thumbs_up",
        *,
        tenant: TenantId = ALICE,
        source: OutcomeSource = "user",
        **learnt: Unpack[Learnt],
    ) -> NewOutcome:
        """What a user says of a decision."""
        return NewOutcome(self.ids.outcome(), decision_id, tenant, kind, source, **learnt)


def routed(
    active: str | None,
    action: RoutingAction = "publish",
    *,
    candidate: str | None = None,
    percent: Literal[5, 25, 100] = 5,
    is_new_stage: bool = True,
    shadow: str | None = None,
    kill: Literal["all_fast", "rules"] | None = None,
) -> NewState:
    """A state of the routing that somebody wants."""
    rollout = {"version": candidate, "percent": percent, "guardrails": Guardrails().model_dump(), "stage_s": 60.0}
    candidate_json = None if candidate is None else dumps(rollout)
    return NewState(active, candidate_json, is_new_stage, shadow, kill, action, candidate or active, "key_1", {"percent": percent})


def keyed(key: str = "k", fingerprint: str = "f", kind: Literal["key", "first", "retry"] = "key") -> Once:
    """What an ``Idempotency-Key`` comes down to."""
    return Once(scope="POST /v1/jobs", key=key, fingerprint=fingerprint, kind=kind)
