"""The operator's web services as tools: what is offered, what is sent, and what the model is told."""

import asyncio
import json
import time
from pathlib import Path

import httpcore
import pytest

from tandem.egress import GuardedClient
from tandem.errors import SettingsInvalid
from tandem.ids import IdFactory, JobId, TenantId
from tandem.ports import Tool, ToolContext
from tandem.schemas.base import JsonObject
from tandem.settings import EgressSettings, Settings, ToolSettings
from tandem.testing.egress_matrix import AnsweringBackend, FailingBackend, RecordingBackend, matrix_client, redirect_to
from tandem.testing.raw_server import serving
from tools.http_request import READS, WRITES, offer
from tools.offers import Offer, Supplies
from tools.wrappers import guarded

CONTEXT = ToolContext(TenantId("ten_1"), JobId("job_1"), "call_1")
ITEMS = "https://public.example/v1/items"


def answer(body: bytes, *headers: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def offers(home: Path, client: GuardedClient, hosts: JsonObject | None, file: Path | None = None) -> dict[str, Offer]:
    if hosts is not None:
        (home / "http.json").write_text(json.dumps({"hosts": hosts}))
        (home / "http.json").chmod(0o600)
    settings = Settings(home=home, tools=ToolSettings(http_file=file))
    supplies = Supplies(settings, client, IdFactory(now_ms=lambda: time.time_ns() // 1_000_000))
    return {each.spec.name: each for each in await offer(supplies)}


async def tool(home: Path, backend: RecordingBackend, name: str = "http_request") -> Tool:
    listed: JsonObject = {"methods": [*READS, *WRITES], "paths": ["/v1/"]}
    found = (await offers(home, matrix_client(backend), {"public.example": listed, "private.example": listed}))[name].tool
    assert found is not None
    return guarded(found)


async def test_without_a_list_neither_tool_is_offered_and_the_reason_says_what_to_do(tmp_path: Path) -> None:
    found = await offers(tmp_path, matrix_client(RecordingBackend()), None)
    assert {name: each.tool for name, each in found.items()} == {"http_request": None, "http_write": None}
    assert all("http.json" in each.reason for each in found.values())


async def test_writing_is_offered_only_where_a_method_that_writes_is_listed(tmp_path: Path) -> None:
    found = await offers(tmp_path, matrix_client(RecordingBackend()), {"public.example": {"methods": ["GET"]}})
    assert found["http_request"].tool is not None
    assert (found["http_write"].tool, "POST" in found["http_write"].reason) == (None, True)


async def test_a_list_that_is_named_and_missing_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="elsewhere"):
        await offers(tmp_path, matrix_client(RecordingBackend()), None, tmp_path / "elsewhere.json")


async def test_the_declarations_say_what_each_does_and_what_may_be_asked(tmp_path: Path) -> None:
    specs = [(await tool(tmp_path, RecordingBackend(), name)).spec for name in ("http_request", "http_write")]
    assert [(spec.side_effect, spec.taints, spec.url_arguments) for spec in specs] == [("read_external", True, ["url"]), ("write", True, ["url"])]
    assert "GET public.example/v1/*" in specs[0].description
    assert "DELETE public.example/v1/*" in specs[1].description


async def test_json_comes_back_as_json_with_the_headers_that_matter(tmp_path: Path) -> None:
    backend = AnsweringBackend(answer('{"名": "狗"}'.encode(), "ETag: x", "Set-Cookie: session=1", "Server: old"))
    result = await (await tool(tmp_path, backend)).run({"url": ITEMS, "headers": {"Accept-Language": "zh"}}, CONTEXT)
    assert result.ok
    headers = {"content-type": "application/json", "etag": "x"}
    assert result.output == {"status": 200, "url": ITEMS, "headers": headers, "body": {"名": "狗"}}
    assert "accept-language: zh" in backend.streams[0].written.decode()


@pytest.mark.parametrize(
    ("content", "kind", "body"),
    [
        ("中文".encode("gb18030"), "text/plain; charset=gb18030", "中文"),
        (b"text", "text/html; charset=no-such", "text"),
        (b"{broken", "application/problem+json", "{broken"),
        (b"[" * 100_000, "application/json", "[" * 100),
        (b"", "application/json", ""),
        (b"\x89PNG", "image/png", "<4 bytes of image/png, which this tool does not show>"),
    ],
)
async def test_other_bodies_are_text_or_named(content: bytes, kind: str, body: str, tmp_path: Path) -> None:
    result = await (await tool(tmp_path, AnsweringBackend(answer(content, kind=kind)))).run({"url": ITEMS}, CONTEXT)
    shown = result.output if isinstance(result.output, dict) else {"body": result.output}
    assert body in str(shown["body"])


@pytest.mark.parametrize(("status", "is_retryable"), [("404 Not Found", False), ("503 Busy", True), ("429 Slow", True)])
async def test_an_error_of_the_service_is_an_error_with_its_words(status: str, is_retryable: bool, tmp_path: Path) -> None:
    result = await (await tool(tmp_path, AnsweringBackend(answer(b'"why"', status=status)))).run({"url": ITEMS}, CONTEXT)
    assert not result.ok
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("http_status", is_retryable)
    assert '"why"' in json.dumps(result.output)


async def test_a_write_sends_its_body_once_under_the_calls_own_key(tmp_path: Path) -> None:
    backend = AnsweringBackend(answer(b"{}", status="201 Created"))
    result = await (await tool(tmp_path, backend, "http_write")).run({"url": ITEMS, "method": "POST", "json": {"name": "狗"}}, CONTEXT)
    head, _, body = backend.streams[0].written.decode().partition("\r\n\r\n")
    assert (result.ok, json.loads(body)) == (True, {"name": "狗"})
    assert {"content-type: application/json", "idempotency-key: job_1-call_1"} <= set(head.lower().splitlines())


async def test_text_is_sent_as_the_kind_it_is_said_to_be(tmp_path: Path) -> None:
    backend = AnsweringBackend()
    arguments: JsonObject = {"url": ITEMS, "method": "PUT", "text": "a,b", "content_type": "text/csv"}
    assert (await (await tool(tmp_path, backend, "http_write")).run(arguments, CONTEXT)).ok
    assert "content-type: text/csv" in backend.streams[0].written.decode()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("http_request", {"url": ITEMS, "method": "POST"}),
        ("http_request", {"url": ITEMS, "json": {}}),
        ("http_request", {"url": ITEMS, "headers": {"Authorization": "x"}}),
        ("http_request", {"url": ITEMS, "headers": {"cookie": "x"}}),
        ("http_request", {"url": ITEMS, "headers": {"accept": "x\r\nHost: y"}}),
        ("http_request", {"url": ITEMS, "headers": {"accept": "中"}}),
        ("http_request", {}),
        ("http_write", {"url": ITEMS, "method": "GET"}),
        ("http_write", {"url": ITEMS}),
        ("http_write", {"url": ITEMS, "method": "POST", "json": 1, "text": "1"}),
        ("http_write", {"url": ITEMS, "method": "POST", "text": "1", "content_type": "a\r\nb"}),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_sent(name: str, arguments: JsonObject, tmp_path: Path) -> None:
    backend = AnsweringBackend()
    result = await (await tool(tmp_path, backend, name)).run(arguments, CONTEXT)
    assert result.error is not None
    assert (result.error.code, backend.dialled) == ("invalid_arguments", [])


@pytest.mark.parametrize("url", ["https://start.example/v1/", "https://public.example/v2/", "https://private.example/v1/", "file:///etc/passwd"])
async def test_what_may_not_be_reached_is_an_error_without_an_address(url: str, tmp_path: Path) -> None:
    backend = AnsweringBackend()
    result = await (await tool(tmp_path, backend)).run({"url": url}, CONTEXT)
    assert result.error is not None
    assert (result.error.code, backend.dialled, "10.1.2.3" in result.error.message) == ("egress_denied", [], False)


@pytest.mark.parametrize(("name", "method", "is_retryable"), [("http_request", "GET", True), ("http_write", "POST", False)])
async def test_after_a_failed_connection_a_read_may_be_repeated_and_a_write_must_be_looked_after(
    name: str, method: str, is_retryable: bool, tmp_path: Path
) -> None:
    result = await (await tool(tmp_path, RecordingBackend(), name)).run({"url": ITEMS, "method": method}, CONTEXT)
    assert result.error is not None
    assert (result.error.code, result.error.retryable, "look before" in result.error.message) == ("connection_failed", is_retryable, not is_retryable)


async def test_a_service_that_does_not_answer_in_time_is_told_so(tmp_path: Path) -> None:
    result = await (await tool(tmp_path, FailingBackend(httpcore.ConnectTimeout()))).run({"url": ITEMS}, CONTEXT)
    assert result.error is not None
    assert (result.error.code, result.error.retryable, result.error.message) == ("timeout", True, "the service did not answer in time")


async def test_a_write_is_not_repeated_where_a_redirect_leads(tmp_path: Path) -> None:
    backend = AnsweringBackend(redirect_to("https://private.example/v1/", 307))
    result = await (await tool(tmp_path, backend, "http_write")).run({"url": ITEMS, "method": "POST", "json": 1}, CONTEXT)
    assert result.error is not None
    assert (result.error.code, len(backend.streams)) == ("egress_denied", 1)


async def test_a_service_in_the_operators_own_network_gets_its_secret_and_the_model_never_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head.decode())
        writer.write(answer(head, kind="text/plain"))
        await writer.drain()

    seen: list[str] = []
    monkeypatch.setenv("WEATHER_TOKEN", "a-token-of-ours")
    async with serving(echo) as url:
        entry: JsonObject = {"methods": ["GET"], "private": True, "header": "X-Key", "secret_env": "WEATHER_TOKEN"}
        found = await offers(tmp_path, GuardedClient(EgressSettings(timeout_s=5)), {url.removeprefix("http://"): entry})
        asked = found["http_request"].tool
        assert asked is not None
        result = await guarded(asked).run({"url": f"{url}/today?city=北京"}, CONTEXT)
    assert "x-key: a-token-of-ours" in seen[0]
    assert "[secret]" in result.model_dump_json()
    assert "a-token-of-ours" not in result.model_dump_json()
