"""A model server that costs almost nothing: what is measured is whoever stands before it.

The request says what it wants: ``max_tokens`` pieces, the first after ``seed // 1000`` ms, the others ``seed % 1000`` ms apart. Each piece carries
the monotonic time at which it was sent, so that its way to the reader can be timed.
"""

import asyncio
import re
import time
from typing import cast

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TOKENS = re.compile(rb'"max_tokens": ?(\d+)')
_PACE = re.compile(rb'"seed": ?(\d+)')
_STREAM = re.compile(rb'"stream": ?true')
_WORDS = " ".join(["word"] * 16).encode()
_WHOLE = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"' + _WORDS + b'"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":16,"total_tokens":25}}'
)
_REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_WHOLE), _WHOLE)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_PIECE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
    b'"choices":[{"index":0,"delta":{"content":"%d "},"finish_reason":null}]}\n\n'
)
_END = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


class ModelProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._pending = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._pending, 0, end)
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._pending) < total:
                return
            body, self._pending = self._pending[end + 4 : total], self._pending[total:]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        if _STREAM.search(body) is None:
            self._transport.write(_REPLY)
            return
        tokens, pace = _TOKENS.search(body), _PACE.search(body)
        count, milliseconds = int(tokens[1]) if tokens else 16, int(pace[1]) if pace else 0
        task = asyncio.ensure_future(self._stream(count, milliseconds // 1000 / 1000, milliseconds % 1000 / 1000))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stream(self, count: int, first_s: float, gap_s: float) -> None:
        self._transport.write(_STREAM_HEAD)
        for number in range(count):
            await asyncio.sleep(gap_s if number else first_s)
            self._write(_PIECE % time.monotonic_ns())
        self._write(_END)
        self._transport.write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        self._transport.write(b"%x\r\n%s\r\n" % (len(data), data))


async def start_model_server() -> tuple[asyncio.Server, str]:
    """The running server and its base URL with ``/v1``."""
    server = await asyncio.get_running_loop().create_server(ModelProtocol, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
