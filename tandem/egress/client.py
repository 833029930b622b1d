"""The guarded client: whole requests with a bounded time, a bounded answer and judged redirects.

Knows no tool and no tenant; what was reached is told to whoever watches (``watched``).
"""

import asyncio
import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

import httpcore

from tandem.egress.addresses import AllowList
from tandem.egress.bodies import ACCEPTED, BoundedBody
from tandem.egress.dialling import Dialler
from tandem.egress.judgement import PUBLIC_WEB, WEBHOOKS, EgressRules, Resolver, Target, judge, resolve
from tandem.egress.redirects import Hop, next_hop
from tandem.egress.watch import Reached, Watch, current_watch, note
from tandem.errors import EgressDenied
from tandem.settings import EgressSettings

MAX_RESPONSE_BYTES: Final = 65_536
USER_AGENT: Final = "Tandem/1"
"""Of a fetch whose caller names none."""
# Whoever sets one of these decides how the message is framed or where it goes; that is ours to do.
_OURS: Final = frozenset({
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


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one fetch may take, redirects included."""

    timeout_s: float | None = None
    """Total seconds; never more than ``TANDEM_EGRESS_TIMEOUT_S``, which is taken when None."""
    max_bytes: int = 1_048_576
    """Longest body, decompressed; a longer one is cut and marked."""
    max_redirects: int = 5
    """0 returns a redirect as it came."""


FETCH_LIMITS: Final = FetchLimits()


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, cut at the limit."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """Decompressed by ``fetch``, raw from ``post``."""
    is_truncated: bool
    url: str = ""
    """Where it came from in the end, as it was sent."""


class GuardedClient:
    """Requests to addresses that callers, models or strangers' pages chose. Holds no connections between requests.

    Args:
        settings: Allow list and total time of a request.
        resolver: Name resolution.
        backend: Opens the connections; given literal addresses only.
        ssl_context: Certificates to trust; the system's and certifi's when None.
    """

    def __init__(
        self,
        settings: EgressSettings,
        *,
        resolver: Resolver = resolve,
        backend: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._allow = AllowList.parse(settings.allow)
        self._timeout_s = settings.timeout_s
        self._resolver = resolver
        opener = backend or cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
        self._dialler = Dialler(opener, ssl_context or httpcore.default_ssl_context())

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, max_response_bytes: int = MAX_RESPONSE_BYTES) -> Response:
        """One POST, start to end within the configured seconds. A redirect is returned as it came, and nothing is decompressed.

        Raises:
            EgressDenied: The target may not be reached.
            TimeoutError: It took too long, in whole.
            ConnectionError: The connection failed, TLS did, or the answer was no HTTP.
        """
        watch = current_watch()
        with translated():
            async with asyncio.timeout(self._timeout_s):
                target = await judge(url, WEBHOOKS, self._allow, self._resolver, watch)
                hop = Hop("POST", url, {name.lower(): value for name, value in headers.items()}, body)
                return await self._send(target, hop, max_response_bytes, watch, is_raw=True)

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        rules: EgressRules = PUBLIC_WEB,
        limits: FetchLimits = FETCH_LIMITS,
    ) -> Response:
        """One request with its redirects, start to end within the limits. Headers that frame the message (``Host``, ``Content-Length``) are ours.

        Raises:
            EgressDenied: The target, or one it redirects to, may not be reached.
            TimeoutError: It took too long, in whole.
            ConnectionError: The connection failed, TLS did, the answer was no HTTP or was encoded in a way that was not asked for, or redirects had
                no end.
        """
        watch = current_watch()
        timeout_s = min(limits.timeout_s or self._timeout_s, self._timeout_s)
        hop = Hop(method.upper(), url, {"user-agent": USER_AGENT, **{name.lower(): value for name, value in (headers or {}).items()}}, body)
        with translated():
            async with asyncio.timeout(timeout_s):
                return await self._follow(hop, rules, limits, watch)

    async def _follow(self, hop: Hop, rules: EgressRules, limits: FetchLimits, watch: Watch | None) -> Response:
        for _ in range(limits.max_redirects + 1):
            target = await judge(hop.url, rules, self._allow, self._resolver, watch)
            response = await self._send(target, hop, limits.max_bytes, watch)
            location = response.headers.get("location")
            try:
                following = next_hop(hop, target, response.status, location) if limits.max_redirects else None
            except EgressDenied as error:
                note(watch, Reached(target.host, None, target.port, error.rule, is_refused=True))
                raise
            if following is None:
                return response
            hop = following
        raise ConnectionError(f"the server redirects more than {limits.max_redirects} times")

    async def _send(self, target: Target, hop: Hop, max_bytes: int, watch: Watch | None, *, is_raw: bool = False) -> Response:
        ours = {"host": target.authority, "accept-encoding": "identity" if is_raw else ACCEPTED, "connection": "close"}
        if hop.body is not None:
            ours["content-length"] = str(len(hop.body))
        headers = {**{name: value for name, value in hop.headers.items() if name not in _OURS}, **ours}
        sent = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        async with self._dialler.exchange(target, hop.method, sent, hop.body or b"", watch) as response:
            names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            collected = BoundedBody("" if is_raw else names.get("content-encoding", ""), max_bytes)
            async for chunk in response.aiter_stream():
                collected.feed(chunk)
                if collected.is_full:
                    break
        content, is_truncated = collected.finish()
        return Response(response.status, names, content, is_truncated, target.url)


@contextmanager
def translated() -> Generator[None]:
    """Our errors for httpcore's, without their texts, which may hold an address."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise TimeoutError(type(error).__name__) from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise ConnectionError(type(error).__name__) from None


__all__ = ["FETCH_LIMITS", "MAX_RESPONSE_BYTES", "USER_AGENT", "FetchLimits", "GuardedClient", "Response", "translated"]
