"""The egress matrix: 45 addresses, tried on a feature through its real entry point without any network.

A *leak* is an attempt to connect to anything but the one public address on a port of the web. Names are resolved by a fake, among them names with
private, mixed and rebinding answers; connections are recorded, and answered only at the public address. To try a feature::

    async def feature(client: GuardedClient, url: str) -> None: ...  # the tool, built on this client, given this URL

    assert await leaks(feature, row.url("https")) == set()
    assert await leaks_by_redirect(feature, row.url("https")) == set()
    assert await is_reached(feature)  # without this the two lines above prove nothing
"""

# ruff: noqa: ARG002 - the signatures are httpcore's and the resolver's

import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import httpcore

from tandem.egress import GuardedClient
from tandem.errors import TandemError
from tandem.settings import EgressSettings

PUBLIC: Final = "93.184.215.14"
PUBLIC_V6: Final = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
START: Final = "start.example"
"""A public host; where a redirect begins."""
NAMES: Final[dict[str, list[str]]] = {
    "public.example": [PUBLIC],
    START: [PUBLIC],
    "xn--fsqu00a.xn--fiqs8s": [PUBLIC],  # 例子.中国
    "empty.example": [],
    "garbled.example": ["not an address"],
    "localhost": ["127.0.0.1", "::1"],
    "private.example": ["10.1.2.3"],
    "metadata.example": ["169.254.169.254"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "nat64.example": ["64:ff9b::a00:1"],
    "cgnat.example": ["100.64.0.1"],
    "good-then-bad.example": [PUBLIC, "10.0.0.1"],
    "bad-then-good.example": ["10.0.0.1", PUBLIC],
}
REBINDING: Final = "rebinding.example"
FORBIDDEN_HOSTS: Final = (
    "127.0.0.1",
    "localhost",
    "localhost.",
    "2130706433",
    "0x7f000001",
    "127.1",
    "0177.0.0.1",
    "0.0.0.0",  # noqa: S104 - an address that must not be reached
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::10.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[fe80::1]",
    "[fc00::1]",
    "[fec0::1]",
    "private.example",
    "metadata.example",
    "mapped.example",
    "nat64.example",
    "cgnat.example",
    "good-then-bad.example",
    "bad-then-good.example",
    REBINDING,
)
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_WEB_PORTS: Final = frozenset({80, 443, 8443})

Dialled = tuple[str, int]
Feature = Callable[[GuardedClient, str], Awaitable[object]]
"""Does what the feature does with an address, on this client. May raise any of our errors, or a failure of the connection."""


@dataclass(frozen=True, slots=True)
class Row:
    """One address of the matrix."""

    kind: Literal["forbidden", "control", "form"]
    """``control`` must be reached; ``form`` is wrong by its spelling, scheme or port."""
    template: str

    def url(self, scheme: Literal["http", "https"]) -> str:
        return self.template.format(scheme=scheme)


ROWS: Final = (
    *(Row("forbidden", f"{{scheme}}://{host}/page") for host in FORBIDDEN_HOSTS),
    Row("control", "{scheme}://public.example/page"),
    Row("control", f"{{scheme}}://{PUBLIC}/page"),
    Row("form", "{scheme}://public.example@127.0.0.1/page"),
    Row("form", "file:///etc/passwd"),
    Row("form", "gopher://public.example/page"),
    Row("form", "{scheme}://public.example:22/page"),
    Row("form", "{scheme}://public.example:6379/page"),
)


class MatrixResolver:
    """Answers for the names of the matrix; one of them is public at the first question and loopback at every later one."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host == REBINDING:
            return [PUBLIC] if self.asked.count(REBINDING) == 1 else ["127.0.0.1"]
        if host not in NAMES:
            raise OSError("Name or service not known")
        return NAMES[host]


class RecordingBackend(httpcore.AsyncNetworkBackend):
    """Remembers what was dialled and connects to nothing."""

    def __init__(self) -> None:
        self.dialled: list[Dialled] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        raise httpcore.ConnectError(f"refused by {host}")


class FailingBackend(RecordingBackend):
    """Fails every connection in the way it is told."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self._failure = failure

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        raise self._failure


class ScriptedStream(httpcore.AsyncNetworkStream):
    """A connection that speaks TLS in name only: keeps the server name, whether it would have been verified, and what is written."""

    def __init__(self, answer: bytes = OK) -> None:
        self.server_names: list[str | None] = []
        self.is_verified = True
        self.written = b""
        self._answer = answer

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self.server_names.append(server_hostname)
        self.is_verified &= ssl_context.verify_mode is ssl.CERT_REQUIRED and ssl_context.check_hostname
        return self

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.written += buffer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        part, self._answer = self._answer[:max_bytes], self._answer[max_bytes:]
        return part

    async def aclose(self) -> None:
        return None


class AnsweringBackend(RecordingBackend):
    """Answers the first connection to the public address with ``answers[0]`` and so on, the last one again and again; refuses every other address."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self.streams: list[ScriptedStream] = []
        self._answers = answers or (OK,)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if host not in {PUBLIC, PUBLIC_V6}:
            return await super().connect_tcp(host, port, timeout, local_address, socket_options)
        self.dialled.append((host, port))
        self.streams.append(ScriptedStream(self._answers[min(len(self.streams), len(self._answers) - 1)]))
        return self.streams[-1]


def matrix_client(backend: httpcore.AsyncNetworkBackend, *, allow: Sequence[str] = ()) -> GuardedClient:
    """A guarded client on the matrix's names and a recording backend."""
    # Without any authorities: no handshake ever happens here, and loading them takes longer than a row.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return GuardedClient(EgressSettings(allow=[*allow], timeout_s=5), resolver=MatrixResolver(), backend=backend, ssl_context=context)


def redirect_to(url: str, status: int = 302) -> bytes:
    """An answer that sends its reader elsewhere."""
    return f"HTTP/1.1 {status} Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")


async def leaks(feature: Feature, url: str) -> set[Dialled]:
    """What the feature dialled for this URL and must not have; it is used twice, because a rebinding name is public at first."""
    return await _leaks(feature, url, AnsweringBackend(OK))


async def leaks_by_redirect(feature: Feature, url: str, scheme: Literal["http", "https"] = "https") -> set[Dialled]:
    """The same, when a public server redirects to this URL."""
    return await _leaks(feature, f"{scheme}://{START}/page", AnsweringBackend(redirect_to(url)))


async def is_reached(feature: Feature, url: str = "https://public.example/page") -> bool:
    """Whether the feature dials the public address at all."""
    backend = AnsweringBackend(OK)
    await feature(matrix_client(backend), url)
    return {address for address, _ in backend.dialled} == {PUBLIC}


async def _leaks(feature: Feature, url: str, backend: RecordingBackend) -> set[Dialled]:
    client = matrix_client(backend)
    for _ in range(2):
        with suppress(TandemError, OSError):
            await feature(client, url)
    return {(address, port) for address, port in backend.dialled if address != PUBLIC or port not in _WEB_PORTS}


__all__ = [
    "FORBIDDEN_HOSTS",
    "NAMES",
    "OK",
    "PUBLIC",
    "PUBLIC_V6",
    "REBINDING",
    "ROWS",
    "START",
    "AnsweringBackend",
    "FailingBackend",
    "Feature",
    "MatrixResolver",
    "RecordingBackend",
    "Row",
    "ScriptedStream",
    "is_reached",
    "leaks",
    "leaks_by_redirect",
    "matrix_client",
    "redirect_to",
]
