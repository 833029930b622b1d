"""A connection to an MCP server that listens for streamable HTTP, through the guarded way out.

Covered: only the origin that the operator's file names is reached, on every request, redirects refused; its headers go there and nowhere else;
answers of bounded size; a stream that breaks before the answer is told at once. Not covered: broken streams are not resumed; the older SSE transport
and OAuth logins are not spoken (give a token in ``headers``).
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from contextvars import Context
from http import HTTPStatus
from itertools import count
from typing import Final

import httpx

from tandem.egress import HttpClient
from tandem.errors import EgressDenied
from tandem.schemas.base import JsonObject
from tandem.sse import Parser
from tandem.telemetry import get_logger
from tools.mcp.messages import (
    LIST_CHANGED,
    LOST,
    Answer,
    Ask,
    Incoming,
    McpFailed,
    decode,
    encode_cancellation,
    encode_notification,
    encode_reply,
    encode_request,
)
from tools.mcp.servers import Address

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_SESSION: Final = "mcp-session-id"
_FAREWELL_S: Final = 2.0
_LISTEN_AGAIN_S: Final = 5.0
_MAX_LISTEN_FAILURES: Final = 3
_MAX_SESSION_CHARS: Final = 512
_MAX_ASIDES: Final = 8
"""Replies and cancellations on their way at once; more are not sent."""


class HttpConnection:
    """See ``messages.Connection``.

    Args:
        name: For messages and the log.
        address: Where the server is.
        client: The guarded way to its origin, without a time limit of its own; closed with the connection.
    """

    def __init__(self, name: str, address: Address, client: HttpClient) -> None:
        self.has_changed = False
        self._name = name
        self._address = address
        self._client = client
        self._ids = count(1)
        self._lost: str | None = None
        self._session: str | None = None
        self._protocol: str | None = None
        self._asides: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Task[None] | None = None

    @property
    def lost(self) -> str | None:
        return self._lost

    async def request(self, method: str, params: JsonObject) -> JsonObject:
        if self._lost is not None:
            raise McpFailed(self._lost, LOST, is_retryable=True)
        request_id = next(self._ids)
        try:
            return (await self._ask(request_id, encode_request(request_id, method, params))).unwrap(self._name)
        except asyncio.CancelledError:
            if method != "initialize" and self._lost is None:
                self._aside(self._tell(encode_cancellation(request_id)))
            raise
        except EgressDenied as error:
            raise McpFailed(f"the MCP server {self._name} may not be reached: {error.message}", error.code) from None
        except httpx.HTTPError as error:
            is_away = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            what = "cannot be reached" if is_away else "broke the connection off"
            reason = f"the MCP server {self._name} {what} ({str(error)[:100] or type(error).__name__})"
            self._lost = reason if is_away else None
            raise McpFailed(reason, LOST, is_retryable=is_away) from None

    async def notify(self, method: str) -> None:
        await self._tell(encode_notification(method))

    async def greeted(self, protocol: str) -> None:
        self._protocol = protocol
        await self.notify("notifications/initialized")
        # In a context of its own: it outlives the job whose call opened the connection.
        self._listener = asyncio.get_running_loop().create_task(self._listen(), context=Context())

    async def close(self, *, at_once: bool = False) -> None:
        self._lost = self._lost or "the connection was closed"
        tasks = [task for task in (self._listener, *self._asides) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None and not at_once:
            await self._farewell()
        await self._client.aclose()

    async def _ask(self, request_id: int, message: bytes) -> Answer:
        response = await self._send("POST", message)
        try:
            self._check_status(response)
            self._keep_session(response)
            async for incoming in _messages(response):
                if isinstance(incoming, Answer) and incoming.id == request_id:
                    return incoming
                self._handle(incoming)
        except ValueError as error:
            raise McpFailed(f"the MCP server {self._name} answered something that is no MCP message ({str(error)[:100]})", "mcp_error") from None
        finally:
            await response.aclose()
        raise McpFailed(f"the MCP server {self._name} ended its answer before the result", LOST)

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == HTTPStatus.NOT_FOUND and self._session is not None:
            self._lost = f"the MCP server {self._name} has ended the session"
            raise McpFailed(self._lost, LOST, is_retryable=True)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise McpFailed(
                f"the MCP server {self._name} refused the connection ({status}); an operator must correct its 'headers'", "mcp_unavailable"
            )
        if response.is_redirect:
            raise McpFailed(
                f"the MCP server {self._name} redirects ({status}), which is not followed; an operator must correct its 'url'", "mcp_unavailable"
            )
        if status != HTTPStatus.OK:
            is_retryable = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
            raise McpFailed(f"the MCP server {self._name} answered with status {status}", "mcp_error", is_retryable=is_retryable)

    def _keep_session(self, response: httpx.Response) -> None:
        session = response.headers.get(_SESSION)
        if self._session is None and session and len(session) <= _MAX_SESSION_CHARS and session.isascii() and session.isprintable():
            self._session = session

    async def _send(self, method: str, body: bytes | None = None) -> httpx.Response:
        headers = {**self._address.headers, "accept": _EVENTS if body is None else f"{_JSON}, {_EVENTS}"}
        if body is not None:
            headers["content-type"] = _JSON
        if self._session is not None:
            headers[_SESSION] = self._session
        if self._protocol is not None:
            headers["mcp-protocol-version"] = self._protocol
        request = self._client.build_request(method, self._address.url, headers=headers, content=body)
        return await self._client.send(request, stream=True)

    async def _tell(self, message: bytes) -> None:
        response = await self._send("POST", message)
        await response.aclose()

    def _handle(self, message: Incoming) -> None:
        match message:
            case Ask():
                self._aside(self._tell(encode_reply(message)))
            case Answer():
                pass  # to a request that nobody waits for any more
            case _:
                self.has_changed = self.has_changed or message.method == LIST_CHANGED

    def _aside(self, telling: Coroutine[None, None, None]) -> None:
        """Send beside what is going on; nothing depends on it."""
        if len(self._asides) >= _MAX_ASIDES:
            telling.close()
            return
        task = asyncio.get_running_loop().create_task(self._tried(telling))
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    async def _tried(self, telling: Coroutine[None, None, None]) -> None:
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await telling
        except (httpx.HTTPError, EgressDenied, TimeoutError) as error:
            get_logger(__name__).debug("mcp_aside_failed", server=self._name, error=type(error).__name__)

    async def _listen(self) -> None:
        """Hear what the server says between calls, as long as it lets us; without it a change of its tools is seen at the next connection."""
        failures = 0
        while failures < _MAX_LISTEN_FAILURES:
            try:
                response = await self._send("GET")
                try:
                    if response.status_code != HTTPStatus.OK or not response.headers.get("content-type", "").startswith(_EVENTS):
                        return
                    async for message in _messages(response):
                        failures = 0
                        self._handle(message)
                finally:
                    await response.aclose()
            except (httpx.HTTPError, EgressDenied, ValueError) as error:
                get_logger(__name__).debug("mcp_listening_failed", server=self._name, error=type(error).__name__)
            failures += 1
            await asyncio.sleep(_LISTEN_AGAIN_S)

    async def _farewell(self) -> None:
        with suppress(httpx.HTTPError, EgressDenied, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                response = await self._send("DELETE")
                await response.aclose()


async def _messages(response: httpx.Response) -> AsyncIterator[Incoming]:
    """The messages of an answer. Raises ``ValueError`` for what is none."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == _JSON:
        for message in decode(await response.aread()):
            yield message
        return
    if media_type != _EVENTS:
        raise ValueError(f"its type is {media_type[:50]!r}")
    parser = Parser()
    async for chunk in _to_line_ends(response):
        for frame in parser.feed(chunk):
            if frame.data:
                for message in decode(frame.data.encode()):
                    yield message


async def _to_line_ends(response: httpx.Response) -> AsyncIterator[bytes]:
    """Chunks joined up to the next line end: the parser copies what it holds with every piece, and a long line comes in many."""
    parts: list[bytes] = []
    async for chunk in response.aiter_raw():
        parts.append(chunk)
        if b"\n" in chunk or b"\r" in chunk:
            yield b"".join(parts)
            parts = []
    if parts:
        yield b"".join(parts)
