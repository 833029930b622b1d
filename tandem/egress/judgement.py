"""Judges a URL: its form, its scheme and port, and every address its host has at this moment.

Knows nothing of requests and opens no connection. The message of a refusal never tells what a name resolved to; the log and the watch do.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast
from urllib.parse import SplitResult, quote, urlsplit

import structlog
from structlog.typing import FilteringBoundLogger

from tandem.egress.addresses import Address, AllowList, ascii_host, is_private, is_public, literal
from tandem.egress.watch import Reached, Watch, current_watch, note
from tandem.errors import EgressDenied, SettingsInvalid
from tandem.settings import EgressSettings

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host name; raises ``OSError`` when there are none."""
Permit = Literal["public", "allow_list", "operated"]
"""Why a target may be reached: it is public, ``TANDEM_EGRESS_ALLOW`` lists it, or the operator named this very origin for this caller."""

MAX_URL_CHARS: Final = 2_048
RESOLVE_TIMEOUT_S: Final = 5.0
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_URL_SAFE: Final = "%/:?[]@!$&'()*+,;=~"

# Not by way of tandem.telemetry, which lies beside this package in the layers.
_log = cast("FilteringBoundLogger", structlog.get_logger(logger_name=__name__))


@dataclass(frozen=True, slots=True)
class Origin:
    """What a browser would call the same site."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class EgressRules:
    """Where one kind of caller may go. What the operator lists in ``TANDEM_EGRESS_ALLOW`` may be reached beyond that, over http and on any port."""

    https: frozenset[int] = frozenset()
    """Ports of public hosts over https."""
    http: frozenset[int] = frozenset()
    """Ports of public hosts over plain http; none forbids it."""
    operated: frozenset[Origin] = frozenset()
    """Origins that the operator named for this caller: they are reached although private or on odd ports, but never at link-local, translated or
    reserved addresses."""


WEBHOOKS: Final = EgressRules(https=frozenset({443, 8443}))
PUBLIC_WEB: Final = EgressRules(https=frozenset({443}), http=frozenset({80}))


@dataclass(frozen=True, slots=True)
class Target:
    """A judged URL: only ``addresses`` may be dialled for it."""

    scheme: str
    host: str
    port: int
    path: str
    """Path and query, as sent."""
    addresses: tuple[Address, ...]
    permit: Permit = "public"

    @property
    def origin(self) -> Origin:
        return Origin(self.scheme, self.host, self.port)

    @property
    def authority(self) -> str:
        """The ``Host`` header."""
        return self.origin.authority

    @property
    def url(self) -> str:
        """The URL as it is sent: host in ASCII, path escaped, no fragment."""
        return f"{self.scheme}://{self.authority}{self.path}"


async def resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


async def check_target(url: str, settings: EgressSettings, resolver: Resolver = resolve, rules: EgressRules = WEBHOOKS) -> Target:
    """Judge a URL that is to be reached later.

    Raises:
        EgressDenied: It may not be reached from here.
        SettingsInvalid: The operator's allow list is malformed.
    """
    return await judge(url, rules, AllowList.parse(settings.allow), resolver, current_watch())


def operated(url: str, setting: str) -> EgressRules:
    """Rules for a server the operator named, such as a search engine on loopback: its origin, and nothing else in the public web.

    Args:
        url: Its base URL.
        setting: Where the operator wrote it, for the message.

    Raises:
        SettingsInvalid: It is no http or https URL, or holds credentials.
    """
    try:
        return EgressRules(operated=frozenset({origin_of(url)}))
    except EgressDenied as error:
        raise SettingsInvalid(f"{setting}: {error.message}") from None


async def judge(url: str, rules: EgressRules, allow: AllowList, resolver: Resolver, watch: Watch | None = None) -> Target:
    """The target of a URL; refusals are logged, and told to the watch. Raises ``EgressDenied``."""
    host, port, culprit = "", None, None
    try:
        parts = _split(url)
        host = ascii_host(parts.hostname or "")
        spelled = literal(host)
        port = _port(parts)
        origin = Origin(parts.scheme, host, port)
        if not allow.networks and _permit(origin, (), rules, allow) == "public":
            # Before its name is asked for: a question to a name server can carry data out.
            _require_public_form(origin, rules)
        addresses = (spelled,) if spelled else await _addresses(host, port, resolver)
        permit = _permit(origin, addresses, rules, allow)
        if permit == "public":
            _require_public_form(origin, rules)
        if permit != "allow_list":
            fit = (is_public, is_private) if permit == "operated" else (is_public,)
            culprit = next((each for each in addresses if not (allow.covers(each) or any(test(each) for test in fit))), None)
            if culprit:
                raise _unreachable(host, "not_public")
    except EgressDenied as error:
        tell_refusal(watch, Reached(host, str(culprit) if culprit else None, port, error.rule, is_refused=True))
        raise
    path = quote(parts.path or "/", safe=_URL_SAFE) + (f"?{quote(parts.query, safe=_URL_SAFE)}" if parts.query else "")
    return Target(parts.scheme, host, port, path, addresses, permit)


def tell_refusal(watch: Watch | None, refused: Reached) -> None:
    """Log what was not let out, and tell the watch."""
    _log.warning("egress_denied", host=refused.host[:64], address=refused.address, port=refused.port, rule=refused.rule)
    note(watch, refused)


def origin_of(url: str) -> Origin:
    """The origin a URL has by its form alone. Raises ``EgressDenied``."""
    parts = _split(url)
    host = ascii_host(parts.hostname or "")
    literal(host)
    return Origin(parts.scheme, host, _port(parts))


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
        raise EgressDenied(f"the scheme {parts.scheme[:32]!r} is not allowed; use 'https'", rule="scheme")
    if "@" in parts.netloc:
        raise EgressDenied("the URL holds credentials; leave them out, whoever receives it must not learn them", rule="credentials")
    return parts


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        raise EgressDenied("the URL's port is not a number from 1 to 65535", rule="port") from None
    return port if port is not None else (443 if parts.scheme == "https" else 80)


def _permit(origin: Origin, addresses: Sequence[Address], rules: EgressRules, allow: AllowList) -> Permit:
    if origin in rules.operated:
        return "operated"
    if origin.host in allow.hosts or (addresses and all(allow.covers(address) for address in addresses)):
        return "allow_list"
    return "public"


def _require_public_form(origin: Origin, rules: EgressRules) -> None:
    ports = rules.https if origin.scheme == "https" else rules.http
    if not ports and origin.scheme == "http" and rules.https:
        raise EgressDenied("plain http is allowed for hosts in TANDEM_EGRESS_ALLOW only; use 'https'", rule="scheme")
    if not ports:
        raise EgressDenied("only the server that the operator named may be reached by this tool", rule="not_operated")
    if origin.port not in ports:
        raise EgressDenied(f"port {origin.port} is allowed for hosts in TANDEM_EGRESS_ALLOW only; use one of {sorted(ports)}", rule="port")


async def _addresses(host: str, port: int, resolver: Resolver) -> tuple[Address, ...]:
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await resolver(host, port)
        addresses = tuple(dict.fromkeys(ipaddress.ip_address(text) for text in found))
    except (OSError, TimeoutError, ValueError) as error:
        _log.warning("egress_unresolved", host=host, error=type(error).__name__)
        raise _unreachable(host, "unresolved") from None
    if not addresses:
        raise _unreachable(host, "unresolved")
    return addresses


def _unreachable(host: str, rule: str) -> EgressDenied:
    """One message for "private" and for "unknown": the difference would map the inner network."""
    return EgressDenied(
        f"the host {host[:64]!r} has no address that may be reached from here; an operator can list it in TANDEM_EGRESS_ALLOW", rule=rule
    )


__all__ = [
    "PUBLIC_WEB",
    "WEBHOOKS",
    "EgressRules",
    "Origin",
    "Permit",
    "Resolver",
    "Target",
    "check_target",
    "judge",
    "operated",
    "origin_of",
    "resolve",
    "tell_refusal",
]
