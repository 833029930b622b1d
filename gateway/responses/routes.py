"""``/v1/responses``: OpenAI's responses, for the stock client. Parse, call, answer; ``door.py`` does the work."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from gateway.chat.call import Disconnected
from gateway.once import MayRepeat
from gateway.responses.door import ResponsesDoor
from gateway.responses.request import ResponseCreate
from gateway.routes.common import MayChat, UseServices

_CLIENT_CLOSED: Final = 499
_OBJECT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "OpenAI's response object; what only Tandem knows is under `tandem`.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
_OBJECT_OR_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {**_OBJECT[200], "content": {**_OBJECT[200]["content"], "text/event-stream": {"schema": {"type": "string"}}}}
}
doors = APIRouter(prefix="/v1/responses", tags=["responses"])


@doors.post("", response_class=Response, responses=_OBJECT_OR_STREAM)
async def create_response(body: ResponseCreate, request: Request, services: UseServices, caller: MayChat, repeat: MayRepeat) -> Response:
    """Ask. `auto` routes, `fast` and `slow` force a lane; a slow answer, and every one with `background`, is a job that outlives the connection."""
    try:
        return await ResponsesDoor(services, caller).create(body, repeat, request)
    except Disconnected:
        return Response(status_code=_CLIENT_CLOSED)


@doors.get("/{response_id}", response_class=Response, responses=_OBJECT_OR_STREAM)
async def read_response(
    response_id: str,
    services: UseServices,
    caller: MayChat,
    stream: bool = False,
    starting_after: Annotated[int | None, Query(ge=0, description="With `stream`: number of the last event you have.")] = None,
) -> Response:
    """The response as it stands; with `stream` its events from the first, or above `starting_after`."""
    door = ResponsesDoor(services, caller)
    if stream:
        return await door.stream(response_id, -1 if starting_after is None else starting_after)
    return await door.read(response_id)


@doors.post("/{response_id}/cancel", response_class=Response, responses=_OBJECT)
async def cancel_response(response_id: str, services: UseServices, caller: MayChat) -> Response:
    """End a background response; an ended one is returned unchanged."""
    return await ResponsesDoor(services, caller).cancel(response_id)


@doors.delete("/{response_id}", response_class=Response, responses=_OBJECT)
async def delete_response(response_id: str, services: UseServices, caller: MayChat) -> Response:
    """Forget an ended response, and its job with all that has written."""
    return await ResponsesDoor(services, caller).delete(response_id)


@doors.get("/{response_id}/input_items", response_class=Response, responses=_OBJECT)
async def list_input_items(
    response_id: str,
    services: UseServices,
    caller: MayChat,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    """The messages the request brought."""
    return await ResponsesDoor(services, caller).input_items(response_id, after=after, limit=limit, is_ascending=order == "asc")
