"""Clients that libraries bring: judged per request, streamed both ways, bounded per answer."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpcore
import httpx
import pytest

from tandem.egress import EgressRules, GuardedClient, Watch, operated, watched
from tandem.errors import EgressDenied
from tandem.settings import EgressSettings
from tandem.testing.egress_matrix import PUBLIC, AnsweringBackend, FailingBackend, RecordingBackend, matrix_client, redirect_to
from tandem.testing.raw_server import serving


async def test_a_request_goes_to_the_judged_address_without_a_trace_of_compression_or_reuse() -> None:
    backend = AnsweringBackend()
    async with matrix_client(backend).http_client(headers={"X-Key": "k", "Host": "forged"}) as http:
        answers = [await http.post("https://public.example/mcp", json={"a": "狗"}) for _ in range(2)]
    head = backend.streams[0].written.decode().lower()
    assert ([answer.text for answer in answers], backend.dialled) == (["ok", "ok"], [(PUBLIC, 443)] * 2)
    assert {"host: public.example", "accept-encoding: identity", "connection: close", "x-key: k"} <= set(head.splitlines())
    assert "forged" not in head
    assert head.endswith('{"a":"狗"}')


@pytest.mark.parametrize("url", ["https://metadata.example/", "http://127.0.0.1/", "https://user:word@public.example/", "https://public.example:22/"])
async def test_a_request_to_where_it_may_not_go_is_denied(url: str) -> None:
    backend = AnsweringBackend()
    async with matrix_client(backend).http_client() as http:
        with pytest.raises(EgressDenied):
            await http.get(url)
    assert backend.dialled == []


async def test_a_name_that_has_moved_is_denied_at_the_second_request() -> None:
    backend = AnsweringBackend()
    async with matrix_client(backend).http_client() as http:
        assert (await http.get("https://rebinding.example/")).status_code == 200
        with pytest.raises(EgressDenied):
            await http.get("https://rebinding.example/")
    assert backend.dialled == [(PUBLIC, 443)]


async def test_a_redirect_is_not_followed_and_one_that_a_library_follows_is_judged() -> None:
    backend = AnsweringBackend(redirect_to("https://10.0.0.1/"))
    async with matrix_client(backend).http_client() as http:
        assert (await http.get("https://public.example/")).status_code == 302
        with pytest.raises(EgressDenied):
            await http.get("https://public.example/", follow_redirects=True)
    assert {address for address, _ in backend.dialled} == {PUBLIC}


async def test_a_client_for_one_server_reaches_no_other() -> None:
    backend = RecordingBackend()
    async with matrix_client(backend).http_client(rules=operated("http://localhost:9000/mcp", "X")) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("http://localhost:9000/mcp")
        with pytest.raises(EgressDenied):
            await http.get("https://public.example/")
    assert backend.dialled == [("127.0.0.1", 9000), ("::1", 9000)]


async def test_an_answer_is_streamed_while_it_is_written_and_so_is_the_request() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while (size := int(await reader.readline(), 16)) > 0:
            writer.write(b"%x\r\n" % size + await reader.readexactly(size + 2))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async def parts() -> AsyncIterator[bytes]:
        for text in ("one", "two"):
            yield text.encode()

    async with serving(echo) as url, local().http_client() as http, http.stream("POST", url, content=parts()) as response:
        assert [chunk async for chunk in response.aiter_raw()] == [b"one", b"two"]


def local() -> GuardedClient:
    return GuardedClient(EgressSettings(allow=["127.0.0.1"], timeout_s=5))


async def test_leaving_a_stream_closes_its_connection() -> None:
    is_closed = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:\n\r\n")
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        is_closed.set()

    async with serving(endless) as url, local().http_client() as http:
        with watched() as watch:
            async with http.stream("GET", url) as response:
                assert await anext(response.aiter_raw()) == b"data:\n"
        await asyncio.wait_for(is_closed.wait(), 5)
    assert [(reached.rule, reached.status) for reached in watch.reached] == [("allow_list", 200)]


async def test_an_answer_beyond_the_limit_is_an_error() -> None:
    backend = AnsweringBackend(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + bytes(1_001))
    async with matrix_client(backend).http_client(max_response_bytes=1_000) as http:
        with pytest.raises(httpx.ReadError, match="longer than 1000 bytes"):
            await http.get("https://public.example/")


async def test_a_compressed_answer_is_refused_unread() -> None:
    bomb = gzip.compress(bytes(1_000_000))
    backend = AnsweringBackend(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
    async with matrix_client(backend).http_client() as http:
        with pytest.raises(httpx.DecodingError, match="not asked for"):
            await http.get("https://public.example/")


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpcore.ConnectTimeout("10.9.8.7"), httpx.ConnectTimeout),
        (httpcore.ConnectError("10.9.8.7"), httpx.ConnectError),
        (httpcore.ReadTimeout("10.9.8.7"), httpx.ReadTimeout),
        (httpcore.ReadError("10.9.8.7"), httpx.ReadError),
        (httpcore.RemoteProtocolError("10.9.8.7"), httpx.RemoteProtocolError),
    ],
)
async def test_failures_are_those_of_httpx_without_an_address(failure: Exception, kind: type[httpx.TransportError]) -> None:
    async with matrix_client(FailingBackend(failure)).http_client() as http:
        with pytest.raises(kind) as caught:
            await http.get("https://public.example/")
    assert "10.9.8.7" not in str(caught.value)


async def test_a_cut_answer_is_a_protocol_error() -> None:
    async with matrix_client(AnsweringBackend(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut")).http_client() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("https://public.example/")


async def test_a_watch_of_its_own_is_told_whichever_task_sends() -> None:
    own = Watch()
    async with matrix_client(AnsweringBackend()).http_client(watch=own) as http:
        with watched() as outer:
            await asyncio.create_task(http.get("https://public.example/"))
    assert ([reached.host for reached in own.reached], outer.reached) == (["public.example"], [])


async def test_rules_without_ports_let_nothing_public_through() -> None:
    async with matrix_client(AnsweringBackend()).http_client(rules=EgressRules()) as http:
        with pytest.raises(EgressDenied, match="the operator named"):
            await http.get("https://public.example/")
