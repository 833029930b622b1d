"""What both clients share of httpx: building requests, options, and the translation of its errors. No logic of any door."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, TypedDict
from urllib.parse import urlsplit

import httpx

from tandem.client.calls import Call
from tandem.errors import GatewayUnreachable

CONNECT_TIMEOUT_S: Final = 5.0


class ClientOptions(TypedDict):
    """Keyword arguments of ``httpx.Client`` and ``httpx.AsyncClient``."""

    base_url: str
    headers: dict[str, str]
    trust_env: bool
    timeout: httpx.Timeout


class RequestParts(TypedDict):
    """Keyword arguments of ``build_request``."""

    method: str
    url: str
    params: dict[str, str]
    content: bytes | None
    headers: dict[str, str]
    timeout: httpx.Timeout


@dataclass(frozen=True, slots=True)
class Door:
    """Where the gateway is and the key shown to it."""

    url: str
    """Base address without ``/v1``."""
    api_key: str | None

    def __repr__(self) -> str:
        return f"Door(url={self.url!r}, api_key={'***' if self.api_key else None!r})"

    def options(self) -> ClientOptions:
        """Proxies of the environment are for the outside: on loopback they would only lead astray."""
        headers = {"user-agent": "tandem-client"} | ({"authorization": f"Bearer {self.api_key}"} if self.api_key else {})
        return {
            "base_url": self.url.rstrip("/"),
            "headers": headers,
            "trust_env": not _is_loopback(self.url),
            "timeout": httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
        }

    def unreachable(self, error: httpx.HTTPError) -> GatewayUnreachable:
        """What httpx raised, in our words."""
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return GatewayUnreachable(f"no gateway answers at {self.url!r}: is `tandem up` running? (Another address: set TANDEM_API_URL.)")
        if isinstance(error, httpx.TimeoutException):
            return GatewayUnreachable(f"the gateway at {self.url!r} went silent; `tandem doctor` says what is wrong")
        return GatewayUnreachable(f"the connection to the gateway at {self.url!r} broke ({type(error).__name__}); ask again")


def request_parts(call: Call[Any]) -> RequestParts:
    """The request of a call, for ``build_request``."""
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.params),
        "content": call.body,
        "headers": dict(call.headers),
        "timeout": httpx.Timeout(call.timeout_s, connect=CONNECT_TIMEOUT_S),
    }


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
