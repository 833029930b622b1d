"""``/v1/feedback``: what a user says of an answer. It becomes a label once an administrator approves it."""

import asyncio

from fastapi import APIRouter

from gateway.dependencies import Services
from gateway.records import FLUSH_S
from gateway.routes.common import MayChat, UseServices, known_id
from tandem.errors import NotFound
from tandem.ids import DecisionId, TenantId
from tandem.ports import LoggedDecision, NewOutcome
from tandem.schemas.outcomes import Feedback, FeedbackCreate
from tandem.schemas.routing import Decision, Lane

doors = APIRouter(prefix="/v1/feedback", tags=["feedback"])


@doors.post("")
async def give_feedback(request: FeedbackCreate, services: UseServices, caller: MayChat) -> Feedback:
    """Say what one of the tenant's decisions was worth. Sent again it replaces what was said, so this call can be repeated."""
    known = DecisionId(known_id(request.decision_id, "dec", "decision", "decision_id"))
    logged = await _logged(services, known, caller.tenant)
    needs = services.dependencies
    wanted = _wanted(request, logged.decision)
    outcome = NewOutcome(needs.ids.outcome(), known, caller.tenant, request.kind, "user", wanted_lane=wanted, comment=request.comment)
    await needs.storage.outcomes.add([outcome])
    needs.metrics.outcomes.labels(request.kind).inc()
    return Feedback(decision_id=known, kind=request.kind, wanted_lane=wanted)


async def _logged(services: Services, decision_id: DecisionId, tenant: TenantId) -> LoggedDecision:
    """The decision; a fresh one may still wait to be written, here or in another gateway."""
    log = services.dependencies.storage.decisions
    try:
        return await log.get(decision_id, tenant)
    except NotFound:
        await services.recorder.flush()
        await asyncio.sleep(2 * FLUSH_S)
        return await log.get(decision_id, tenant)


def _wanted(request: FeedbackCreate, decision: Decision) -> Lane | None:
    """The lane that the feedback speaks for."""
    if request.kind == "wrong_route":
        return request.lane or ("fast" if decision.lane == "slow" else "slow")
    return "slow" if request.kind == "escalated" else None
