"""Connections to the literal addresses of one judged target, and what goes over them in numbers.

Knows nothing of requests; unix sockets are never dialled.
"""

import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore

from tandem.egress.judgement import Target
from tandem.errors import EgressDenied

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


__all__ = ["PinnedBackend", "Tally"]
