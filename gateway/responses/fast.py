"""The fast lane of the responses door: the fast model answers while the client waits; the response is stored before its end is told.

In the check band the answer is tested before that, and may be replaced by a job's (``checked.py``). A client that leaves stops the model, and the
response ends as failed; an answer that was complete is kept. A gateway that dies leaves the response ``in_progress``: no answer, and no waiting for a
job, may take longer than ``longest_s``, so an older one is shown as failed, and made anew for a repeated key.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Final

from fast_model.prompts import waited_doubt
from gateway.background import Background
from gateway.checks import FastAnswer
from gateway.limits import InFlight
from gateway.responses.checked import Correction
from gateway.responses.items import output_message
from gateway.responses.render import error_object, fast_usage
from gateway.responses.story import Story, answer_id, progress_id
from gateway.responses.stream import error_event, frame
from gateway.streams import with_pauses
from tandem.errors import ModelContextExceeded, ModelError, ModelTimeout, TandemError
from tandem.ports import ChatModel, Clock, ResponseStore, StoredResponse
from tandem.schemas.chat import ChatRequest, FinishReason, TokenUsage
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
    correction: Correction | None = None
    """Tests the answer; None outside the check band."""


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
        """The answered response, stored. Raises ``ModelError``; a call that is cancelled leaves the response failed, or as it was answered."""
        deadline = self.clock.monotonic() + self.longest_s
        answered: StoredResponse | None = None
        try:
            async with asyncio.timeout(self.longest_s):
                reply = await self.model.complete(ask.request)
            ended = answered = _answered(ask.stored, reply.text, reply.finish_reason, reply.usage)
            if ask.correction is not None:
                if await ask.correction.begin(FastAnswer(reply.text, reply.finish_reason, reply.chances)):
                    async with contextlib.aclosing(ask.correction.lines(deadline)) as lines:
                        async for _ in lines:
                            pass
                ended = await ask.correction.result(answered)
            return await self._end(ask, ended)
        except asyncio.CancelledError:
            self._abandon(ask, answered)
            raise
        except TimeoutError:
            raise await self._failed(ask, self._too_long()) from None
        except ModelError as error:
            raise await self._failed(ask, _public(error)) from error

    async def frames(self, ask: Ask) -> AsyncGenerator[bytes]:
        """The answer as a stream of events; a fault ends it with ``response.failed``."""
        story = Story(ask.stored)
        deadline = self.clock.monotonic() + self.longest_s
        answered: StoredResponse | None = None
        try:
            with self.in_flight.slot():
                yield story.begin()
                async with contextlib.aclosing(self._pieces(ask, story, deadline)) as pieces:
                    async for piece in pieces:
                        yield piece
            ended = answered = _answered(ask.stored, story.text, story.finish, story.usage)
            if ask.correction is not None:
                if await ask.correction.begin(FastAnswer(story.text, story.finish, story.chances)):
                    async with contextlib.aclosing(self._corrects(ask.correction, story, deadline)) as pieces:
                        async for piece in pieces:
                            yield piece
                ended = await ask.correction.result(answered)
            last = story.end(await self._end(ask, ended))
        except (asyncio.CancelledError, GeneratorExit):
            self._abandon(ask, answered)
            raise
        except TandemError as error:
            last = await self._failure(ask, story, _public(error) if isinstance(error, ModelError) else error)
        yield last

    async def _corrects(self, correction: Correction, story: Story, deadline: float) -> AsyncGenerator[bytes]:
        """The end of the answer that is void, and the progress of the job that works it out anew."""
        note = story.add(f"\n\n{waited_doubt(correction.language)}")
        yield note + story.void() + story.muse(progress_id(story.stored.id))
        async with contextlib.aclosing(correction.lines(deadline)) as lines:
            async for line in lines:
                yield OPENAI_KEEPALIVE if line is None else story.think(line)

    async def _pieces(self, ask: Ask, story: Story, deadline: float) -> AsyncGenerator[bytes]:
        async with contextlib.aclosing(with_pauses(self.model.stream(ask.request), self.heartbeat_s, asyncio.Event())) as deltas:
            async for delta in deltas:
                if self.clock.monotonic() > deadline:
                    raise self._too_long()
                if delta is None:
                    yield OPENAI_KEEPALIVE
                    continue
                story.chances += delta.chances
                story.finish, story.usage = delta.finish_reason or story.finish, delta.usage or story.usage
                if delta.text:
                    yield story.add(delta.text)

    async def _failure(self, ask: Ask, story: Story, error: TandemError) -> bytes:
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

    def _abandon(self, ask: Ask, answered: StoredResponse | None) -> None:
        """The client has gone; what is left to do outlives its connection."""
        if not ask.has_row:
            return
        kept = replace(ask.stored, status="failed", error=_CLIENT_LEFT)
        if answered is not None and ask.correction is not None:
            kept = ask.correction.kept(answered)
        self.background.start(self.store.end(kept), "abandon response")

    def _too_long(self) -> ModelTimeout:
        return ModelTimeout(f"the fast model did not finish within {self.longest_s:g} s; shorten the task or ask for model 'slow'")


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
