"""``/v1/router``: policies as immutable versions, what is published of them, and how it is taken back. For administrators.

The platform has one routing, which is no tenant's.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway.once import REPLAYED_HEADER, MayRepeat
from gateway.routes.common import MayAdminister, UseServices
from tandem.schemas.policies import (
    Advance,
    HistoryPage,
    KillSwitch,
    PolicyComparison,
    PolicyDraft,
    PolicyPage,
    PolicyVersion,
    Publish,
    RollBack,
    RoutingState,
    Validation,
)

doors = APIRouter(prefix="/v1/router", tags=["policies"])


@doors.post("/policies", status_code=201)
async def draft_policy(request: PolicyDraft, services: UseServices, caller: MayAdminister, repeat: MayRepeat, response: Response) -> PolicyVersion:
    """Keep a policy as a draft. Nothing decides by it before it is published."""
    version, is_replay = await services.publishing.draft(request, caller.key_id, repeat.of(request))
    response.headers["location"] = f"/v1/router/policies/{version.version}"
    if is_replay:
        response.headers[REPLAYED_HEADER] = "true"
    return version


@doors.get("/policies")
async def list_policies(
    services: UseServices,
    caller: MayAdminister,  # noqa: ARG001 - the caller's scope is what is checked
    after: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> PolicyPage:
    """All versions, newest first, with the status of each."""
    found = await services.dependencies.storage.policies.list(after=after, limit=limit + 1)
    versions = list(found)[:limit]
    return PolicyPage(data=versions, next_after=versions[-1].version if len(found) > limit else None)


@doors.get("/policies/{version}")
async def read_policy(version: str, services: UseServices, caller: MayAdminister) -> PolicyVersion:  # noqa: ARG001
    """One version; ``settings`` is the policy of the settings, which decides before anything is published."""
    return await services.publishing.read(version)


@doors.get("/policies/{version}/validation")
async def validate_policy(version: str, services: UseServices, caller: MayAdminister) -> Validation:  # noqa: ARG001
    """What logged traffic says against it: publishing refuses the errors, and tells the warnings."""
    return await services.publishing.validate(version)


@doors.get("/policies/{version}/diff")
async def compare_policies(
    version: str,
    services: UseServices,
    caller: MayAdminister,  # noqa: ARG001
    against: Annotated[str | None, Query(max_length=64)] = None,
) -> PolicyComparison:
    """What a version changes, field by field; held against its parent when nothing else is said."""
    return await services.publishing.compare(version, against)


@doors.post("/policies/{version}/publish")
async def publish_policy(version: str, request: Publish, services: UseServices, caller: MayAdminister) -> RoutingState:
    """Let a version decide: for everybody, or as a candidate for a share of the conversations. Every gateway follows within ``router.poll_s``."""
    return await services.publishing.publish(version, request, caller.key_id)


@doors.post("/advance")
async def advance_rollout(services: UseServices, caller: MayAdminister, request: Advance | None = None) -> RoutingState:
    """The candidate's next stage, without waiting for the end of this one."""
    return await services.publishing.advance(request.expected_revision if request else None, caller.key_id)


@doors.post("/rollback")
async def roll_back(services: UseServices, caller: MayAdminister, request: RollBack | None = None) -> RoutingState:
    """Drop the candidate; without one go back to the policy before, or to the one that is named."""
    return await services.publishing.roll_back(request or RollBack(), caller.key_id)


@doors.put("/kill")
async def throw_kill_switch(request: KillSwitch, services: UseServices, caller: MayAdminister) -> RoutingState:
    """Everybody fast, or the fixed rules alone; what callers choose themselves still holds. A rollout waits meanwhile."""
    return await services.publishing.kill(request.mode, request.note, caller.key_id)


@doors.delete("/kill")
async def release_kill_switch(services: UseServices, caller: MayAdminister) -> RoutingState:
    """Let the policies decide again."""
    return await services.publishing.kill(None, "", caller.key_id)


@doors.get("/state")
async def read_state(services: UseServices, caller: MayAdminister) -> RoutingState:  # noqa: ARG001
    """Who decides now, as the database has it."""
    return await services.dependencies.storage.policies.state()


@doors.get("/history")
async def read_history(
    services: UseServices,
    caller: MayAdminister,  # noqa: ARG001
    before: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> HistoryPage:
    """Every draft and change with its actor and reasons, newest first."""
    found = await services.dependencies.storage.policies.history(before=before, limit=limit + 1)
    changes = list(found)[:limit]
    return HistoryPage(data=changes, next_before=changes[-1].number if len(found) > limit else None)
