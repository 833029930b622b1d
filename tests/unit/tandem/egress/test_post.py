"""Posts to addresses that callers chose: what is refused, what is dialled, and how answers are bounded."""

import asyncio
import gzip
import ssl
from collections.abc import Sequence

import pytest

from tandem.egress import GuardedClient, PinnedBackend, check_target
from tandem.errors import EgressDenied
from tandem.settings import EgressSettings
from tandem.testing.egress_matrix import FORBIDDEN_HOSTS, PUBLIC, PUBLIC_V6, REBINDING, AnsweringBackend, MatrixResolver, RecordingBackend
from tandem.testing.raw_server import serving

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


def settings(*allow: str, timeout_s: float = 5.0) -> EgressSettings:
    return EgressSettings(allow=list(allow), timeout_s=timeout_s)


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@pytest.mark.parametrize("host", FORBIDDEN_HOSTS)
async def test_a_forbidden_address_is_never_dialled(host: str, tls: ssl.SSLContext) -> None:
    backend = RecordingBackend()
    client = GuardedClient(settings(), resolver=MatrixResolver(), backend=backend, ssl_context=tls)
    for _ in range(2):
        with pytest.raises((EgressDenied, ConnectionError)):
            await client.post(f"https://{host}/hook", {}, b"")
    assert set(backend.dialled) <= {(PUBLIC, 443)}
    assert host == REBINDING or not backend.dialled


@pytest.mark.parametrize("url", OTHERS)
async def test_a_malformed_or_disallowed_url_is_refused(url: str, tls: ssl.SSLContext) -> None:
    backend = RecordingBackend()
    with pytest.raises(EgressDenied):
        await GuardedClient(settings(), resolver=MatrixResolver(), backend=backend, ssl_context=tls).post(url, {}, b"")
    assert backend.dialled == []


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
        await GuardedClient(settings(), resolver=MatrixResolver(), backend=backend, ssl_context=tls).post(url, {}, b"")
    assert backend.dialled == [(address, port)]
    assert address not in str(caught.value)


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
    backend = AnsweringBackend()
    response = await GuardedClient(settings(), resolver=MatrixResolver(), backend=backend, ssl_context=tls).post(url, {}, b"")
    assert response.status == 200
    assert (backend.dialled[0][0], backend.streams[0].server_names, backend.streams[0].is_verified) == (address, [server_name], True)
    assert f"\r\nhost: {authority}\r\n" in backend.streams[0].written.decode().lower()


async def test_nothing_but_the_judged_target_can_be_dialled() -> None:
    backend = RecordingBackend()
    pinned = PinnedBackend(await check_target("https://public.example/", settings(), MatrixResolver()), backend)
    for host, port in (("other.example", 443), ("public.example", 22), (PUBLIC, 443)):
        with pytest.raises(EgressDenied, match="was not judged"):
            await pinned.connect_tcp(host, port)
    with pytest.raises(EgressDenied, match="unix sockets"):
        await pinned.connect_unix_socket("/var/run/docker.sock")
    assert backend.dialled == []


async def test_two_requests_are_judged_and_dialled_twice(tls: ssl.SSLContext) -> None:
    backend = AnsweringBackend()
    guarded = GuardedClient(settings(), resolver=MatrixResolver(), backend=backend, ssl_context=tls)
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
        await GuardedClient(settings(), resolver=MatrixResolver(), backend=backend, ssl_context=tls).post("https://public.example/", {}, b"")
    assert backend.dialled == [(PUBLIC, 443)]
