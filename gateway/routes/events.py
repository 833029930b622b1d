"""Event logs as pages and as server-sent events: shared by the doors of jobs and threads."""

import contextlib
from collections.abc import AsyncGenerator, Callable

from fastapi import Response
from fastapi.responses import StreamingResponse

from gateway.dependencies import Services
from tandem.ids import StreamId
from tandem.ports import EventLog
from tandem.schemas.events import Event, EventPage
from tandem.sse import NATIVE_KEEPALIVE, RESPONSE_HEADERS, event_frame


def wants_stream(accept: str | None) -> bool:
    """Whether the ``Accept`` header asks for server-sent events."""
    return accept is not None and "text/event-stream" in accept.lower()


async def page(log: EventLog, stream: StreamId, after: int, limit: int, is_end: Callable[[Event], bool]) -> EventPage:
    """At most ``limit`` events above ``after``."""
    events = list(await log.read(stream, after, limit))
    return EventPage(data=events, next_after=events[-1].sequence_number if events else after, is_final=bool(events) and is_end(events[-1]))


def event_stream(services: Services, stream: StreamId, after: int, is_end: Callable[[Event], bool]) -> Response:
    """Events above ``after`` as they come, each with its sequence number as ``id``; a client that leaves cancels nothing."""
    return StreamingResponse(_frames(services, stream, after, is_end), headers=RESPONSE_HEADERS)


async def _frames(services: Services, stream: StreamId, after: int, is_end: Callable[[Event], bool]) -> AsyncGenerator[bytes]:
    gateway = services.settings.gateway
    tail = services.tails.tail(stream, after, pause_s=gateway.heartbeat_s, max_s=gateway.stream_max_s)
    # The first bytes go out at once, so that the client knows it is connected before anything happens.
    yield NATIVE_KEEPALIVE
    async with contextlib.aclosing(tail) as events:
        async for event in events:
            if event is None:
                yield NATIVE_KEEPALIVE
                continue
            yield event_frame(event.type, event.sequence_number, event.model_dump_json().encode())
            if is_end(event):
                return
