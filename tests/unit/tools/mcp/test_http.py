"""Streamable HTTP, spoken with servers that answer in every wrong way."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable

import httpx
import pytest

from tandem.errors import EgressDenied
from tandem.schemas.base import JsonObject
from tools.mcp.http import HttpConnection
from tools.mcp.messages import LOST, McpFailed
from tools.mcp.servers import Address

Handler = Callable[[httpx.Request], httpx.Response]
ADDRESS = Address("https://mcp.example/mcp", {"Authorization": "Bearer s3cret"})
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}


class Pieces(httpx.AsyncByteStream):
    """A body that comes in pieces, and may break."""

    def __init__(self, pieces: Iterable[bytes], error: Exception | None = None) -> None:
        self._pieces = list(pieces)
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._error is not None:
            raise self._error


def streamed(content: bytes) -> httpx.Response:
    return httpx.Response(200, headers=EVENTS, stream=Pieces([content]))


def connection(handler: Handler) -> HttpConnection:
    return HttpConnection("web", ADDRESS, httpx.AsyncClient(transport=httpx.MockTransport(handler)))


def id_of(request: httpx.Request) -> int:
    return int(json.loads(request.content)["id"])


def answer(request: httpx.Request, result: JsonObject) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_of(request), "result": result}, ensure_ascii=False).encode()


def event(message: bytes) -> bytes:
    return b"event: message\ndata: " + message + b"\n\n"


async def failure_of(handler: Handler) -> McpFailed:
    with pytest.raises(McpFailed) as raised:
        await connection(handler).request("tools/call", {})
    return raised.value


async def test_an_answer_comes_as_json() -> None:
    made = connection(lambda request: httpx.Response(200, headers={"content-type": "application/json"}, content=answer(request, {"好": 1})))

    assert await made.request("tools/call", {}) == {"好": 1}


async def test_an_answer_comes_in_a_stream_cut_anywhere_behind_other_messages() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        notice = event(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')
        whole = b": hello\n\n" + notice + event(answer(request, {"好": "世界" * 50}))
        return httpx.Response(200, headers=EVENTS, stream=Pieces(whole[at : at + 7] for at in range(0, len(whole), 7)))

    made = connection(handle)

    assert await made.request("tools/call", {}) == {"好": "世界" * 50}
    assert made.has_changed


async def test_the_session_and_the_version_go_with_what_follows_and_the_secret_with_everything() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.method != "POST":
            return httpx.Response(405)
        if b'"id"' not in request.content:
            return httpx.Response(202)
        return httpx.Response(200, headers={"content-type": "application/json", "mcp-session-id": "s1"}, content=answer(request, {}))

    made = connection(handle)
    await made.request("initialize", {})
    await made.greeted("2025-06-18")
    await made.request("tools/list", {})
    await made.close()

    assert [request.headers.get("mcp-session-id") for request in seen][:1] == [None]
    assert {request.headers.get("mcp-session-id") for request in seen[1:]} == {"s1"}
    assert {request.headers.get("mcp-protocol-version") for request in seen[1:]} == {"2025-06-18"}
    assert {request.headers["authorization"] for request in seen} == {"Bearer s3cret"}
    assert seen[-1].method == "DELETE"


@pytest.mark.parametrize(
    ("response", "code", "words"),
    [
        (httpx.Response(401), "mcp_unavailable", "correct its 'headers'"),
        (httpx.Response(302, headers={"location": "https://evil.example/"}), "mcp_unavailable", "redirects (302)"),
        (httpx.Response(500), "mcp_error", "status 500"),
        (httpx.Response(404), "mcp_error", "status 404"),
        (httpx.Response(200, text="<html>"), "mcp_error", "no MCP message"),
        (httpx.Response(200, headers={"content-type": "application/json"}, text="{"), "mcp_error", "no MCP message"),
        (streamed(b"data: garbage\n\n"), "mcp_error", "no MCP message"),
        (streamed(b""), LOST, "ended its answer before the result"),
    ],
)
async def test_a_wrong_answer_is_a_failure_that_says_what_was_wrong(response: httpx.Response, code: str, words: str) -> None:
    failed = await failure_of(lambda _: response)

    assert (failed.fault.code, words in failed.message) == (code, True)


async def test_a_stream_that_breaks_is_told_at_once_and_the_session_goes_on() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if id_of(request) == 1:
            return httpx.Response(200, headers=EVENTS, stream=Pieces([b"data: {"], httpx.ReadError("broken")))
        return streamed(event(answer(request, {})))

    made = connection(handle)
    with pytest.raises(McpFailed, match="broke the connection off"):
        await made.request("tools/call", {})

    assert made.lost is None
    assert await made.request("tools/call", {}) == {}


async def test_a_server_that_is_away_is_a_lost_session() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    made = connection(handle)
    for _ in range(2):
        with pytest.raises(McpFailed, match="cannot be reached"):
            await made.request("tools/list", {})

    assert made.lost is not None


async def test_a_session_that_the_server_ended_is_lost() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if id_of(request) == 1:
            return httpx.Response(200, headers={"content-type": "application/json", "mcp-session-id": "s1"}, content=answer(request, {}))
        return httpx.Response(404)

    made = connection(handle)
    await made.request("initialize", {})
    with pytest.raises(McpFailed, match="ended the session"):
        await made.request("tools/call", {})

    assert made.lost is not None


async def test_an_address_that_may_not_be_reached_is_refused_as_such() -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        raise EgressDenied("the host 'mcp.example' has no address that may be reached from here")

    assert (await failure_of(handle)).fault.code == "egress_denied"


async def test_a_caller_that_gives_up_cancels_the_request_at_the_server() -> None:
    told, under_way, heard = list[JsonObject](), asyncio.Event(), asyncio.Event()

    async def handle(request: httpx.Request) -> httpx.Response:
        message: JsonObject = json.loads(request.content)
        if message["method"] == "tools/call":
            under_way.set()
            await asyncio.Event().wait()
        told.append(message)
        heard.set()
        return httpx.Response(202)

    made = HttpConnection("web", ADDRESS, httpx.AsyncClient(transport=httpx.MockTransport(handle)))
    call = asyncio.create_task(made.request("tools/call", {}))
    await under_way.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await heard.wait()

    assert [(message["method"], message["params"]) for message in told] == [
        ("notifications/cancelled", {"requestId": 1, "reason": "the caller no longer waits"})
    ]
    await made.close()


async def test_what_the_server_asks_in_its_answer_is_refused() -> None:
    replies, heard = list[JsonObject](), asyncio.Event()

    async def handle(request: httpx.Request) -> httpx.Response:
        message: JsonObject = json.loads(request.content)
        if "method" not in message:
            replies.append(message)
            heard.set()
            return httpx.Response(202)
        ask = event(b'{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}')
        return streamed(ask + event(answer(request, {})))

    made = HttpConnection("web", ADDRESS, httpx.AsyncClient(transport=httpx.MockTransport(handle)))
    await made.request("tools/call", {})
    await heard.wait()

    assert replies[0]["id"] == "q"
    assert "error" in replies[0]
    await made.close()
