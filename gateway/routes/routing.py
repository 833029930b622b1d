"""``/v1/router``: ask what the router would do."""

from fastapi import APIRouter

from gateway.routes.common import MayChat, UseServices
from tandem.errors import InputTooLong
from tandem.ports import Turns
from tandem.schemas.routing import DecideRequest, Decision

doors = APIRouter(prefix="/v1/router", tags=["routing"])


@doors.post("/decide")
async def decide(request: DecideRequest, services: UseServices, caller: MayChat) -> Decision:  # noqa: ARG001 - the caller's scope is what is checked
    """A dry run: nothing is started or logged."""
    limit = services.settings.gateway.max_input_chars
    if (longest := max(len(text) for text in (request.text, *request.history))) > limit:
        raise InputTooLong(f"a text has {longest} characters, {limit} are allowed; shorten it", param="text")
    return services.routing.try_out(Turns(text=request.text, history=request.history, choice=request.lane, effort=request.effort))
