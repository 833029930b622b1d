"""Fetching pages: which way redirects lead, what goes along, and how time and size are bounded."""

import asyncio
import gzip
import ssl
import tracemalloc

import httpcore
import pytest

from tandem.egress import PUBLIC_WEB, WEBHOOKS, EgressRules, FetchLimits, GuardedClient, operated
from tandem.errors import EgressDenied, SettingsInvalid
from tandem.settings import EgressSettings
from tandem.testing.egress_matrix import OK, PUBLIC, AnsweringBackend, FailingBackend, RecordingBackend, matrix_client, redirect_to
from tandem.testing.raw_server import answering, serving

PAGE = "https://public.example/page"


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def local(tls: ssl.SSLContext, timeout_s: float = 5.0) -> GuardedClient:
    return GuardedClient(EgressSettings(allow=["127.0.0.1"], timeout_s=timeout_s), ssl_context=tls)


def sent(backend: AnsweringBackend, index: int = 0) -> str:
    return backend.streams[index].written.decode().lower()


async def test_a_page_comes_with_its_status_headers_body_and_address() -> None:
    backend = AnsweringBackend(b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 4\r\n\r\ngone")

    response = await matrix_client(backend).fetch("https://PUBLIC.example./päge?q=狗#part")

    assert (response.status, response.headers["x-a"], response.body, response.is_truncated) == (404, "b", b"gone", False)
    assert response.url == "https://public.example/p%C3%A4ge?q=%E7%8B%97"


async def test_a_chinese_host_is_asked_for_in_ascii() -> None:
    backend = AnsweringBackend()

    response = await matrix_client(backend).fetch("https://例子.中国/新闻")

    assert response.url == "https://xn--fsqu00a.xn--fiqs8s/%E6%96%B0%E9%97%BB"
    assert "\r\nhost: xn--fsqu00a.xn--fiqs8s\r\n" in sent(backend)


async def test_a_request_carries_method_headers_and_body_and_our_framing() -> None:
    backend = AnsweringBackend()
    headers = {"Content-Type": "text/plain", "Host": "forged", "Transfer-Encoding": "chunked", "Content-Length": "99", "Proxy-Authorization": "x"}

    await matrix_client(backend).fetch(PAGE, method="put", headers=headers, body=b"hello")

    head, _, body = sent(backend).partition("\r\n\r\n")
    assert (head.splitlines()[0], body) == ("put /page http/1.1", "hello")
    assert {"host: public.example", "content-length: 5", "content-type: text/plain", "accept-encoding: gzip"} <= set(head.splitlines())
    assert not any(word in head for word in ("forged", "chunked", "proxy"))


@pytest.mark.parametrize(
    ("rules", "url", "port"),
    [
        (PUBLIC_WEB, "http://public.example/", 80),
        (PUBLIC_WEB, "https://public.example/", 443),
        (WEBHOOKS, "https://public.example:8443/", 8443),
        (operated("http://localhost:8888/searxng", "X"), "http://localhost:8888/search", 8888),
    ],
)
async def test_each_kind_of_caller_has_its_schemes_and_ports(rules: EgressRules, url: str, port: int) -> None:
    backend = RecordingBackend()
    with pytest.raises(ConnectionError):
        await matrix_client(backend).fetch(url, rules=rules)
    assert {dialled for _, dialled in backend.dialled} == {port}


@pytest.mark.parametrize(
    ("rules", "url"),
    [
        (PUBLIC_WEB, "https://public.example:8443/"),
        (PUBLIC_WEB, "http://public.example:443/"),
        (WEBHOOKS, "http://public.example/"),
        (operated("http://localhost:8888", "X"), "http://localhost:8889/"),
        (operated("http://localhost:8888", "X"), "https://localhost:8888/"),
        (operated("http://localhost:8888", "X"), "http://127.0.0.1:8888/"),
        (operated("https://start.example", "X"), "https://public.example/"),
    ],
)
async def test_what_the_rules_do_not_name_is_not_dialled(rules: EgressRules, url: str) -> None:
    backend = AnsweringBackend()
    with pytest.raises(EgressDenied):
        await matrix_client(backend).fetch(url, rules=rules)
    assert backend.dialled == []


@pytest.mark.parametrize("url", ["ftp://x", "https://user:word@x.example", "https://127.1/", "https://x.example:999999", ""])
def test_a_server_that_the_operator_misspelt_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="TANDEM_TOOLS_SEARXNG_URL"):
        operated(url, "TANDEM_TOOLS_SEARXNG_URL")


async def test_a_redirect_is_followed_and_the_final_address_is_told() -> None:
    backend = AnsweringBackend(redirect_to("/there?x=1#y"), redirect_to("//start.example/last"), OK)

    response = await matrix_client(backend).fetch(PAGE)

    assert (response.url, response.body, len(backend.streams)) == ("https://start.example/last", b"ok", 3)
    assert sent(backend, 1).startswith("get /there?x=1 http/1.1")


async def test_a_redirect_written_in_chinese_letters_is_followed() -> None:
    location = "/新闻 今天".encode().decode("latin-1")
    backend = AnsweringBackend(redirect_to(location), OK)

    assert (await matrix_client(backend).fetch(PAGE)).url == "https://public.example/%E6%96%B0%E9%97%BB%20%E4%BB%8A%E5%A4%A9"


async def test_a_redirect_in_an_old_encoding_is_followed_as_it_is_read() -> None:
    backend = AnsweringBackend(redirect_to("/caf\xe9"), OK)
    assert (await matrix_client(backend).fetch(PAGE)).url == "https://public.example/caf%C3%A9"


async def test_a_server_that_does_not_take_the_connection_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        await matrix_client(FailingBackend(httpcore.ConnectTimeout())).fetch(PAGE)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://public.example/page", "plain http"),
        ("https://127.0.0.1/", "no address that may be reached"),
        ("https://user@start.example/", "credentials"),
        ("file:///etc/passwd", "scheme 'file'"),
        ("https://[::1", "cannot be parsed"),
        ("https://start.example:22/", "port 22"),
    ],
)
async def test_a_redirect_to_where_nobody_may_go_is_refused(url: str, word: str) -> None:
    backend = AnsweringBackend(redirect_to(url))
    with pytest.raises(EgressDenied, match=word):
        await matrix_client(backend).fetch(PAGE)
    assert backend.dialled == [(PUBLIC, 443)]


async def test_a_request_that_may_not_leave_its_host_is_not_led_to_another() -> None:
    limits = FetchLimits(may_leave_host=False)
    backend = AnsweringBackend(redirect_to("https://start.example/"))
    with pytest.raises(EgressDenied, match="to another host"):
        await matrix_client(backend).fetch(PAGE, limits=limits)
    assert backend.dialled == [(PUBLIC, 443)]

    assert (await matrix_client(AnsweringBackend(redirect_to("/there"), OK)).fetch(PAGE, limits=limits)).url == "https://public.example/there"


async def test_redirects_without_end_are_an_error() -> None:
    backend = AnsweringBackend(redirect_to("/again"))
    with pytest.raises(ConnectionError, match="more than 5 times"):
        await matrix_client(backend).fetch(PAGE)
    assert len(backend.streams) == 6


async def test_without_redirects_to_follow_one_is_returned_as_it_came() -> None:
    response = await matrix_client(AnsweringBackend(redirect_to("/x"))).fetch(PAGE, limits=FetchLimits(max_redirects=0))
    assert (response.status, response.headers["location"]) == (302, "/x")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nLocation: /x\r\n\r\n"])
async def test_what_is_no_redirect_is_an_answer(answer: bytes) -> None:
    assert (await matrix_client(AnsweringBackend(answer)).fetch(PAGE)).status in {302, 304}


@pytest.mark.parametrize(
    ("location", "is_kept"),
    [("/elsewhere", True), ("https://public.example:443/", True), ("https://start.example/", False), ("https://public.example./", True)],
)
async def test_headers_that_say_who_asks_stay_with_their_origin(location: str, is_kept: bool) -> None:
    backend = AnsweringBackend(redirect_to(location), OK)
    headers = {"Authorization": "Bearer t", "Cookie": "c=1", "X-Api-Key": "k", "Accept": "text/html", "User-Agent": "me"}

    await matrix_client(backend).fetch(PAGE, headers=headers)

    names = {line.partition(":")[0] for line in sent(backend, 1).splitlines()}
    assert {"accept", "user-agent"} <= names
    assert ({"authorization", "cookie", "x-api-key"} <= names) is is_kept
    assert is_kept or not {"authorization", "cookie", "x-api-key"} & names


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        (303, "POST", "get"),
        (303, "PUT", "get"),
        (302, "POST", "get"),
        (301, "POST", "get"),
        (307, "POST", "post"),
        (308, "PUT", "put"),
        (302, "DELETE", "delete"),
        (302, "HEAD", "head"),
        (303, "HEAD", "head"),
    ],
)
async def test_a_redirect_changes_the_method_as_browsers_do(status: int, method: str, becomes: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    backend = AnsweringBackend(redirect_to("/next", status), answer)

    has_body = method != "HEAD"
    await matrix_client(backend).fetch(PAGE, method=method, headers={"Content-Type": "a/b"} if has_body else {}, body=b"data" if has_body else None)

    keeps_body = becomes in {"post", "put", "delete"}
    assert sent(backend, 1).startswith(f"{becomes} /next")
    assert sent(backend, 1).endswith("data") is keeps_body
    assert ("content-type" in sent(backend, 1)) is keeps_body
    assert ("content-length" in sent(backend, 1)) is keeps_body


@pytest.mark.parametrize(("status", "method"), [(307, "POST"), (308, "PUT"), (302, "DELETE")])
async def test_a_change_is_never_repeated_at_another_origin(status: int, method: str) -> None:
    backend = AnsweringBackend(redirect_to("https://start.example/", status))
    with pytest.raises(EgressDenied, match=f"{method} to another origin"):
        await matrix_client(backend).fetch(PAGE, method=method, body=b"data")
    assert len(backend.streams) == 1


async def test_a_name_that_moves_between_two_hops_is_judged_anew() -> None:
    backend = AnsweringBackend(redirect_to("https://rebinding.example/again"))
    with pytest.raises(EgressDenied):
        await matrix_client(backend).fetch("https://rebinding.example/")
    assert backend.dialled == [(PUBLIC, 443)]


async def test_a_closed_rule_asks_no_name_server() -> None:
    asked: list[str] = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC]

    client = GuardedClient(EgressSettings(), resolver=resolver, backend=RecordingBackend(), ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(EgressDenied, match="the operator named"):
        await client.fetch("https://secret-data.public.example/", rules=operated("https://start.example", "X"))
    assert asked == []


def encoded(content: bytes, name: str = "gzip") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


async def test_a_compressed_page_is_read() -> None:
    response = await matrix_client(AnsweringBackend(encoded(gzip.compress("你好".encode() * 1_000)))).fetch(PAGE)
    assert (response.body.decode(), response.is_truncated) == ("你好" * 1_000, False)


@pytest.mark.parametrize("name", ["br", "zstd", "gzip, gzip", "compress", "gzip,identity"])
async def test_an_encoding_that_was_not_asked_for_is_refused(name: str) -> None:
    with pytest.raises(ConnectionError, match="not asked for"):
        await matrix_client(AnsweringBackend(encoded(b"x", name))).fetch(PAGE)


async def test_a_bomb_is_cut_and_takes_no_memory(tls: ssl.SSLContext) -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    async with serving(answering(encoded(bomb))) as url:
        tracemalloc.start()
        try:
            response = await local(tls).fetch(url, limits=FetchLimits(max_bytes=1_000_000))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (len(response.body), response.is_truncated) == (1_000_000, True)
    assert peak < 5_000_000


async def test_an_endless_page_is_cut_and_its_connection_closed(tls: ssl.SSLContext) -> None:
    is_closed = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1000\r\n" + bytes(4096) + b"\r\n")
                await writer.drain()
        finally:
            is_closed.set()

    async with serving(handler) as url:
        response = await local(tls).fetch(url, limits=FetchLimits(max_bytes=10_000))
        await asyncio.wait_for(is_closed.wait(), 5)
    assert (len(response.body), response.is_truncated) == (10_000, True)


async def test_a_page_as_long_as_the_limit_is_whole() -> None:
    response = await matrix_client(AnsweringBackend(OK)).fetch(PAGE, limits=FetchLimits(max_bytes=2))
    assert (response.body, response.is_truncated) == (b"ok", False)


async def test_a_dripping_page_ends_at_the_total_time(tls: ssl.SSLContext) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(handler) as url:
        with pytest.raises(TimeoutError):
            await local(tls).fetch(url, limits=FetchLimits(timeout_s=0.2))


async def test_the_total_time_counts_all_redirects(tls: ssl.SSLContext) -> None:
    hops = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hops
        hops += 1
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        writer.write(redirect_to("/again"))

    async with serving(handler) as url:
        with pytest.raises(TimeoutError):
            await local(tls).fetch(url, limits=FetchLimits(timeout_s=0.25))
    assert hops <= 4


async def test_no_limit_of_a_caller_is_above_the_operators(tls: ssl.SSLContext) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler) as url:
        with pytest.raises(TimeoutError):
            await local(tls, timeout_s=0.1).fetch(url, limits=FetchLimits(timeout_s=60))


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", encoded(gzip.compress(b"a" * 99, mtime=0)[:-9])]
)
async def test_an_answer_that_is_cut_or_no_http_is_a_connection_error_without_an_address(answer: bytes) -> None:
    with pytest.raises(ConnectionError) as caught:
        await matrix_client(AnsweringBackend(answer)).fetch(PAGE)
    assert PUBLIC not in str(caught.value)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    backend = AnsweringBackend()
    await matrix_client(backend).fetch(PAGE)
    assert backend.dialled == [(PUBLIC, 443)]
