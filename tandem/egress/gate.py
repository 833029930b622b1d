"""Judging and dialling in one place: whoever sends a request has a judged target and a fresh connection to it.

A kept connection would skip the judgment, so there is none. Knows nothing of redirects, limits or bodies; proxies are never used.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import httpcore

from tandem.egress.addresses import AllowList
from tandem.egress.dialling import PinnedBackend, Tally
from tandem.egress.judgement import EgressRules, Resolver, Target, judge
from tandem.egress.watch import Reached, Watch, note

CONNECT_TIMEOUT_S: Final = 5.0
FRAMING: Final = frozenset({
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
})
"""Headers that decide how a message is read or where it goes: nobody but this package sets them."""


class Gate:
    """Opens one exchange at a time with judged targets.

    Args:
        allow: What the operator lets through.
        resolver: Name resolution.
        backend: Opens the connections; given literal addresses only.
        ssl_context: Certificates to trust.
    """

    def __init__(self, allow: AllowList, resolver: Resolver, backend: httpcore.AsyncNetworkBackend, ssl_context: ssl.SSLContext) -> None:
        self._allow = allow
        self._resolver = resolver
        self._backend = backend
        self._ssl_context = ssl_context

    async def judge(self, url: str, rules: EgressRules, watch: Watch | None) -> Target:
        """The target of a URL. Raises ``EgressDenied``."""
        return await judge(url, rules, self._allow, self._resolver, watch)

    @asynccontextmanager
    async def exchange(
        self,
        target: Target,
        method: str,
        headers: Sequence[tuple[bytes, bytes]],
        content: bytes | AsyncIterator[bytes] | None,
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
            reached = Reached(target.host, tally.address, target.port, target.permit, status=status)
            note(watch, replace(reached, bytes_out=tally.bytes_out, bytes_in=tally.bytes_in, seconds=clock() - started))


__all__ = ["CONNECT_TIMEOUT_S", "FRAMING", "Gate"]
