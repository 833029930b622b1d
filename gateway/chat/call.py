"""One chat request on its way through the door: what is known of it, what is noted for the records, and the watch on its client."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from gateway.asgi import RawHeaders, Receive, Send
from gateway.auth import Principal
from gateway.chat.request import ChatBody
from tandem.ids import DecisionId, JobId
from tandem.schemas.routing import Decision, Lane

PATH: Final = "/v1/chat/completions"


@dataclass(slots=True)
class Notes:
    """What the records will say; filled in as the request goes."""

    request_id: str
    started: float
    """Monotonic seconds."""
    status: int = 499
    principal: Principal | None = None
    lane: Lane | None = None
    ttft_s: float | None = None
    error_code: str | None = None
    has_started: bool = False
    """Whether the status line has been sent."""
    is_stream: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in, read and decided."""

    raw: bytes
    body: ChatBody
    principal: Principal
    decision_id: DecisionId
    decision: Decision
    notes: Notes
    receive: Receive
    send: Send
    sent_headers: RawHeaders
    """Of the request."""

    def headers(self, content_type: bytes, job_id: JobId | None = None) -> RawHeaders:
        """Headers of a successful answer."""
        headers = [
            (b"content-type", content_type),
            (b"x-request-id", self.notes.request_id.encode()),
            (b"x-tandem-decision", self.decision_id.encode()),
            (b"x-tandem-lane", self.decision.lane.encode()),
            (b"x-tandem-band", self.decision.band.encode()),
        ]
        if job_id is not None:
            headers.append((b"x-tandem-job", job_id.encode()))
        return headers


class Disconnected(Exception):
    """The client has gone; whatever was done for this connection alone is to be stopped."""


@contextmanager
def watch_client(receive: Receive) -> Generator[None]:
    """Cancels the body of the ``with`` when the client goes, and raises ``Disconnected`` instead."""
    worker = asyncio.current_task()
    assert worker is not None, "a request always runs in a task"  # noqa: S101 - for the type checker
    has_gone = False

    async def watch() -> None:
        nonlocal has_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        has_gone = True
        worker.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if has_gone and worker.uncancel() == 0:
            raise Disconnected from None
        raise
    finally:
        watcher.cancel()
