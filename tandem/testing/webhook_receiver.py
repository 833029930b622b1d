"""A receiver of webhooks on a loopback port that answers as a test wants: well, badly, slowly, endlessly, or not at all."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

_DRIP_S: Final = 0.05
_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    is_silent: bool = False
    """Says nothing, and keeps the connection until the sender hangs up."""
    is_dripping: bool = False
    """Sends a byte of the head at a time, for ever."""
    endless_bytes: int = 0
    """Sends so many bytes of body, as far as the sender takes them."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class WebhookReceiver:
    """Answers from ``replies`` in turn, then as ``otherwise`` says; keeps what it was sent.

    ``when_received`` runs between the request's last byte and the answer's first.
    """

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.otherwise = Reply()
        self.received: list[Received] = []
        self.sent_bytes = 0
        self.most_at_once = 0
        self.when_received: Callable[[], None] = lambda: None
        self.host = "127.0.0.1"
        self.port = 0
        self._server: asyncio.Server | None = None
        self._running = 0

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """The ``webhook-id`` of each request."""
        return [request.headers["webhook-id"] for request in self.received]

    async def start(self) -> None:
        """Listen, on the same port as the first time."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections until started again."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._converse(reader, writer)
        finally:
            self._running -= 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        self.received.append(Received(headers, await reader.readexactly(int(headers["content-length"]))))
        self.when_received()
        await self._answer(self.replies.pop(0) if self.replies else self.otherwise, reader, writer)

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reply.is_silent:
            await reader.read()
            return
        size = reply.endless_bytes or len(reply.body)
        lines = [f"HTTP/1.1 {reply.status} Scripted", f"Content-Length: {size}", *(f"{name}: {value}" for name, value in reply.headers.items())]
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        if reply.is_dripping:
            while not reader.at_eof():
                for byte in head[:-4]:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(_DRIP_S)
        writer.write(head + reply.body)
        await writer.drain()
        for _ in range(0, reply.endless_bytes, _CHUNK):
            writer.write(b"x" * _CHUNK)
            await writer.drain()
            self.sent_bytes += _CHUNK


@asynccontextmanager
async def webhook_receiver() -> AsyncGenerator[WebhookReceiver]:
    """A receiver that listens."""
    receiver = WebhookReceiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


__all__ = ["Received", "Reply", "WebhookReceiver", "webhook_receiver"]
