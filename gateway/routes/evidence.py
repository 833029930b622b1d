"""``/v1/router``: the evidence before and after a change of the routing. For administrators: it speaks of all tenants' traffic, in figures only."""

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.routes.common import MayAdminister, UseServices
from tandem.errors import InvalidRequest
from tandem.schemas.policies import Replay, ReplayRequest, RouterStats, RoutingState, ShadowChoice, ShadowReport

DAY_S = 86_400.0
doors = APIRouter(prefix="/v1/router", tags=["evidence"])
Since = Annotated[float, Query(gt=0, le=7_776_000, description="How far back, in seconds.")]


@doors.post("/replay")
async def replay_policy(request: ReplayRequest, services: UseServices, caller: MayAdminister) -> Replay:  # noqa: ARG001 - the scope is checked
    """What a policy would have done with logged traffic. A dial without a policy turns the one that is active."""
    if request.version is not None and request.policy is not None:
        raise InvalidRequest("give 'version' or 'policy', not both", param="policy")
    if request.target_slow_share is not None and request.target_quality is not None:
        raise InvalidRequest("give one dial: 'target_slow_share' or 'target_quality'", param="target_quality")
    version = request.version or services.routing.policies.snapshot.stable.version
    if request.policy is not None:
        return await services.evidence.replay("draft", request.policy, request)
    return await services.evidence.replay(version, (await services.publishing.read(version)).policy, request)


@doors.get("/stats")
async def read_stats(services: UseServices, caller: MayAdminister, since_s: Since = DAY_S) -> RouterStats:  # noqa: ARG001
    """Figures of every policy version and arm, what the traffic is like, and how far it has drifted."""
    return await services.evidence.stats(since_s, services.routing.policies.snapshot.stable.document)


@doors.get("/shadow")
async def read_shadow(services: UseServices, caller: MayAdminister, since_s: Since = DAY_S) -> ShadowReport:  # noqa: ARG001
    """How the shadow policy differs from what was done."""
    state = await services.dependencies.storage.policies.state()
    return await services.evidence.shadow(state.shadow, since_s)


@doors.put("/shadow")
async def set_shadow(request: ShadowChoice, services: UseServices, caller: MayAdminister) -> RoutingState:
    """Let a version decide beside the active one, without acting."""
    return await services.publishing.shadow(request.version, caller.key_id)


@doors.delete("/shadow")
async def end_shadow(services: UseServices, caller: MayAdminister) -> RoutingState:
    """No shadow any more; its decisions stay in the log."""
    return await services.publishing.shadow(None, caller.key_id)
