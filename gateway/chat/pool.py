"""The way to a model server on the local network: plain HTTP over kept connections, at a fraction of aiohttp's CPU per request.

Framing is parsed by httptools (llhttp). Covered: connect and silence time-outs, back-pressure, cancellation, answers with a length, chunked or
ended by closing, connections that died while idle. Not covered: TLS, proxies, HTTP/2; an ``https`` address takes the aiohttp adapter of
``aiohttp_transport.py``.
"""

import asyncio
import time
from collections import deque
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from gateway.chat.upstream import Reply
from tandem.errors import ModelBadResponse, ModelError, ModelTimeout, ModelUnavailable
from tandem.settings import ModelSettings

IDLE_S: Final = 30.0
"""A connection that was idle longer is not trusted to be alive."""
_PAUSE_BYTES: Final = 262_144
"""The server is told to wait when the caller is this far behind."""


class PoolTransport:
    """As many connections as there are requests; the one used last is used next. Lives in one running loop."""

    def __init__(self, url: str, settings: ModelSettings, lane: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._settings = settings
        self._lane = lane
        key = f"authorization: Bearer {settings.api_key.get_secret_value()}\r\n" if settings.api_key else ""
        head = f"POST {parts.path.rstrip('/')}/chat/completions HTTP/1.1\r\nhost: {parts.netloc.rpartition('@')[2]}\r\n{key}"
        self._head = f"{head}content-type: application/json\r\ncontent-length: ".encode("ascii")
        self._idle: list[_Connection] = []
        self._loop = asyncio.get_running_loop()

    async def send(self, body: bytes) -> Reply:
        request = b"%s%d\r\n\r\n%s" % (self._head, len(body), body)
        while kept := self._take():
            try:
                return await kept.ask(request)
            except _Died:  # closed by the server while it was idle: nothing was answered, so asking again is safe
                continue
        fresh = await self._connect()
        try:
            return await fresh.ask(request)
        except _Died:
            raise unavailable(self._lane) from None

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().abort()
        await asyncio.sleep(0)  # lets the closed transports leave the loop

    def keep(self, connection: "_Connection") -> None:
        """Take a connection back whose answer was read to its end."""
        self._idle.append(connection)

    def forget(self, connection: "_Connection") -> None:
        """A kept connection was closed by the server."""
        if connection in self._idle:
            self._idle.remove(connection)

    def _take(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if time.monotonic() - connection.idle_since < IDLE_S:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> "_Connection":
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                made = await self._loop.create_connection(lambda: _Connection(self, self._settings.read_timeout_s, self._lane), *self._address)
        except (OSError, TimeoutError):
            raise unavailable(self._lane) from None
        return made[1]


def unavailable(lane: str) -> ModelUnavailable:
    """Nobody answers; addresses stay out of the message."""
    return ModelUnavailable(f"the {lane} model's server cannot be reached; try again later", retry_after_s=5)


class _Died(Exception):
    """The connection ended before the first byte of an answer."""


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time; while an exchange lasts it also is the ``Reply``."""

    def __init__(self, pool: PoolTransport, read_timeout_s: float, lane: str) -> None:
        self._pool = pool
        self._read_timeout_s = read_timeout_s
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        self.idle_since = 0.0
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._is_paused = False
        self._has_bytes = False
        self._has_head = False
        self._is_complete = False
        self._may_stay = False
        self._error: ModelError | None = None
        self._content_type = ""
        self._waiter: asyncio.Future[None] | None = None

    # the Reply

    @property
    def status(self) -> int:
        return self._parser.get_status_code()

    @property
    def content_type(self) -> str:
        return self._content_type

    async def ask(self, request: bytes) -> Reply:
        """Send, and return once the head of the answer is there."""
        self._begin()
        if self._transport.is_closing():
            raise _Died
        self._transport.write(request)
        try:
            while not self._has_head and self._error is None:
                await self._wait()
        except BaseException:
            self.abort()
            raise
        if self._error is not None:
            self.abort()
            if not self._has_bytes and isinstance(self._error, ModelUnavailable):
                raise _Died
            raise self._error
        return self

    async def read(self) -> bytes:
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._is_complete:
                return b""
            await self._wait()
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    def close(self) -> None:
        if self._is_complete and self._may_stay and not self._transport.is_closing():
            if self._is_paused:
                self._transport.resume_reading()
            self.idle_since = time.monotonic()
            self._pool.keep(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once, which stops the model."""
        self._transport.abort()

    async def _wait(self) -> None:
        """Until something happens; silence longer than allowed is an error."""
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(self._read_timeout_s, self._fail, self._silent())
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _silent(self) -> ModelTimeout:
        return ModelTimeout(f"the {self._lane} model was silent longer than allowed; try again later", retry_after_s=5)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: ModelError) -> None:
        if self._error is None and not self._is_complete:
            self._error = error
        self._wake()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        self._has_bytes = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()
            self._fail(ModelBadResponse(f"the {self._lane} model's server does not speak HTTP; the operator must look at it"))
            return
        if self._buffered > _PAUSE_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The end of the connection is the end of an answer that announced no length."""
        if self._has_head and not self._is_complete and self._is_ended_by_close:
            self._is_complete = True
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._pool.forget(self)
        if self._has_bytes:
            self._fail(ModelBadResponse(f"the {self._lane} model's server broke off in the middle of its answer; ask again"))
        else:
            self._fail(unavailable(self._lane))

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._is_ended_by_close = True

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered == b"content-type":
            self._content_type = value.split(b";")[0].strip().lower().decode("latin-1")
        elif lowered in (b"content-length", b"transfer-encoding"):
            self._is_ended_by_close = False

    def on_headers_complete(self) -> None:
        self._has_head = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self._has_head:
            self._is_complete = True
            self._may_stay = self._parser.should_keep_alive()
