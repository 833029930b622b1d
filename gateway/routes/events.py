"""Event logs as pages and as server-sent events: shared by the doors of jobs and threads.

A reader whose cursor is older than what is kept, or newer than what exists, is not turned away: it gets ``stream.reset`` with the present state, and
goes on from there.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import Response

from gateway.dependencies import Services
from gateway.event_stream import EventStream
from tandem.errors import CursorExpired
from tandem.ids import StreamId
from tandem.ports import EventLog
from tandem.schemas.base import JsonObject
from tandem.schemas.events import STREAM_RESET, Event, EventPage
from tandem.sse import NATIVE_KEEPALIVE, event_frame

ResetReason = Literal["cursor_expired", "cursor_unknown"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a log amounts to at one of its events."""

    state: JsonObject
    """The job, or the thread."""
    last_seq: int
    is_final: bool


@dataclass(frozen=True, slots=True)
class Log:
    """A log to be shown, and what its readers must know of it."""

    stream: StreamId
    last_seq: int
    """By its owner's row, when the request came."""
    is_end: Callable[[Event], bool]
    snapshot: Callable[[], Awaitable[Snapshot]]
    """Reads the owner's present state."""


def wants_stream(accept: str | None) -> bool:
    """Whether the ``Accept`` header asks for server-sent events."""
    return accept is not None and "text/event-stream" in accept.lower()


async def page(events: EventLog, log: Log, after: int, limit: int) -> EventPage:
    """At most ``limit`` events above ``after``."""
    if after > log.last_seq:
        return EventPage(data=[], next_after=log.last_seq, is_reset=True, is_final=False)
    found = list(await events.read(log.stream, after, limit))
    is_reset = after < log.last_seq and (not found or found[0].sequence_number != after + 1)
    next_after = found[-1].sequence_number if found else log.last_seq
    return EventPage(data=found, next_after=next_after, is_reset=is_reset, is_final=bool(found) and log.is_end(found[-1]))


def event_stream(services: Services, log: Log, after: int) -> Response:
    """Events above ``after`` as they come, each with its sequence number as ``id``; a client that leaves cancels nothing."""
    return EventStream(_frames(services, log, after), services.settings.gateway.send_timeout_s)


async def _frames(services: Services, log: Log, after: int) -> AsyncGenerator[bytes]:
    # The first bytes go out at once, so that the client knows it is connected before anything happens.
    yield NATIVE_KEEPALIVE
    reason = await _reason_to_reset(services.dependencies.storage.events, log, after)
    while True:
        if reason is not None:
            snapshot = await log.snapshot()
            yield _reset(services, log, reason, snapshot)
            after = snapshot.last_seq
            if snapshot.is_final:
                return
        try:
            async with contextlib.aclosing(_following(services, log, after)) as frames:
                async for frame in frames:
                    yield frame
        except CursorExpired:
            # The sweep was faster than this reader.
            reason = "cursor_expired"
        else:
            return


async def _following(services: Services, log: Log, after: int) -> AsyncGenerator[bytes]:
    gateway = services.settings.gateway
    tail = services.tails.tail(log.stream, after, pause_s=gateway.heartbeat_s, max_s=gateway.stream_max_s)
    async with contextlib.aclosing(tail) as events:
        async for event in events:
            if event is None:
                yield NATIVE_KEEPALIVE
                continue
            yield event_frame(event.type, event.sequence_number, event.model_dump_json().encode())
            if log.is_end(event):
                return


async def _reason_to_reset(events: EventLog, log: Log, after: int) -> ResetReason | None:
    if after > log.last_seq:
        return "cursor_unknown"
    if after == log.last_seq:
        return None
    first = await events.first_seq(log.stream)
    return "cursor_expired" if first is None or after + 1 < first else None


def _reset(services: Services, log: Log, reason: ResetReason, snapshot: Snapshot) -> bytes:
    event = Event(
        type=STREAM_RESET,
        sequence_number=max(0, snapshot.last_seq),
        created_at=services.dependencies.clock.now(),
        stream_id=log.stream,
        data={"reason": reason, "snapshot": snapshot.state},
    )
    return event_frame(event.type, event.sequence_number, event.model_dump_json().encode())
