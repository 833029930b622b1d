"""One request to one judged target, on a fresh connection to a literal address.

A kept connection would skip the judgment, so there is none. Knows nothing of redirects, limits or bodies; unix sockets and proxies are never used.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httpcore

from tandem.egress.judgement import Target
from tandem.egress.watch import Reached, Watch, note
from tandem.errors import EgressDenied

CONNECT_TIMEOUT_S: Final = 5.0
_MAX_DIALS: Final = 4


class Tally:
    """What went over one target's connections: bytes inside of TLS, and the address dialled last."""

    __slots__ = ("address", "bytes_in", "bytes_out")

    def __init__(self) -> None:
        self.address: str | None = None
        self.bytes_in = 0
        self.bytes_out = 0


class CountedStream(httpcore.AsyncNetworkStream):
    """A connection whose bytes are counted."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, tally: Tally) -> None:
        self._inner = inner
        self._tally = tally

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        content = await self._inner.read(max_bytes, timeout)
        self._tally.bytes_in += len(content)
        return content

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._tally.bytes_out += len(buffer)
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return CountedStream(await self._inner.start_tls(ssl_context, server_hostname, timeout), self._tally)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Dials the judged addresses of one target and nothing else."""

    def __init__(self, target: Target, inner: httpcore.AsyncNetworkBackend, tally: Tally | None = None) -> None:
        self._target = target
        self._inner = inner
        self._tally = tally or Tally()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if (host, port) != (self._target.host, self._target.port):
            raise EgressDenied(f"a connection to {host!r} was asked for, which was not judged", rule="not_judged")
        failure: httpcore.ConnectError | httpcore.ConnectTimeout = httpcore.ConnectError("no address")
        for address in self._target.addresses[:_MAX_DIALS]:
            self._tally.address = str(address)
            try:
                stream = await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return CountedStream(stream, self._tally)
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002 - the signature is httpcore's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        raise EgressDenied(f"unix sockets such as {path!r} are never dialled", rule="unix_socket")


class Dialler:
    """Opens one exchange at a time with judged targets.

    Args:
        backend: Opens the connections; given literal addresses only.
        ssl_context: Certificates to trust.
    """

    def __init__(self, backend: httpcore.AsyncNetworkBackend, ssl_context: ssl.SSLContext) -> None:
        self._backend = backend
        self._ssl_context = ssl_context

    @asynccontextmanager
    async def exchange(
        self,
        target: Target,
        method: str,
        headers: Sequence[tuple[bytes, bytes]],
        content: bytes | AsyncIterator[bytes],
        watch: Watch | None,
        timeouts: Mapping[str, float | None] | None = None,
    ) -> AsyncGenerator[httpcore.Response]:
        """Send a request; the answer's body is read inside. Whatever happens, the watch is told once the connection is closed."""
        tally, status, clock = Tally(), None, asyncio.get_running_loop().time
        url = httpcore.URL(scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode())
        pinned = PinnedBackend(target, self._backend, tally)
        pool = httpcore.AsyncConnectionPool(ssl_context=self._ssl_context, network_backend=pinned, max_connections=1)
        extensions = {"timeout": {"connect": CONNECT_TIMEOUT_S, **(timeouts or {})}}
        started = clock()
        try:
            async with pool, pool.stream(method, url, headers=list(headers), content=content, extensions=extensions) as response:
                status = response.status
                yield response
        finally:
            spent = clock() - started
            note(
                watch,
                Reached(
                    target.host,
                    tally.address,
                    target.port,
                    target.permit,
                    bytes_out=tally.bytes_out,
                    bytes_in=tally.bytes_in,
                    seconds=spent,
                    status=status,
                ),
            )


__all__ = ["CONNECT_TIMEOUT_S", "Dialler", "PinnedBackend", "Tally"]
