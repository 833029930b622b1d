"""What every door's file uses: the services, the caller with the scope a door needs, and ids read from the path."""

from typing import Annotated, cast

from fastapi import Depends, Request

from gateway.auth import Principal
from gateway.dependencies import Services
from tandem.errors import InvalidRequest, NotFound
from tandem.ids import is_id
from tandem.schemas.keys import Scope

PRINCIPAL_KEY = "tandem.principal"
"""Where ``app.py`` leaves the authenticated caller in the ASGI scope."""


class Needs:
    """Dependency of a door: the caller, who must have this scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope: Scope = scope

    def __call__(self, request: Request) -> Principal:
        principal = cast("Principal", request.scope[PRINCIPAL_KEY])
        principal.require(self.scope)
        return principal


def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


UseServices = Annotated[Services, Depends(_services)]
MayChat = Annotated[Principal, Depends(Needs("chat"))]
MayReadJobs = Annotated[Principal, Depends(Needs("jobs:read"))]
MayWriteJobs = Annotated[Principal, Depends(Needs("jobs:write"))]
MayAdminister = Annotated[Principal, Depends(Needs("admin"))]


def known_id(text: str, prefix: str, what: str) -> str:
    """The id from the path. Raises ``NotFound`` for what cannot be one: a malformed id and an unknown one are not told apart."""
    if not is_id(text, prefix):
        raise NotFound(f"no {what} {text[:64]!r}; list them to find its id", param=f"{what}_id")
    return text


def start_cursor(after: int | None, last_event_id: str | None) -> int:
    """Where to read on: the larger of ``after`` and ``Last-Event-ID``, because a browser that reconnects repeats the old address."""
    if last_event_id is None or not last_event_id.strip():
        return -1 if after is None else after
    if not last_event_id.strip().isascii() or not last_event_id.strip().isdigit() or len(last_event_id) > 18:
        raise InvalidRequest(f"the header Last-Event-ID is {last_event_id[:40]!r}; send the number of the last event you have", param="Last-Event-ID")
    return max(-1 if after is None else after, int(last_event_id))
