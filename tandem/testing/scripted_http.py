"""HTTP/1.1 on one connection of the scripted model, with an eye on whether the client is still there. Knows no protocol above HTTP."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NoReturn

from tandem.schemas.base import JsonObject

LOOPBACK: Final = "127.0.0.1"


class ClientLeft(Exception):
    """The client closed the connection."""


class ClosedByScript(Exception):
    """A scripted fault closed the connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Connection:
    """Reads requests and writes replies."""

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _ahead: bytes = b""
    """A byte of the next request that the watch has read."""
    _watch: asyncio.Task[bytes] | None = None

    async def read_request(self) -> Request | None:
        """The next request, or None when the client has closed the connection."""
        try:
            head = self._ahead + await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        self._ahead = b""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, path.partition("?")[0], headers, body)

    @asynccontextmanager
    async def watch(self) -> AsyncGenerator[None]:
        """While inside, ``pause`` and ``drain`` notice that the client closes the connection."""
        self._watch = asyncio.create_task(self._reader.read(1))
        try:
            yield
        finally:
            self._watch.cancel()
            await asyncio.wait({self._watch})
            if not self._watch.cancelled():
                self._ahead = self._watch.result()
            self._watch = None

    async def pause(self, seconds: float | None) -> None:
        """Wait (for ever when None); raises ``ClientLeft`` as soon as the client closes the connection."""
        if seconds != 0.0 and self._watch is not None:
            await asyncio.wait({self._watch}, timeout=seconds)
        if seconds is None:
            raise ClientLeft  # a client that sends more into the silence gets no answer either
        self._check_client()

    def send_json(self, status: int, value: JsonObject, headers: Mapping[str, str] | None = None) -> None:
        self.send(status, "application/json", json.dumps(value, ensure_ascii=False).encode(), headers)

    def send(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self._writer.write(_head(status, {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}) + body)

    def start_stream(self, headers: Mapping[str, str]) -> None:
        self._writer.write(_head(HTTPStatus.OK, {"content-type": "text/event-stream", "transfer-encoding": "chunked", **headers}))

    def send_chunk(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n" % len(data) + data + b"\r\n")

    def end_stream(self) -> None:
        self._writer.write(b"0\r\n\r\n")

    async def drain(self) -> None:
        await self._writer.drain()
        await asyncio.sleep(0)  # lets the loop notice that the client has left
        self._check_client()

    def close(self) -> NoReturn:
        """End the connection in the middle of what was being said."""
        self._writer.close()
        raise ClosedByScript

    def reset(self) -> NoReturn:
        """Tear the connection down with a TCP reset."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _check_client(self) -> None:
        if self._watch is not None and self._watch.done() and self._watch.result() == b"":
            raise ClientLeft


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    phrase = HTTPStatus(status).phrase
    return "".join([f"HTTP/1.1 {status} {phrase}\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"]).encode("latin-1")
