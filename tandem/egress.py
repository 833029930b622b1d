"""The guarded way out: every address that a caller chose is reached through here.

``check_target`` judges a URL; ``GuardedClient`` judges it again at each request and dials only the literal addresses it has just judged, on a fresh
connection, so neither a rebinding name nor a pooled connection escapes the judgment.

Covered: private, loopback, link-local, shared, reserved, multicast and translated addresses, by literal, by name and by numeric spelling; names
with one bad answer among good ones; redirects (never followed); credentials in URLs; unix sockets; proxies from the environment (never used); slow,
endless, compressed and huge answers. Not covered: what a public host does with the request. The message of a refusal never tells what a name
resolved to; the log does.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import SplitResult, quote, urlsplit

import httpcore
import idna
import structlog
from structlog.typing import FilteringBoundLogger

from tandem.errors import EgressDenied, SettingsInvalid
from tandem.settings import EgressSettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host name; raises ``OSError`` when there are none."""

MAX_URL_CHARS: Final = 2_048
MAX_RESPONSE_BYTES: Final = 65_536
PORTS: Final = frozenset({443, 8443})
CONNECT_TIMEOUT_S: Final = 5.0
_MAX_DIALS: Final = 4

# https://www.iana.org/assignments/iana-ipv4-special-registry, the globally reachable relays included, and multicast.
# Not `ipaddress.is_global`: it lets 192.0.0.192, fec0::, 6to4 and ::/96 pass in some Python versions.
_FORBIDDEN_V4: Final = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Global unicast only (https://www.iana.org/assignments/ipv6-address-space); mapped, compatible, NAT64, ULA, link- and site-local lie outside of it.
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_FORBIDDEN_V6: Final = tuple(
    ipaddress.IPv6Network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")  # IETF and Teredo, examples, 6to4, AS112, examples
)
_NAME: Final = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_URL_SAFE: Final = "%/:?[]@!$&'()*+,;=~"

# Not by way of tandem.telemetry, which lies beside this module in the layers.
_log = cast("FilteringBoundLogger", structlog.get_logger(logger_name=__name__))


@dataclass(frozen=True, slots=True)
class AllowList:
    """What the operator lets through although it is private, and over plain http on any port."""

    hosts: frozenset[str]
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "AllowList":
        """Read CIDRs, addresses and host names.

        Raises:
            SettingsInvalid: An entry is none of these.
        """
        hosts: set[str] = set()
        networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                hosts.add(_allowed_host(entry))
        return cls(frozenset(hosts), tuple(networks))

    def covers(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Target:
    """A judged URL: only ``addresses`` may be dialled for it."""

    scheme: str
    host: str
    port: int
    path: str
    """Path and query, as sent."""
    addresses: tuple[Address, ...]

    @property
    def authority(self) -> str:
        """The ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, cut at the limit; the body is raw, never decompressed."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    is_truncated: bool


async def resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


async def check_target(url: str, settings: EgressSettings, resolver: Resolver = resolve) -> Target:
    """Judge a URL: its form, and every address its host has at this moment.

    Raises:
        EgressDenied: It may not be reached from here.
        SettingsInvalid: The operator's allow list is malformed.
    """
    return await _judge(url, AllowList.parse(settings.allow), resolver)


class GuardedClient:
    """Posts to addresses that callers chose. Holds no connections between requests.

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
        self._backend = backend or cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
        self._ssl_context = ssl_context or httpcore.default_ssl_context()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, max_response_bytes: int = MAX_RESPONSE_BYTES) -> Response:
        """One POST, start to end within the configured seconds. A redirect is returned as it came.

        Raises:
            EgressDenied: The target may not be reached.
            TimeoutError: It took too long, in whole.
            ConnectionError: The connection failed, TLS did, or the answer was no HTTP.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                target = await _judge(url, self._allow, self._resolver)
                return await self._send(target, headers, body, max_response_bytes)
        except httpcore.TimeoutException as error:
            raise TimeoutError(type(error).__name__) from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            # Without the text: it may hold the address.
            raise ConnectionError(type(error).__name__) from None

    async def _send(self, target: Target, headers: Mapping[str, str], body: bytes, max_response_bytes: int) -> Response:
        ours = {"host": target.authority, "content-length": str(len(body)), "accept-encoding": "identity", "connection": "close"}
        sent = [(name.encode("ascii"), value.encode("ascii")) for name, value in ({**{k.lower(): v for k, v in headers.items()}, **ours}).items()]
        url = httpcore.URL(scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode())
        # A pool for this one request: a kept connection would skip the judgment.
        pool = httpcore.AsyncConnectionPool(ssl_context=self._ssl_context, network_backend=PinnedBackend(target, self._backend), max_connections=1)
        timeouts = {"timeout": {"connect": CONNECT_TIMEOUT_S}}
        async with pool, pool.stream("POST", url, headers=sent, content=body, extensions=timeouts) as response:
            content, is_truncated = await _read(response, max_response_bytes)
            names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            return Response(response.status, names, content, is_truncated)


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Dials the judged addresses of one target and nothing else."""

    def __init__(self, target: Target, inner: httpcore.AsyncNetworkBackend) -> None:
        self._target = target
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if (host, port) != (self._target.host, self._target.port):
            raise EgressDenied(f"a connection to {host!r} was asked for, which was not judged")
        failure: httpcore.ConnectError | httpcore.ConnectTimeout = httpcore.ConnectError("no address")
        for address in self._target.addresses[:_MAX_DIALS]:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002 - the signature is httpcore's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        raise EgressDenied(f"unix sockets such as {path!r} are never dialled")


async def _read(response: httpcore.Response, limit: int) -> tuple[bytes, bool]:
    content = bytearray()
    async for chunk in response.aiter_stream():
        content += chunk
        if len(content) > limit:
            return bytes(content[:limit]), True
    return bytes(content), False


async def _judge(url: str, allow: AllowList, resolver: Resolver) -> Target:
    parts = _split(url)
    host = _ascii_host(parts.hostname or "")
    literal = _literal(host)
    try:
        port = parts.port if parts.port is not None else (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise EgressDenied("the URL's port is not a number from 1 to 65535") from None
    addresses = (literal,) if literal else await _addresses(host, port, resolver)
    is_listed = host in allow.hosts or all(allow.covers(address) for address in addresses)
    if not is_listed:
        _require_public_form(parts.scheme, port)
    for address in addresses:
        if not (is_listed or allow.covers(address) or is_public(address)):
            _log.warning("egress_denied", host=host, address=str(address), rule="not_public")
            raise _unreachable(host)
    path = quote(parts.path or "/", safe=_URL_SAFE) + (f"?{quote(parts.query, safe=_URL_SAFE)}" if parts.query else "")
    return Target(parts.scheme, host, port, path, addresses)


def is_public(address: Address) -> bool:
    """Whether the address is ordinary public unicast, by explicit tables."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in block for block in _FORBIDDEN_V4)
    return address.scope_id is None and address in _GLOBAL_V6 and not any(address in block for block in _FORBIDDEN_V6)


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_CHARS:
        raise EgressDenied(f"the URL has {len(url)} characters; at most {MAX_URL_CHARS} are allowed")
    if _UNSAFE.search(url):
        raise EgressDenied("the URL holds a space, a control character or a backslash; percent-encode it")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise EgressDenied("the URL cannot be parsed; it must look like 'https://host/path'") from None
    if parts.scheme not in {"https", "http"}:
        raise EgressDenied(f"the scheme {parts.scheme[:32]!r} is not allowed; use 'https'")
    if "@" in parts.netloc:
        raise EgressDenied("the URL holds credentials; leave them out and verify the signature instead")
    return parts


def _require_public_form(scheme: str, port: int) -> None:
    if scheme != "https":
        raise EgressDenied("plain http is allowed for hosts in TANDEM_EGRESS_ALLOW only; use 'https'")
    if port not in PORTS:
        raise EgressDenied(f"port {port} is allowed for hosts in TANDEM_EGRESS_ALLOW only; use one of {sorted(PORTS)}")


def _ascii_host(host: str) -> str:
    """The host in lower-case ASCII without its final dot; literals of IPv6 without brackets."""
    if ":" in host:
        return host
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise EgressDenied(f"the host {host[:64]!r} is not a valid internationalised name") from None
    name = name.lower().removesuffix(".")
    if not _NAME.fullmatch(name):
        raise EgressDenied(f"the host {host[:64]!r} is not a valid name or address")
    return name


def _literal(host: str) -> Address | None:
    """The address a host spells, or None for a name. Odd spellings (decimal, octal, hex, short), which resolvers read differently, are refused."""
    if ":" not in host and not _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise EgressDenied(f"the address {host[:64]!r} is not in its canonical form; write it like '203.0.113.7'") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise EgressDenied("addresses with a zone are never reached")
    return address


async def _addresses(host: str, port: int, resolver: Resolver) -> tuple[Address, ...]:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            found = await resolver(host, port)
        addresses = tuple(dict.fromkeys(ipaddress.ip_address(text) for text in found))
    except (OSError, TimeoutError, ValueError) as error:
        _log.warning("egress_denied", host=host, rule="unresolved", error=type(error).__name__)
        raise _unreachable(host) from None
    if not addresses:
        _log.warning("egress_denied", host=host, rule="unresolved")
        raise _unreachable(host)
    return addresses


def _unreachable(host: str) -> EgressDenied:
    """One message for "private" and for "unknown": the difference would map the inner network."""
    return EgressDenied(f"the host {host[:64]!r} has no address that may be reached from here; an operator can list it in TANDEM_EGRESS_ALLOW")


def _allowed_host(entry: str) -> str:
    fault = SettingsInvalid(
        f"TANDEM_EGRESS_ALLOW (egress.allow): {entry!r} is neither a CIDR without host bits (10.0.0.0/8), an address, nor a host name"
        " (without scheme, port or wildcard)"
    )
    if ":" in entry:
        raise fault
    try:
        host = _ascii_host(entry)
        _literal(host)
    except EgressDenied:
        raise fault from None
    return host


__all__ = ["AllowList", "GuardedClient", "PinnedBackend", "Resolver", "Response", "Target", "check_target", "is_public", "resolve"]
