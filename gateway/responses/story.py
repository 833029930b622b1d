"""The events of one fast answer, in OpenAI's order, numbered from 0: what the stream of a response without a job says. Pure."""

from dataclasses import dataclass, field

from gateway.responses.items import output_message, reasoning_item, text_of, text_part
from gateway.responses.render import render_fast
from gateway.responses.stream import REASONING_DELTA, frame
from tandem.ids import ResponseId
from tandem.ports import StoredResponse
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import FinishReason, TokenChance, TokenUsage
from tandem.schemas.events import JobEvent


@dataclass(slots=True)
class Story:
    """One answer being told; one item is open at a time."""

    stored: StoredResponse
    seq: int = 0
    text: str = ""
    """Of the open message."""
    finish: FinishReason = "unknown"
    usage: TokenUsage | None = None
    chances: list[TokenChance] = field(default_factory=list[TokenChance])
    _index: int = 0
    _message: str | None = None
    """Id of the open message."""
    _reasoning: str | None = None
    """Id of the open progress."""
    _thoughts: str = ""

    def begin(self) -> bytes:
        response = render_fast(self.stored)
        return self._frame(JobEvent.CREATED, response=response) + self._frame(JobEvent.IN_PROGRESS, response=response)

    def add(self, text: str, item_id: str | None = None) -> bytes:
        """A piece of the answer; the first one opens the message."""
        opening = self._open(item_id)
        self.text += text
        return opening + self._frame(JobEvent.TEXT_DELTA, **self._place, delta=text, logprobs=[])

    def void(self) -> bytes:
        """The open message does not count: it ends as incomplete."""
        return self._close(output_message(str(self._message), self.text, is_whole=False))

    def muse(self, item_id: str) -> bytes:
        """Open the item of the progress."""
        self._reasoning = item_id
        return self._frame(JobEvent.ITEM_ADDED, output_index=self._index, item=reasoning_item(item_id, "", "in_progress"))

    def think(self, line: str) -> bytes:
        """A line of progress."""
        self._thoughts += line
        return self._frame(REASONING_DELTA, item_id=self._reasoning, output_index=self._index, summary_index=0, delta=line)

    def mused(self) -> bytes:
        """Close the item of the progress."""
        item = reasoning_item(str(self._reasoning), self._thoughts, "completed")
        done = self._frame(JobEvent.ITEM_DONE, output_index=self._index, item=item)
        self._reasoning, self._thoughts = None, ""
        self._index += 1
        return done

    def end(self, ended: StoredResponse) -> bytes:
        """What is left to say of the items, then the whole response; a failed one leaves its item open."""
        rest = b"" if ended.status == "failed" else self._rest(ended.output[-1])
        return rest + self._frame(f"response.{ended.status}", response=render_fast(ended))

    def _rest(self, answer: JsonObject) -> bytes:
        """The end of the open item; after progress the corrected answer, if there is one."""
        rest = b""
        if self._reasoning is not None:
            rest = self.mused()
            if answer["id"] == answer_id(self.stored.id):  # it was told before
                return rest
            rest += self.add(text_of(answer), str(answer["id"]))
        return rest + self._open() + self._close(answer)

    def _open(self, item_id: str | None = None) -> bytes:
        if self._message is not None:
            return b""
        self._message = item_id or answer_id(self.stored.id)
        item: JsonObject = {"id": self._message, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        added = self._frame(JobEvent.ITEM_ADDED, output_index=self._index, item=item)
        return added + self._frame(JobEvent.PART_ADDED, **self._place, part=text_part(""))

    def _close(self, item: JsonObject) -> bytes:
        frames = self._frame(JobEvent.TEXT_DONE, **self._place, text=self.text, logprobs=[])
        frames += self._frame(JobEvent.PART_DONE, **self._place, part=text_part(self.text))
        frames += self._frame(JobEvent.ITEM_DONE, output_index=self._index, item=item)
        self._message, self.text = None, ""
        self._index += 1
        return frames

    @property
    def _place(self) -> JsonObject:
        return {"item_id": self._message, "output_index": self._index, "content_index": 0}

    def _frame(self, kind: str, **fields: object) -> bytes:
        event = frame({"type": kind, "sequence_number": self.seq, **fields})  # type: ignore[dict-item]
        self.seq += 1
        return event


def replay(ended: StoredResponse) -> list[bytes]:
    """The events of an answer that was given before, for a repeated request that wants a stream."""
    story = Story(ended)
    frames = [story.begin()]
    for item in ended.output:
        if item["type"] == "reasoning":
            frames += [story.muse(str(item["id"])), story.think(_progress_of(item)), story.mused()]
        else:
            frames.append(story.add(text_of(item), str(item["id"])))
    return [*frames, *([] if ended.output else [story.add("")]), story.end(ended)]


def answer_id(response_id: ResponseId, index: int = 0) -> str:
    """Id of a message of the fast lane: the fast answer at 0, its correction after the progress."""
    return f"msg_{response_id.removeprefix('resp_')}_{index}"


def progress_id(response_id: ResponseId) -> str:
    """Id of the item that holds the progress of a correction."""
    return f"rs_{response_id.removeprefix('resp_')}"


def _progress_of(item: JsonObject) -> str:
    summary = item.get("summary")
    parts = summary if isinstance(summary, list) else []
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))  # type: ignore[misc]
