"""What every door's file uses: the services, the caller with the scope a door needs, and ids read from the path.

Dependencies are ``async`` although they wait for nothing: FastAPI sends a plain function to a thread, which costs more than all of them do.
"""

from typing import Annotated, cast

from fastapi import Depends, Request

from gateway.auth import PRINCIPAL_KEY, Principal
from gateway.dependencies import Services
from tandem.errors import InvalidRequest, NotFound
from tandem.ids import JobId, is_id
from tandem.schemas.keys import DoorScope


class Needs:
    """Dependency of a door: the caller, who must have one of these scopes."""

    def __init__(self, *scopes: DoorScope) -> None:
        self.scopes = scopes

    async def __call__(self, request: Request) -> Principal:
        principal = cast("Principal", request.scope[PRINCIPAL_KEY])
        principal.require(*self.scopes)
        return principal


async def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


UseServices = Annotated[Services, Depends(_services)]
MayChat = Annotated[Principal, Depends(Needs("chat"))]
MayReadJobs = Annotated[Principal, Depends(Needs("jobs:read"))]
MayChatOrReadJobs = Annotated[Principal, Depends(Needs("chat", "jobs:read"))]
MayWriteJobs = Annotated[Principal, Depends(Needs("jobs:write"))]
MayAdminister = Annotated[Principal, Depends(Needs("admin"))]


def known_id(text: str, prefix: str, what: str, param: str | None = None) -> str:
    """The id from the path, or from the parameter ``param``.

    Raises ``NotFound`` for what cannot be one: a malformed id and an unknown one are not told apart.
    """
    if not is_id(text, prefix):
        raise NotFound(f"no {what} {text[:64]!r}; its id is '{prefix}_' and 26 characters: check it", param=param or f"{what}_id")
    return text


async def _known_job(job_id: str) -> JobId:
    return JobId(known_id(job_id, "job", "job"))


KnownJob = Annotated[JobId, Depends(_known_job)]
"""The job id of a door's path."""


def start_cursor(after: int | None, last_event_id: str | None) -> int:
    """Where to read on: the larger of ``after`` and ``Last-Event-ID``, because a browser that reconnects repeats the old address."""
    if last_event_id is None or not last_event_id.strip():
        return -1 if after is None else after
    if not last_event_id.strip().isascii() or not last_event_id.strip().isdigit() or len(last_event_id) > 18:
        raise InvalidRequest(f"the header Last-Event-ID is {last_event_id[:40]!r}; send the number of the last event you have", param="Last-Event-ID")
    return max(-1 if after is None else after, int(last_event_id))
