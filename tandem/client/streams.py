"""Streams as state machines over bytes: a chat reply, and an event log that is followed across broken connections. No I/O."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from tandem.client.calls import Call, error_named
from tandem.errors import GatewayUnreachable, ModelBadResponse, TandemError
from tandem.schemas.errors import ErrorBody
from tandem.schemas.events import STREAM_RESET, Event, JobEvent
from tandem.schemas.routing import Lane
from tandem.sse import Parser

SILENCE_LIMIT_S: Final = 45.0
"""A stream silent this long is dead: three of the gateway's default heartbeats."""
FIRST_DELAY_S: Final = 0.25
LONGEST_DELAY_S: Final = 5.0
MAX_FAILURES: Final = 12
"""Failures in a row before following gives up: about 45 seconds of a gateway that is away."""


@dataclass(frozen=True, slots=True)
class ChatPiece:
    """A piece of a chat reply. The first one is empty and comes with the headers, so that the lane is known before the first word."""

    content: str = ""
    reasoning: str = ""
    """A slow turn's progress."""
    lane: Lane | None = None
    job_id: str | None = None
    """The job a slow turn became; it outlives this stream."""
    decision_id: str | None = None
    finish_reason: str | None = None


class _Delta(BaseModel):
    model_config = ConfigDict(extra="ignore")
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(BaseModel):
    model_config = ConfigDict(extra="ignore")
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(BaseModel):
    model_config = ConfigDict(extra="ignore")
    choices: list[_Choice]


@dataclass(slots=True)
class ChatReader:
    """Reads one chat reply, streamed or whole."""

    headers: Mapping[str, str]
    """Of the answer, with lower-case names."""
    is_done: bool = False
    _parser: Parser = field(default_factory=Parser)

    def opening(self) -> ChatPiece:
        """What the headers tell."""
        return self._piece()

    def feed(self, chunk: bytes) -> Iterator[ChatPiece]:
        """Pieces completed by these bytes of a stream. Raises the error that the stream carries, if it does."""
        for frame in self._parser.feed(chunk):
            if frame.data == "[DONE]":
                self.is_done = True
                return
            yield from self._read(frame.data)

    def whole(self, body: bytes) -> Iterator[ChatPiece]:
        """The pieces of a reply that was not streamed."""
        yield from self._read(body.decode("utf-8", errors="replace"))
        self.is_done = True

    def close(self) -> None:
        """Call at the end of the bytes. Raises ``GatewayUnreachable`` when the reply was cut off."""
        if not self.is_done:
            raise GatewayUnreachable("the gateway closed the connection in the middle of its reply; ask again")

    def _read(self, data: str) -> Iterator[ChatPiece]:
        try:
            chunk = _Chunk.model_validate_json(data)
        except ValidationError:
            raise _carried_error(data) from None
        for choice in chunk.choices:
            delta = choice.delta or choice.message or _Delta()
            yield self._piece(delta.content or "", delta.reasoning_content or "", choice.finish_reason)

    def _piece(self, content: str = "", reasoning: str = "", finish_reason: str | None = None) -> ChatPiece:
        named = self.headers.get("x-tandem-lane")
        lane: Lane | None = "fast" if named == "fast" else "slow" if named == "slow" else None
        return ChatPiece(
            content,
            reasoning,
            lane,
            self.headers.get("x-tandem-job"),
            self.headers.get("x-tandem-decision"),
            finish_reason,
        )


def _carried_error(data: str) -> TandemError:
    try:
        detail = ErrorBody.model_validate_json(data).error
    except ValidationError:
        return ModelBadResponse(f"the reply holds {data[:200]!r}, which is neither a chat chunk nor an error")
    return error_named(detail.code, detail.message)


NO_MORE: Final = 204
"""Status of an event stream asked for beyond the end of a log that has ended."""


@dataclass(slots=True)
class Following:
    """An event log followed over as many connections as it takes; each event once, in order."""

    path: str
    after: int
    """Newest sequence number that was read."""
    ends_at: frozenset[str] = frozenset()
    """Event types after which nothing follows; empty follows for ever."""
    jitter: Callable[[], float] = random.random  # noqa: S311 - spreads load, guards nothing
    """0..1; spreads the return of many clients."""
    is_final: bool = False
    _was_connected: bool = False
    _failures: int = 0
    _parser: Parser = field(default_factory=Parser)

    @classmethod
    def of_job(cls, job_id: str, after: int) -> "Following":
        return cls(f"/v1/jobs/{quote(job_id, safe='')}/events", after, JobEvent.TERMINAL)

    @classmethod
    def of_thread(cls, thread_id: str, after: int) -> "Following":
        return cls(f"/v1/threads/{quote(thread_id, safe='')}/events", after)

    def connect(self) -> Call[bytes]:
        """The request for the next connection, from where the last one stopped."""
        self._parser = Parser()
        return Call("GET", self.path, bytes, {"after": str(self.after)}, headers={"accept": "text/event-stream"}, timeout_s=SILENCE_LIMIT_S)

    def connected(self, status: int = 200) -> None:
        """Call when the stream has answered: from then on a failure is an interruption, not a wrong address.

        Args:
            status: HTTP status of the answer; 204 says that the log has ended and everything in it was read.
        """
        self._was_connected = True
        self.is_final = status == NO_MORE

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Events completed by these bytes; those already read are dropped.

        A STREAM_RESET says that events were missed, holds the present state in their place, and moves the cursor there, be it forth or back.
        """
        for frame in self._parser.feed(chunk):
            event = Event.model_validate_json(frame.data)
            if event.sequence_number <= self.after and event.type != STREAM_RESET:
                continue
            self.after, self._failures = event.sequence_number, 0
            self.is_final = event.type in self.ends_at
            yield event
            if self.is_final:
                return

    def failed(self, error: TandemError) -> None:
        """Note a failed connection. Raises ``error`` when trying again cannot help or was tried often enough."""
        self._failures += 1
        if not error.retryable or not self._was_connected or self._failures >= MAX_FAILURES:
            raise error

    def delay_s(self) -> float:
        """Seconds before the next connection: short after a clean end, growing with failures."""
        return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**self._failures) * (0.5 + self.jitter() / 2)
