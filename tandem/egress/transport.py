"""The guarded way out for libraries that bring httpx: every request is judged and gets a fresh connection; both bodies are streamed.

Covered: the judgment of ``GuardedClient``, also for each redirect that a library follows itself; the length of one answer; compressed answers (not
asked for, and refused). Not covered: the total time, which is the caller's to bound, because a stream may stay open on purpose.
"""

from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Final, cast

import httpcore
import httpx

from tandem.egress.gate import CONNECT_TIMEOUT_S, FRAMING, Gate
from tandem.egress.judgement import EgressRules
from tandem.egress.watch import Watch, current_watch

MAX_STREAMED_BYTES: Final = 16_777_216
"""Longest single answer, an event stream included; whoever needs more reconnects."""
_ERRORS: Final[Mapping[type, type[httpx.TransportError]]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.TimeoutException: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.NetworkError: httpx.NetworkError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.ProtocolError: httpx.RemoteProtocolError,
}
_OF_BODY: Final = frozenset({"content-length", "transfer-encoding"})


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends an httpx client's requests where they may go. Raises ``EgressDenied`` where not, httpx's own errors for what a connection does.

    Args:
        gate: Judges and dials.
        rules: Where this client may go.
        max_response_bytes: Longest single answer.
        watch: Who is told what was reached; whoever watches the calling task when None.
    """

    def __init__(self, gate: Gate, rules: EgressRules, *, max_response_bytes: int = MAX_STREAMED_BYTES, watch: Watch | None = None) -> None:
        self._gate = gate
        self._rules = rules
        self._max_response_bytes = max_response_bytes
        self._watch = watch

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        watch = self._watch or current_watch()
        target = await self._gate.judge(str(request.url), self._rules, watch)
        # The framing of a streamed body (its length, or that it comes in chunks) is the library's.
        headers = [(name, value) for name, value in request.headers.raw if name.decode("latin-1").lower() not in FRAMING - _OF_BODY]
        headers += [(b"host", target.authority.encode()), (b"accept-encoding", b"identity"), (b"connection", b"close")]
        timeouts = {**request.extensions.get("timeout", {}), "connect": CONNECT_TIMEOUT_S}
        connection = AsyncExitStack()
        with _as_httpx(request):
            response = await connection.enter_async_context(self._gate.exchange(target, request.method, headers, _parts(request), watch, timeouts))
        answer = httpx.Response(response.status, headers=response.headers, stream=_Answer(request, response, connection, self._max_response_bytes))
        if (encoding := answer.headers.get("content-encoding", "identity").lower()) != "identity":
            await connection.aclose()
            raise httpx.DecodingError(f"the answer is encoded as {encoding[:32]!r}, which was not asked for", request=request)
        return answer


class _Answer(httpx.AsyncByteStream):
    """The body of an answer, whose connection lives as long as it is read."""

    def __init__(self, request: httpx.Request, response: httpcore.Response, connection: AsyncExitStack, limit: int) -> None:
        self._request = request
        self._response = response
        self._connection = connection
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        with _as_httpx(self._request):
            async for chunk in self._response.aiter_stream():
                size += len(chunk)
                if size > self._limit:
                    raise httpx.ReadError(f"the answer is longer than {self._limit} bytes", request=self._request)
                yield chunk

    async def aclose(self) -> None:
        await self._connection.aclose()


async def _parts(request: httpx.Request) -> AsyncIterator[bytes]:
    async for part in cast("httpx.AsyncByteStream", request.stream):
        yield part


@contextmanager
def _as_httpx(request: httpx.Request) -> Generator[None]:
    """The errors of httpx for those of httpcore, without their texts, which may hold an address."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        kind = next(_ERRORS[ours] for ours in type(error).__mro__ if ours in _ERRORS)
        raise kind(type(error).__name__, request=request) from None


__all__ = ["MAX_STREAMED_BYTES", "GuardedTransport"]
