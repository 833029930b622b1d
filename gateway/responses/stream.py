"""A job's log as OpenAI's stream: exactly one wire event per event of the log, with its number, so that ``starting_after`` is the log's cursor.

Progress becomes deltas of the reasoning item's summary while that item is open; what OpenAI has no event for passes as ``response.tandem.*``, which
the stock client lets through. Either way the event as the log has it is under ``tandem``. Pure but for ``JobStream``.
"""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final

from gateway.asgi import dump_json
from gateway.chat.progress import progress_line
from gateway.errors import error_message
from gateway.responses.items import output_message, reasoning_item, text_part
from gateway.responses.render import Status, language_of, message_id, reasoning_id, render_begin, render_job
from gateway.streams import Tails
from tandem.errors import CursorExpired, TandemError
from tandem.ids import JobId, StreamId
from tandem.ports import EventLog, JobStore, StoredResponse
from tandem.schemas.base import JsonObject
from tandem.schemas.events import Event, JobEvent
from tandem.schemas.jobs import Job
from tandem.sse import OPENAI_KEEPALIVE, named_frame

REASONING_DELTA: Final = "response.reasoning_summary_text.delta"
_BEGINNINGS: Final[dict[str, Status]] = {
    JobEvent.CREATED: "queued",
    JobEvent.QUEUED: "queued",
    JobEvent.IN_PROGRESS: "in_progress",
}


def frame(event: JsonObject) -> bytes:
    """One wire event: ``event:`` and ``data:`` lines only, for an ``id:`` or ``retry:`` would crash the stock client at the next keep-alive."""
    return named_frame(str(event["type"]), dump_json(event))


def error_event(error: TandemError, sequence_number: int) -> JsonObject:
    """A fault of the stream itself; it is not in the log and repeats the number before it."""
    return {
        "type": "error",
        "code": error.code,
        "message": error_message(error),
        "param": error.param,
        "sequence_number": max(0, sequence_number),
    }


@dataclass(slots=True)
class Translator:
    """Turns the events of one job's log, fed from the oldest on, into wire events; remembers what later ones must repeat."""

    stored: StoredResponse
    job_id: str
    answer_id: str | None = None
    """Id of the newest message that is not void."""
    _is_reasoning: bool = False
    _reasoning: list[str] = field(default_factory=list[str])
    _texts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def begins(self, event: Event) -> JsonObject:
        """The wire event of every event but the last."""
        match event.type:
            case JobEvent.CREATED | JobEvent.QUEUED | JobEvent.IN_PROGRESS:
                return self._wire(event, response=render_begin(self.stored, _BEGINNINGS[event.type]))
            case JobEvent.ITEM_ADDED:
                return self._item_added(event)
            case JobEvent.ITEM_DONE:
                return self._item_done(event)
            case JobEvent.PART_ADDED:
                return self._wire(event, **self._place(event), part=text_part(""))
            case JobEvent.PART_DONE:
                return self._wire(event, **self._place(event), part=text_part(self._text(event)))
            case JobEvent.TEXT_DELTA:
                self._texts.setdefault(self._item_id(event), []).append(str(event.data.get("delta", "")))
                return self._wire(event, **self._place(event), delta=event.data.get("delta", ""), logprobs=[])
            case JobEvent.TEXT_DONE:
                self._texts[self._item_id(event)] = [str(event.data.get("text", ""))]
                return self._wire(event, **self._place(event), text=event.data.get("text", ""), logprobs=[])
            case JobEvent.TEXT_RESET:
                return self._voided(event)
            case _:
                return self._progress(event)

    def ends(self, event: Event, ended: Job) -> JsonObject:
        """The wire event of the last one; ``ended`` is the job after it."""
        return self._wire(event, response=render_job(self.stored, ended, self.answer_id))

    def _item_added(self, event: Event) -> JsonObject:
        item_id = self._item_id(event)
        item: JsonObject
        if event.data.get("item_type") == "reasoning":
            self._is_reasoning = True
            item = reasoning_item(item_id, "", "in_progress")
        else:
            self.answer_id = item_id
            item = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        return self._wire(event, output_index=event.data.get("output_index", 0), item=item)

    def _item_done(self, event: Event) -> JsonObject:
        item_id = self._item_id(event)
        item: JsonObject
        if event.data.get("item_type") == "reasoning":
            self._is_reasoning = False
            item = reasoning_item(item_id, "".join(self._reasoning), "completed")
        else:
            self.answer_id = item_id
            item = output_message(item_id, self._text(event))
        return self._wire(event, output_index=event.data.get("output_index", 0), item=item)

    def _voided(self, event: Event) -> JsonObject:
        """What was written of this message does not count: it ends as incomplete, and the next one starts anew at the next index."""
        item = output_message(self._item_id(event), self._text(event), is_whole=False)
        self.answer_id = None
        done: JsonObject = {"type": JobEvent.ITEM_DONE, "sequence_number": event.sequence_number, "output_index": event.data.get("output_index", 0)}
        return {**done, "item": item, "tandem": _native(event)}

    def _progress(self, event: Event) -> JsonObject:
        line = progress_line(event, language_of(self.stored)) if self._is_reasoning else None
        if line is None:
            return {"type": event.type, "sequence_number": event.sequence_number, "response_id": self.stored.id, "tandem": _native(event)}
        self._reasoning.append(line)
        return {
            "type": REASONING_DELTA,
            "sequence_number": event.sequence_number,
            "item_id": reasoning_id(self.job_id),
            "output_index": 0,
            "summary_index": 0,
            "delta": line,
            "tandem": _native(event),
        }

    def _wire(self, event: Event, **fields: object) -> JsonObject:
        known: JsonObject = {"type": event.type, "sequence_number": event.sequence_number}
        return {**known, **fields}  # type: ignore[dict-item]

    def _item_id(self, event: Event) -> str:
        given = event.data.get("item_id")
        return given if isinstance(given, str) else message_id(self.job_id)

    def _place(self, event: Event) -> JsonObject:
        data = event.data
        return {"item_id": self._item_id(event), "output_index": data.get("output_index", 1), "content_index": data.get("content_index", 0)}

    def _text(self, event: Event) -> str:
        return "".join(self._texts.get(self._item_id(event), ()))


def _native(event: Event) -> JsonObject:
    return {"type": event.type, "created_at": event.created_at.isoformat(), "data": event.data}


@dataclass(frozen=True, slots=True)
class JobStream:
    """Follows the jobs behind responses. A client that leaves cancels nothing."""

    jobs: JobStore
    log: EventLog
    tails: Tails
    heartbeat_s: float

    async def frames(self, stored: StoredResponse, job: Job, after: int) -> AsyncGenerator[bytes]:
        """Frames of the events above ``after`` until the job's end; silence is filled with keep-alives.

        A cursor whose events are no longer kept, or that lies ahead of the log, gets the response as it stands first, in an event that has the number
        of the newest event; one that asks for the beginning gets ``response.created`` before that, without which the stock client reads no stream.
        """
        sent = after
        try:
            async with contextlib.aclosing(self._events(stored, job, after)) as events:
                async for event in events:
                    if event is None:
                        yield OPENAI_KEEPALIVE
                        continue
                    sent = int(str(event["sequence_number"]))
                    yield frame(event)
        except TandemError as error:
            yield frame(error_event(error, sent))

    async def _events(self, stored: StoredResponse, job: Job, after: int) -> AsyncGenerator[JsonObject | None]:
        if job.status.is_terminal and after == job.last_seq:
            return
        stream = StreamId(JobId(job.id))
        translator = Translator(stored, job.id)
        first = await self.log.first_seq(stream)
        is_lost = after > job.last_seq or (after < job.last_seq and (first is None or after + 1 < first))
        while True:
            if is_lost:
                for event in _snapshot(translator, job, after):
                    yield event
                after = job.last_seq
                if job.status.is_terminal:
                    return
            try:
                async with contextlib.aclosing(self._following(translator, stream, -1 if first is None else first - 1, after)) as events:
                    async for event in events:
                        yield event
            except CursorExpired:
                # Retention was faster than this reader: the job has ended meanwhile.
                job = await self.jobs.get(JobId(job.id), stored.tenant)
                is_lost, first = True, await self.log.first_seq(stream)
            else:
                return

    async def _following(self, translator: Translator, stream: StreamId, start: int, after: int) -> AsyncGenerator[JsonObject | None]:
        """Wire events above ``after``; what comes before is read in silence, for later events repeat parts of it."""
        async with contextlib.aclosing(self.tails.tail(stream, start, pause_s=self.heartbeat_s)) as events:
            async for event in events:
                if event is None:
                    yield None
                elif event.type in JobEvent.TERMINAL:
                    if event.sequence_number > after:
                        yield translator.ends(event, await self.jobs.get(JobId(translator.job_id), translator.stored.tenant))
                    return
                else:
                    wire = translator.begins(event)
                    if event.sequence_number > after:
                        yield wire


def _snapshot(translator: Translator, job: Job, after: int) -> list[JsonObject]:
    """The response as it stands, for a reader whose place in the log is lost."""
    response = render_job(translator.stored, job)
    events: list[JsonObject] = []
    if after < 0:
        events.append({"type": JobEvent.CREATED, "sequence_number": 0, "response": render_begin(translator.stored, "queued")})
    kind = f"response.{response['status']}" if job.status.is_terminal else JobEvent.IN_PROGRESS
    return [*events, {"type": kind, "sequence_number": job.last_seq, "response": response}]
