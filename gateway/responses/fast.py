"""The fast lane of the responses door: the fast model answers while the client waits; the response is stored before its end is told.

A client that leaves stops the model, and the response ends as failed. A gateway that dies leaves it ``in_progress``: no answer may take longer than
``longest_s``, so an older one is shown as failed, and made anew for a repeated key.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Final

from gateway.background import Background
from gateway.limits import InFlight
from gateway.responses.items import output_message, text_of, text_part
from gateway.responses.render import error_object, fast_usage, render_fast
from gateway.responses.stream import error_event, frame
from gateway.streams import with_pauses
from tandem.errors import ModelContextExceeded, ModelError, ModelTimeout, TandemError
from tandem.ids import ResponseId
from tandem.ports import ChatModel, Clock, ResponseStore, StoredResponse
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatRequest, FinishReason, TokenUsage
from tandem.schemas.events import JobEvent
from tandem.sse import OPENAI_KEEPALIVE

SILENCES: Final = 3
"""An answer may take as long as this many of the model's longest silences (``TANDEM_FAST_READ_TIMEOUT_S``)."""
_INCOMPLETE: Final[dict[FinishReason, str]] = {"length": "max_output_tokens", "content_filter": "content_filter"}
_CLIENT_LEFT: Final = error_object("client_closed", "the client left before the answer was complete")


@dataclass(frozen=True, slots=True)
class Ask:
    """An answer that has been begun."""

    stored: StoredResponse
    request: ChatRequest
    has_row: bool
    """False when nothing is to be stored and no key was given: then the database hears nothing of it."""


@dataclass(frozen=True, slots=True)
class FastLane:
    """What the fast lane needs."""

    model: ChatModel
    store: ResponseStore
    background: Background
    in_flight: InFlight
    clock: Clock
    read_timeout_s: float
    heartbeat_s: float

    @property
    def longest_s(self) -> float:
        return SILENCES * self.read_timeout_s

    @property
    def stale_after_s(self) -> float:
        """Age beyond which no gateway can be writing an answer any more."""
        return self.longest_s + self.read_timeout_s

    async def whole(self, ask: Ask) -> StoredResponse:
        """The answered response, stored. Raises ``ModelError``; a call that is cancelled leaves the response failed."""
        try:
            async with asyncio.timeout(self.longest_s):
                reply = await self.model.complete(ask.request)
            return await self._end(ask, _answered(ask.stored, reply.text, reply.finish_reason, reply.usage))
        except asyncio.CancelledError:
            self._abandon(ask)
            raise
        except TimeoutError:
            raise await self._failed(ask, self._too_long()) from None
        except ModelError as error:
            raise await self._failed(ask, _public(error)) from error

    async def frames(self, ask: Ask) -> AsyncGenerator[bytes]:
        """The answer as a stream of events; a fault ends it with ``response.failed``."""
        story = Story(ask.stored)
        try:
            with self.in_flight.slot():
                yield story.begin()
                async with contextlib.aclosing(self._pieces(ask, story)) as pieces:
                    async for piece in pieces:
                        yield piece
            ended = await self._end(ask, _answered(ask.stored, story.text, story.finish, story.usage))
            last = story.end(ended)
        except (asyncio.CancelledError, GeneratorExit):
            self._abandon(ask)
            raise
        except TandemError as error:
            last = await self._failure(ask, story, _public(error) if isinstance(error, ModelError) else error)
        yield last

    async def _pieces(self, ask: Ask, story: "Story") -> AsyncGenerator[bytes]:
        deadline = self.clock.monotonic() + self.longest_s
        async with contextlib.aclosing(with_pauses(self.model.stream(ask.request), self.heartbeat_s, asyncio.Event())) as deltas:
            async for delta in deltas:
                if self.clock.monotonic() > deadline:
                    raise self._too_long()
                if delta is None:
                    yield OPENAI_KEEPALIVE
                    continue
                story.finish, story.usage = delta.finish_reason or story.finish, delta.usage or story.usage
                if delta.text:
                    yield story.add(delta.text)

    async def _failure(self, ask: Ask, story: "Story", error: TandemError) -> bytes:
        """The last event of an answer that failed; a database that is away as well is told in an ``error`` event."""
        try:
            return story.end(await self._end(ask, _with_error(ask.stored, error)))
        except TandemError as broken:
            return frame(error_event(broken, story.seq - 1))

    async def _failed(self, ask: Ask, error: TandemError) -> TandemError:
        await self._end(ask, _with_error(ask.stored, error))
        return error

    async def _end(self, ask: Ask, ended: StoredResponse) -> StoredResponse:
        if ask.has_row:
            await self.store.end(ended)
        return replace(ended, finished_at=self.clock.now())

    def _abandon(self, ask: Ask) -> None:
        """The client has gone; what is left to do outlives its connection."""
        if ask.has_row:
            self.background.start(self.store.end(replace(ask.stored, status="failed", error=_CLIENT_LEFT)), "abandon response")

    def _too_long(self) -> ModelTimeout:
        return ModelTimeout(f"the fast model did not finish within {self.longest_s:g} s; shorten the task or ask for model 'slow'")


@dataclass(slots=True)
class Story:
    """The events of one answer, in OpenAI's order, numbered from 0."""

    stored: StoredResponse
    seq: int = 0
    text: str = ""
    finish: FinishReason = "unknown"
    usage: TokenUsage | None = None
    _has_item: bool = False

    def begin(self) -> bytes:
        response = render_fast(self.stored)
        return self._frame(JobEvent.CREATED, response=response) + self._frame(JobEvent.IN_PROGRESS, response=response)

    def add(self, text: str) -> bytes:
        """A piece of the answer; the first one opens the message."""
        opening = self._open()
        self.text += text
        return opening + self._frame(JobEvent.TEXT_DELTA, **self._place, delta=text, logprobs=[])

    def end(self, ended: StoredResponse) -> bytes:
        """What is left to say of the message, then the whole response; a failed one leaves its message open."""
        response = render_fast(ended)
        frames = b""
        if ended.status != "failed":
            frames = self._open()
            frames += self._frame(JobEvent.TEXT_DONE, **self._place, text=self.text, logprobs=[])
            frames += self._frame(JobEvent.PART_DONE, **self._place, part=text_part(self.text))
            frames += self._frame(JobEvent.ITEM_DONE, output_index=0, item=ended.output[0])
        return frames + self._frame(f"response.{ended.status}", response=response)

    def _open(self) -> bytes:
        if self._has_item:
            return b""
        self._has_item = True
        item: JsonObject = {"id": answer_id(self.stored.id), "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        return self._frame(JobEvent.ITEM_ADDED, output_index=0, item=item) + self._frame(JobEvent.PART_ADDED, **self._place, part=text_part(""))

    @property
    def _place(self) -> JsonObject:
        return {"item_id": answer_id(self.stored.id), "output_index": 0, "content_index": 0}

    def _frame(self, kind: str, **fields: object) -> bytes:
        event = frame({"type": kind, "sequence_number": self.seq, **fields})  # type: ignore[dict-item]
        self.seq += 1
        return event


def replay(ended: StoredResponse) -> list[bytes]:
    """The events of an answer that was given before, for a repeated request that wants a stream."""
    story = Story(ended)
    return [story.begin(), story.add(text_of(ended.output[0]) if ended.output else ""), story.end(ended)]


def answer_id(response_id: ResponseId) -> str:
    """Id of the fast lane's one output item."""
    return f"msg_{response_id.removeprefix('resp_')}_0"


def _answered(stored: StoredResponse, text: str, finish: FinishReason, usage: TokenUsage | None) -> StoredResponse:
    reason = _INCOMPLETE.get(finish)
    return replace(
        stored,
        status="incomplete" if reason else "completed",
        output=[output_message(answer_id(stored.id), text, is_whole=reason is None)],
        usage=fast_usage(usage or TokenUsage()),
        error={"reason": reason} if reason else None,  # of an incomplete one: what is missing is no fault
    )


def _with_error(stored: StoredResponse, error: TandemError) -> StoredResponse:
    return replace(stored, status="failed", error=error_object(error.code, error.message))


def _public(error: ModelError) -> ModelError:
    """What callers may read: a model server's own words may hold paths and addresses."""
    if isinstance(error, ModelContextExceeded):
        return ModelContextExceeded("the conversation does not fit the fast model's context; shorten it or send it to model 'slow'", param="input")
    words = "is silent" if isinstance(error, ModelTimeout) else "cannot answer"
    return type(error)(f"the fast model {words}; send the request again, or ask for model 'slow'", retry_after_s=error.retry_after_s)
