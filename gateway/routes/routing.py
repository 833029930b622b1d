"""``POST /v1/router/decide``: ask what the router would do."""

from fastapi import APIRouter

from gateway.routes.common import MayChat, UseServices
from tandem.errors import InputTooLong
from tandem.ports import Turns
from tandem.schemas.routing import DecideRequest, Decision

doors = APIRouter(prefix="/v1/router", tags=["routing"])


@doors.post("/decide")
async def decide(request: DecideRequest, services: UseServices, caller: MayChat) -> Decision:
    """A dry run, by the active policy or the version that is named: nothing is started or logged."""
    limit = services.settings.gateway.max_input_chars
    if (longest := max(len(text) for text in (request.text, *request.history))) > limit:
        raise InputTooLong(f"a text has {longest} characters, {limit} are allowed; shorten it", param="text")
    turns = Turns(
        text=request.text,
        history=request.history,
        previous_lane=request.previous_lane,
        choice=request.lane,
        effort=request.effort,
        has_running_job=request.has_running_job,
    )
    return await services.routing.try_out(turns, caller.tenant, request.policy_version)
