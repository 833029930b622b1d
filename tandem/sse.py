"""Server-sent events as text: framing and parsing, without I/O.

OpenAI doors use ``data_frame`` and ``OPENAI_KEEPALIVE``: an ``id:`` or ``retry:`` line, or a comment followed by a blank line, crashes the stock
``openai`` client (its decoder then emits an empty event). Native doors use ``event_frame``, whose ``id:`` is the sequence number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

OPENAI_KEEPALIVE: Final = b": ping\n"
"""A comment without the blank line that would end an event."""
NATIVE_KEEPALIVE: Final = b": ping\n\n"
DONE_FRAME: Final = b"data: [DONE]\n\n"
RESPONSE_HEADERS: Final = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}


def data_frame(data: bytes) -> bytes:
    """One unnamed event; ``data`` is a single line."""
    return b"data: " + data + b"\n\n"


def named_frame(event: str, data: bytes) -> bytes:
    """One named event without an id; ``data`` is a single line."""
    return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"


def event_frame(event: str, seq: int, data: bytes) -> bytes:
    """One named event with its sequence number; ``data`` is a single line."""
    return b"id: %d\nevent: " % seq + event.encode() + b"\ndata: " + data + b"\n\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """A parsed event."""

    event: str
    data: str
    id: str | None


@dataclass(slots=True)
class Parser:
    """Turns bytes, cut anywhere, into frames, per the WHATWG rules: comments are dropped; LF, CRLF or CR ends a line."""

    _pending: bytes = b""
    _data: list[str] = field(default_factory=list[str])
    _event: str = ""
    _id: str | None = None

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Frames completed by this chunk."""
        text = self._pending + chunk
        held = b"\r" if text.endswith(b"\r") else b""  # its \n may come with the next chunk
        lines = text.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._pending = lines.pop() + held
        for raw in lines:
            line = raw.decode("utf-8", errors="replace")
            if line:
                self._take(line)
            elif self._data:
                yield Frame(self._event or "message", "\n".join(self._data), self._id)
                self._data, self._event = [], ""
            else:
                self._event = ""

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\x00" not in value:
                self._id = value
            case _:
                pass
