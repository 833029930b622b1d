"""The guarded client: whole requests with a bounded time, a bounded answer and judged redirects.

Knows no tool and no tenant; what was reached is told to whoever watches (``watched``).
"""

import asyncio
import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, cast

import httpcore
import httpx

from tandem.egress.addresses import AllowList
from tandem.egress.bodies import ACCEPTED, BoundedBody
from tandem.egress.gate import FRAMING, Gate
from tandem.egress.judgement import PUBLIC_WEB, WEBHOOKS, EgressRules, Resolver, Target, origin_of, resolve, tell_refusal
from tandem.egress.redirects import Hop, next_hop
from tandem.egress.secrets import Secret, SecretBook, may_carry
from tandem.egress.transport import MAX_STREAMED_BYTES, GuardedTransport
from tandem.egress.watch import Reached, Watch, current_watch
from tandem.errors import EgressDenied
from tandem.settings import EgressSettings

MAX_RESPONSE_BYTES: Final = 65_536
USER_AGENT: Final = "Tandem/1"
"""Of a fetch whose caller names none."""


HttpClient = httpx.AsyncClient
"""What ``GuardedClient.http_client`` gives: only this package makes one, anybody may hold one."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one fetch may take, redirects included."""

    timeout_s: float | None = None
    """Total seconds; never more than ``TANDEM_EGRESS_TIMEOUT_S``, which is taken when None."""
    max_bytes: int = 1_048_576
    """Longest body, decompressed; a longer one is cut and marked."""
    max_redirects: int = 5
    """0 returns a redirect as it came."""
    may_leave_host: bool = True
    """Whether a redirect may lead to another host; the same host's other scheme is no other."""


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
        self._timeout_s = settings.timeout_s
        opener = backend or cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
        self._gate = Gate(AllowList.parse(settings.allow), resolver, opener, ssl_context or httpcore.default_ssl_context())

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
                target = await self._gate.judge(url, WEBHOOKS, watch)
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
        secrets: SecretBook | None = None,
    ) -> Response:
        """One request with its redirects, start to end within the limits. Headers that frame the message (``Host``, ``Content-Length``) are ours.

        With a book of secrets only what the book lists is sent, redirects included; a listed host gets its secret, which is masked in the answer.

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
                return await self._follow(hop, rules, limits, watch, secrets)

    def http_client(
        self,
        *,
        rules: EgressRules = PUBLIC_WEB,
        headers: Mapping[str, str] | None = None,
        timeout: httpx.Timeout | None = None,
        auth: httpx.Auth | None = None,
        max_response_bytes: int = MAX_STREAMED_BYTES,
        watch: Watch | None = None,
    ) -> httpx.AsyncClient:
        """A client for a library that brings httpx, such as the MCP SDK: no redirects, nothing from the environment. The total time is the caller's.

        Args:
            rules: Where it may go; ``operated(url, setting)`` for the one server an operator named.
            headers: Sent with each request.
            timeout: Per operation; reading from a stream may have none.
            auth: Of httpx.
            max_response_bytes: Longest single answer.
            watch: Who is told what was reached, when requests are sent by other tasks than the one that watches.
        """
        transport = GuardedTransport(self._gate, rules, max_response_bytes=max_response_bytes, watch=watch)
        patience = timeout or httpx.Timeout(self._timeout_s)
        return httpx.AsyncClient(transport=transport, headers=headers, timeout=patience, auth=auth, trust_env=False, follow_redirects=False)

    async def _follow(self, hop: Hop, rules: EgressRules, limits: FetchLimits, watch: Watch | None, secrets: SecretBook | None) -> Response:
        for _ in range(limits.max_redirects + 1):
            with _told(watch, hop.url):
                secret = secrets.admit(hop.method, hop.url) if secrets is not None else None
            target = await self._gate.judge(hop.url, rules, watch)
            with _told(watch, hop.url):
                if secret and hop.is_home and not may_carry(target):
                    raise EgressDenied("this host gets a secret, which is never sent over plain http; use 'https'", rule="scheme")
            response = await self._send(target, hop, limits.max_bytes, watch, secret=secret if hop.is_home else None)
            with _told(watch, hop.url):
                following = _following(hop, target, response, limits) if limits.max_redirects else None
            if following is None:
                return response
            hop = following
        raise ConnectionError(f"the server redirects more than {limits.max_redirects} times")

    async def _send(
        self, target: Target, hop: Hop, max_bytes: int, watch: Watch | None, *, is_raw: bool = False, secret: Secret | None = None
    ) -> Response:
        ours = {"host": target.authority, "accept-encoding": "identity" if is_raw else ACCEPTED, "connection": "close"}
        if hop.body is not None:
            ours["content-length"] = str(len(hop.body))
        if secret is not None:
            ours[secret.header] = secret.value
        headers = {**{name: value for name, value in hop.headers.items() if name not in FRAMING}, **ours}
        sent = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        async with self._gate.exchange(target, hop.method, sent, hop.body, watch) as response:
            names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            # A little more than is kept, so that no secret is cut in two and escapes its mask.
            collected = BoundedBody("" if is_raw else names.get("content-encoding", ""), max_bytes + (secret.longest if secret else 0))
            async for chunk in response.aiter_stream():
                collected.feed(chunk)
                if collected.is_full:
                    break
        content, is_truncated = collected.finish()
        if secret is not None:
            content = secret.masked(content)[: -secret.longest if is_truncated else None]
            names = {name: secret.masked(value.encode("latin-1")).decode("latin-1") for name, value in names.items()}
        return Response(response.status, names, content[:max_bytes], is_truncated or len(content) > max_bytes, target.url)


@contextmanager
def _told(watch: Watch | None, url: str) -> Generator[None]:
    """Tell of a refusal that comes before or after a judgment, with the host that was to be asked or that redirects."""
    try:
        yield
    except EgressDenied as error:
        host, port = "", None
        with suppress(EgressDenied):  # a URL without a readable host is refused for that
            origin = origin_of(url)
            host, port = origin.host, origin.port
        tell_refusal(watch, Reached(host, None, port, error.rule, is_refused=True))
        raise


@contextmanager
def translated() -> Generator[None]:
    """Our errors for httpcore's, without their texts, which may hold an address."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise TimeoutError(type(error).__name__) from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise ConnectionError(type(error).__name__) from None


def _following(hop: Hop, target: Target, response: Response, limits: FetchLimits) -> Hop | None:
    following = next_hop(hop, target, response.status, response.headers.get("location"))
    if following is not None and not limits.may_leave_host and origin_of(following.url).host != target.host:
        raise EgressDenied("the server redirects to another host, where this request may not go; ask for that address itself", rule="redirect")
    return following


__all__ = ["FETCH_LIMITS", "MAX_RESPONSE_BYTES", "USER_AGENT", "FetchLimits", "GuardedClient", "HttpClient", "Response", "translated"]
