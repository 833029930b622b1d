"""What the doors of the routing are sent and how their answers are read. No I/O."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from tandem.client.calls import WHOLE_REPLY_TIMEOUT_S, Call, get, params, post, segment
from tandem.schemas.outcomes import (
    Feedback,
    FeedbackCreate,
    Imported,
    LabelStatus,
    LabelVerdict,
    Outcome,
    OutcomeImport,
    OutcomeImports,
    OutcomeKind,
    OutcomePage,
)
from tandem.schemas.policies import (
    Advance,
    HistoryPage,
    KillSwitch,
    PolicyComparison,
    PolicyDraft,
    PolicyPage,
    PolicyVersion,
    Publish,
    Replay,
    ReplayRequest,
    RollBack,
    RouterStats,
    RoutingState,
    ShadowChoice,
    ShadowReport,
    Validation,
)

_ROUTER: Final = "/v1/router"


def draft_policy(draft: PolicyDraft, idempotency_key: str | None) -> Call[PolicyVersion]:
    """``POST /v1/router/policies``."""
    return post(f"{_ROUTER}/policies", PolicyVersion, draft, idempotency_key)


def list_policies(after: str | None, limit: int) -> Call[PolicyPage]:
    """``GET /v1/router/policies``."""
    return get(f"{_ROUTER}/policies", PolicyPage, params(after=after, limit=limit))


def get_policy(version: str) -> Call[PolicyVersion]:
    """``GET /v1/router/policies/{version}``."""
    return get(_policy(version), PolicyVersion)


def validate_policy(version: str) -> Call[Validation]:
    """``GET /v1/router/policies/{version}/validation``."""
    return get(f"{_policy(version)}/validation", Validation)


def diff_policies(version: str, against: str | None) -> Call[PolicyComparison]:
    """``GET /v1/router/policies/{version}/diff``."""
    return get(f"{_policy(version)}/diff", PolicyComparison, params(against=against))


def publish_policy(version: str, publish: Publish) -> Call[RoutingState]:
    """``POST /v1/router/policies/{version}/publish``."""
    return post(f"{_policy(version)}/publish", RoutingState, publish)


def advance_rollout(expected_revision: int | None) -> Call[RoutingState]:
    """``POST /v1/router/advance``."""
    return post(f"{_ROUTER}/advance", RoutingState, Advance(expected_revision=expected_revision))


def roll_back_policy(wish: RollBack) -> Call[RoutingState]:
    """``POST /v1/router/rollback``."""
    return post(f"{_ROUTER}/rollback", RoutingState, wish)


def throw_kill_switch(mode: Literal["all_fast", "rules"], note: str) -> Call[RoutingState]:
    """``PUT /v1/router/kill``."""
    return post(f"{_ROUTER}/kill", RoutingState, KillSwitch(mode=mode, note=note), method="PUT")


def release_kill_switch() -> Call[RoutingState]:
    """``DELETE /v1/router/kill``."""
    return post(f"{_ROUTER}/kill", RoutingState, method="DELETE")


def routing_state() -> Call[RoutingState]:
    """``GET /v1/router/state``."""
    return get(f"{_ROUTER}/state", RoutingState)


def routing_history(before: int | None, limit: int) -> Call[HistoryPage]:
    """``GET /v1/router/history``."""
    return get(f"{_ROUTER}/history", HistoryPage, params(before=before, limit=limit))


def replay_policy(request: ReplayRequest) -> Call[Replay]:
    """``POST /v1/router/replay``; a large log takes its time."""
    return replace(post(f"{_ROUTER}/replay", Replay, request), timeout_s=WHOLE_REPLY_TIMEOUT_S)


def router_stats(since_s: float) -> Call[RouterStats]:
    """``GET /v1/router/stats``."""
    return get(f"{_ROUTER}/stats", RouterStats, params(since_s=since_s))


def shadow_report(since_s: float) -> Call[ShadowReport]:
    """``GET /v1/router/shadow``."""
    return get(f"{_ROUTER}/shadow", ShadowReport, params(since_s=since_s))


def set_shadow(version: str) -> Call[RoutingState]:
    """``PUT /v1/router/shadow``."""
    return post(f"{_ROUTER}/shadow", RoutingState, ShadowChoice(version=version), method="PUT")


def end_shadow() -> Call[RoutingState]:
    """``DELETE /v1/router/shadow``."""
    return post(f"{_ROUTER}/shadow", RoutingState, method="DELETE")


def list_labels(status: LabelStatus | None, kind: OutcomeKind | None, after: str | None, limit: int) -> Call[OutcomePage]:
    """``GET /v1/router/labels``."""
    return get(f"{_ROUTER}/labels", OutcomePage, params(status=status, kind=kind, after=after, limit=limit))


def import_labels(rows: Sequence[OutcomeImport]) -> Call[Imported]:
    """``POST /v1/router/labels``."""
    return post(f"{_ROUTER}/labels", Imported, OutcomeImports(rows=list(rows)))


def judge_label(outcome_id: str, verdict: LabelVerdict) -> Call[Outcome]:
    """``POST /v1/router/labels/{id}``."""
    return post(f"{_ROUTER}/labels/{segment(outcome_id)}", Outcome, verdict)


def export_labels() -> Call[list[Outcome]]:
    """``GET /v1/router/labels/export``."""
    return Call(
        "GET",
        f"{_ROUTER}/labels/export",
        lambda body: [Outcome.model_validate_json(line) for line in body.splitlines()],
        timeout_s=WHOLE_REPLY_TIMEOUT_S,
    )


def give_feedback(feedback: FeedbackCreate) -> Call[Feedback]:
    """``POST /v1/feedback``."""
    return post("/v1/feedback", Feedback, feedback)


def _policy(version: str) -> str:
    return f"{_ROUTER}/policies/{segment(version)}"
