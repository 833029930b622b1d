"""The guarded way out: what is refused, what is dialled, and how answers are bounded."""

import asyncio
import gzip
import ipaddress
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.egress import AllowList, GuardedClient, PinnedBackend, check_target, is_public, resolve
from tandem.errors import EgressDenied, SettingsInvalid
from tandem.settings import EgressSettings

PUBLIC = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
NAMES: dict[str, list[str]] = {
    "public.example": [PUBLIC],
    "localhost": ["127.0.0.1", "::1"],
    "private.example": ["10.1.2.3"],
    "metadata.example": ["169.254.169.254"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "nat64.example": ["64:ff9b::a00:1"],
    "cgnat.example": ["100.64.0.1"],
    "good-then-bad.example": [PUBLIC, "10.0.0.1"],
    "bad-then-good.example": ["10.0.0.1", PUBLIC],
}
FORBIDDEN = [
    "127.0.0.1",
    "localhost",
    "localhost.",
    "2130706433",
    "0x7f000001",
    "127.1",
    "0177.0.0.1",
    "0.0.0.0",
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
    "rebinding.example",
]
OTHERS = [
    "https://user@public.example/",
    "https://public.example@127.0.0.1/",
    "file:///etc/passwd",
    "gopher://public.example/",
    "https://public.example:22/",
    "https://public.example:6379/",
    "http://public.example/",
    "https://[fe80::1%25eth0]/",
    "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c%25eth0]/",
    "https://１２７.0.0.1/",
    "https://127。0。0。1/",
    "https://%31%32%37.0.0.1/",
    "https://public.example\\@127.0.0.1/",
    "https://public.example\t/",
    "https://public.example:0x1bb/",
    "https://public.example:99999/",
    "https:///path",
    "https://-/",
    "https://[::1/",
    "https://xn--" + "a" * 80 + ".example/",
    "https://ـــ.example/",
    "https://unknown.example/",
    "https://empty.example/",
    "https://garbled.example/",
    "https://public.example/" + "a" * 2048,
    "https://public.example/\ud800",
    "",
]


async def fake_resolver(host: str, port: int) -> Sequence[str]:
    if host == "unknown.example":
        raise OSError("Name or service not known")
    if host == "empty.example":
        return []
    if host == "garbled.example":
        return ["not an address"]
    return NAMES[host]


class Rebinding:
    """Public at the first question, loopback at every later one."""

    def __init__(self) -> None:
        self._asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self._asked += 1
        return [PUBLIC] if self._asked == 1 else ["127.0.0.1"]


class RecordingBackend(httpcore.AsyncNetworkBackend):
    """Remembers what was dialled and connects to nothing."""

    def __init__(self) -> None:
        self.dialled: list[tuple[str, int]] = []

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


class ScriptedStream(httpcore.AsyncNetworkStream):
    """A connection that speaks TLS in name only: keeps the server name and what is written, answers 200."""

    def __init__(self) -> None:
        self.server_names: list[str | None] = []
        self.written = b""
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self.server_names.append(server_hostname)
        assert ssl_context.verify_mode is ssl.CERT_REQUIRED
        return self

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.written += buffer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        answer, self._answer = self._answer, b""
        return answer

    async def aclose(self) -> None:
        return None


class ConnectingBackend(RecordingBackend):
    """Remembers what was dialled and hands out one scripted connection."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = ScriptedStream()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        return self.stream


def settings(*allow: str, timeout_s: float = 5.0) -> EgressSettings:
    return EgressSettings(allow=list(allow), timeout_s=timeout_s)


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@pytest.mark.parametrize("host", FORBIDDEN)
async def test_a_forbidden_address_is_never_dialled(host: str, tls: ssl.SSLContext) -> None:
    backend = RecordingBackend()
    client = GuardedClient(settings(), resolver=Rebinding() if host.startswith("rebinding") else fake_resolver, backend=backend, ssl_context=tls)
    for _ in range(2):
        with pytest.raises((EgressDenied, ConnectionError)):
            await client.post(f"https://{host}/hook", {}, b"")
    assert set(backend.dialled) <= {(PUBLIC, 443)}
    assert host.startswith("rebinding") or not backend.dialled


@pytest.mark.parametrize("host", [host for host in FORBIDDEN if not host.startswith("rebinding")])
async def test_a_forbidden_target_is_refused_when_it_is_registered(host: str) -> None:
    with pytest.raises(EgressDenied) as caught:
        await check_target(f"https://{host}/hook", settings(), fake_resolver)
    resolved = NAMES.get(host.removesuffix("."), [])
    assert not any(address in caught.value.message for address in resolved)


@pytest.mark.parametrize("url", OTHERS)
async def test_a_malformed_or_disallowed_url_is_refused(url: str, tls: ssl.SSLContext) -> None:
    backend = RecordingBackend()
    with pytest.raises(EgressDenied):
        await GuardedClient(settings(), resolver=fake_resolver, backend=backend, ssl_context=tls).post(url, {}, b"")
    assert backend.dialled == []


async def test_private_and_unknown_names_get_the_same_answer() -> None:
    messages: set[str] = set()
    for host in ("private.example", "unknown.example"):
        with pytest.raises(EgressDenied) as caught:
            await check_target(f"https://{host}/", settings(), fake_resolver)
        messages.add(caught.value.message.replace(host, "HOST"))
    assert len(messages) == 1


@pytest.mark.parametrize(
    ("url", "address", "port"),
    [
        (f"https://{PUBLIC}/", PUBLIC, 443),
        ("https://public.example/", PUBLIC, 443),
        ("https://PUBLIC.example.:8443/x", PUBLIC, 8443),
        (f"https://[{PUBLIC_V6}]/", PUBLIC_V6, 443),
    ],
)
async def test_a_public_target_is_dialled_by_its_judged_address(url: str, address: str, port: int, tls: ssl.SSLContext) -> None:
    backend = RecordingBackend()
    with pytest.raises(ConnectionError) as caught:
        await GuardedClient(settings(), resolver=fake_resolver, backend=backend, ssl_context=tls).post(url, {}, b"")
    assert backend.dialled == [(address, port)]
    assert address not in str(caught.value)


async def test_an_internationalised_name_is_resolved_in_ascii() -> None:
    asked: list[str] = []

    async def resolver(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return [PUBLIC]

    target = await check_target("https://BÜCHER.example/päth?q=ü#part", settings(), resolver)
    assert asked == ["xn--bcher-kva.example"]
    assert (target.authority, target.path) == ("xn--bcher-kva.example", "/p%C3%A4th?q=%C3%BC")


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("localhost", "http://localhost:9000/"),
        ("LOCALHOST.", "http://localhost/"),
        ("10.0.0.0/8", "http://private.example:1234/"),
        ("10.1.2.3", "https://private.example/"),
        ("::1", "http://[::1]:9000/"),
        ("127.0.0.1", "http://127.0.0.1:9000/"),
    ],
)
async def test_what_the_operator_lists_is_reached(allow: str, url: str) -> None:
    assert (await check_target(url, settings(allow), fake_resolver)).addresses


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("127.0.0.1", "http://localhost/"),  # ::1 is not listed
        ("10.0.0.0/8", "https://metadata.example/"),
        ("10.0.0.0/8", "http://good-then-bad.example/"),
        ("localhost", "http://127.0.0.1/"),
        ("0.0.0.0/0", "https://mapped.example/"),
    ],
)
async def test_what_the_operator_does_not_list_stays_refused(allow: str, url: str) -> None:
    with pytest.raises(EgressDenied):
        await check_target(url, settings(allow), fake_resolver)


@pytest.mark.parametrize("entry", ["http://x", "localhost:80", "10.0.0.1/8", "*.corp", "127.1", "a b", "-", "::1%eth0/64"])
def test_a_bad_entry_of_the_allow_list_stops_the_start(entry: str) -> None:
    with pytest.raises(SettingsInvalid, match="TANDEM_EGRESS_ALLOW"):
        AllowList.parse([entry])


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_we_are_never_laxer_than_the_standard_library(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert address.is_global or not is_public(address)


@pytest.mark.parametrize("text", ["192.88.99.1", "192.31.196.1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1", "ff02::1"])
def test_relays_examples_and_unassigned_space_are_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[str]:
    """A raw TCP server on a free loopback port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def client(tls: ssl.SSLContext, timeout_s: float = 5.0) -> GuardedClient:
    return GuardedClient(settings("127.0.0.1", timeout_s=timeout_s), ssl_context=tls)


async def test_the_request_arrives_as_it_was_given(tls: ssl.SSLContext) -> None:
    seen: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2))
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok")

    async with serving(handler) as url:
        response = await client(tls).post(f"{url}/hook?x=1", {"Content-Type": "application/json", "Host": "forged"}, b"{}")
    assert (response.status, response.body, response.headers["x-a"], response.is_truncated) == (202, b"ok", "b", False)
    head = seen[0].decode().lower()
    assert head.startswith("post /hook?x=1 http/1.1\r\n")
    assert f"host: {url.removeprefix('http://')}" in head
    assert "accept-encoding: identity" in head
    assert "forged" not in head
    assert head.endswith("{}")


@pytest.mark.parametrize(
    ("url", "address", "server_name", "authority"),
    [
        ("https://public.example/", PUBLIC, "public.example", "public.example"),
        ("https://public.example.:8443/", PUBLIC, "public.example", "public.example:8443"),
        (f"https://{PUBLIC}/", PUBLIC, PUBLIC, PUBLIC),
        (f"https://[{PUBLIC_V6}]:8443/", PUBLIC_V6, PUBLIC_V6, f"[{PUBLIC_V6}]:8443"),
    ],
)
async def test_certificate_and_host_header_are_the_names_while_the_address_is_dialled(
    url: str, address: str, server_name: str, authority: str, tls: ssl.SSLContext
) -> None:
    backend = ConnectingBackend()
    response = await GuardedClient(settings(), resolver=fake_resolver, backend=backend, ssl_context=tls).post(url, {}, b"")
    assert response.status == 200
    assert (backend.dialled[0][0], backend.stream.server_names) == (address, [server_name])
    assert f"\r\nhost: {authority}\r\n" in backend.stream.written.decode().lower()


async def test_nothing_but_the_judged_target_can_be_dialled() -> None:
    backend = RecordingBackend()
    pinned = PinnedBackend(await check_target("https://public.example/", settings(), fake_resolver), backend)
    for host, port in (("other.example", 443), ("public.example", 22), (PUBLIC, 443)):
        with pytest.raises(EgressDenied, match="was not judged"):
            await pinned.connect_tcp(host, port)
    with pytest.raises(EgressDenied, match="unix sockets"):
        await pinned.connect_unix_socket("/var/run/docker.sock")
    assert backend.dialled == []


async def test_the_systems_resolver_answers_with_literal_addresses() -> None:
    assert "127.0.0.1" in await resolve("127.0.0.1", 80)


async def test_two_requests_are_judged_and_dialled_twice(tls: ssl.SSLContext) -> None:
    backend = ConnectingBackend()
    guarded = GuardedClient(settings(), resolver=Rebinding(), backend=backend, ssl_context=tls)
    assert (await guarded.post("https://rebinding.example/", {}, b"")).status == 200
    with pytest.raises(EgressDenied):
        await guarded.post("https://rebinding.example/", {}, b"")
    assert backend.dialled == [(PUBLIC, 443)]


async def test_a_redirect_is_returned_and_not_followed(tls: ssl.SSLContext) -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")

    async with serving(handler) as url:
        response = await client(tls).post(url, {}, b"")
    assert (response.status, connections) == (302, 1)


async def test_a_dripping_answer_ends_at_the_total_time(tls: ssl.SSLContext) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(handler) as url:
        started = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await client(tls, timeout_s=0.1).post(url, {}, b"")
        assert asyncio.get_running_loop().time() - started < 3


async def test_a_silent_server_ends_at_the_total_time(tls: ssl.SSLContext) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler) as url:
        with pytest.raises(TimeoutError):
            await client(tls, timeout_s=0.1).post(url, {}, b"")


async def test_a_compressed_answer_is_not_inflated(tls: ssl.SSLContext) -> None:
    bomb = gzip.compress(bytes(20_000_000))

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
        await writer.drain()

    async with serving(handler) as url:
        response = await client(tls).post(url, {}, b"", max_response_bytes=1_000)
    assert response.body == bomb[:1_000]
    assert response.is_truncated


async def test_an_endless_answer_is_cut_and_the_connection_closed(tls: ssl.SSLContext) -> None:
    closed = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1000\r\n" + bytes(4096) + b"\r\n")
                await writer.drain()
        finally:
            closed.set()

    async with serving(handler) as url:
        response = await client(tls).post(url, {}, b"")
        await asyncio.wait_for(closed.wait(), 5)
    assert (len(response.body), response.is_truncated) == (65_536, True)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000])
async def test_an_answer_that_is_no_http_is_a_connection_error(answer: bytes, tls: ssl.SSLContext) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with serving(handler) as url:
        with pytest.raises(ConnectionError):
            await client(tls).post(url, {}, b"")


async def test_the_next_address_is_tried_when_one_refuses(tls: ssl.SSLContext) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return [PUBLIC, PUBLIC_V6]

    backend = RecordingBackend()
    with pytest.raises(ConnectionError):
        await GuardedClient(settings(), resolver=resolver, backend=backend, ssl_context=tls).post("https://two.example/", {}, b"")
    assert backend.dialled == [(PUBLIC, 443), (PUBLIC_V6, 443)]


async def test_a_slow_resolver_ends_at_the_total_time(tls: ssl.SSLContext) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return [PUBLIC]

    slow = GuardedClient(settings(timeout_s=0.05), resolver=resolver, backend=RecordingBackend(), ssl_context=tls)
    with pytest.raises(TimeoutError):
        await slow.post("https://slow.example/", {}, b"")


async def test_proxies_of_the_environment_are_not_used(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    backend = RecordingBackend()
    with pytest.raises(ConnectionError):
        await GuardedClient(settings(), resolver=fake_resolver, backend=backend, ssl_context=tls).post("https://public.example/", {}, b"")
    assert backend.dialled == [(PUBLIC, 443)]
