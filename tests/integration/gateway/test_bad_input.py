"""Whatever comes in or fails behind the door: one shape, a stable code, no leak, nothing half-written."""

import asyncio
import json
import sqlite3
from typing import Any

import openai
import pytest

from tandem.schemas.errors import ErrorBody

pytestmark = pytest.mark.integration
CHAT, JOBS = "/v1/chat/completions", "/v1/jobs"
HI: list[Any] = [{"role": "user", "content": "hi"}]


def chat(**fields: Any) -> bytes:
    return json.dumps({"model": "fast", "messages": HI} | fields).encode()


def job(**fields: Any) -> bytes:
    return json.dumps({"input": "add 2 and 2"} | fields).encode()


async def raw(house: Any, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Bytes in, bytes out: no client library smooths anything."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    return int(head[0].split()[1]), headers, body


def post(house: Any, path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"authorization: Bearer {house.token}", "content-type: application/json", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


LONG = "字" * 200_000
CASES: list[tuple[str, bytes, int, str, str | None]] = [
    (CHAT, chat(model="gpt-9"), 404, "unknown_model", "model"),
    (CHAT, chat(messages=[{"role": "user", "content": "a\x00b"}]), 400, "invalid_request", "messages.0.content"),
    (CHAT, b'{"model":"fast","messages":[{"role":"user","content":"\\ud800"}]}', 400, "invalid_request", None),
    (CHAT, chat(messages=[{"role": "user", "content": LONG}]), 413, "body_too_large", None),
    (CHAT, chat(messages=[{"role": "user", "content": "x" * 200_000}]), 400, "input_too_long", "messages.0.content"),
    (CHAT, chat(extra=json.loads("[" * 80 + "]" * 80)), 400, "invalid_request", None),
    (CHAT, b"[" * 500_000, 400, "invalid_request", None),
    (CHAT, b"", 400, "invalid_request", None),
    (CHAT, b"not json", 400, "invalid_request", None),
    (CHAT, chat(temperature=-1), 400, "invalid_request", "temperature"),
    (CHAT, chat(model="slow", n=2), 400, "invalid_request", "n"),
    (CHAT, chat(model="slow", messages=[{"role": "user", "content": ""}]), 400, "invalid_request", "messages"),
    (CHAT, chat(model="slow", metadata={"k": "v" * 600}), 400, "invalid_request", "metadata"),
    (JOBS, job(lane="warp"), 400, "invalid_request", "lane"),
    (JOBS, job(effort="heroic"), 400, "invalid_request", "effort"),
    (JOBS, job(budget={"max_calls": -1}), 400, "invalid_request", "budget.max_calls"),
    (JOBS, job(budget={"max_wishes": 3}), 400, "invalid_request", "budget.max_wishes"),
    (JOBS, job(priority=99), 400, "invalid_request", "priority"),
    (JOBS, job(tools=["rm_rf"]), 400, "unknown_tool", "tools"),
    (JOBS, job(input="a\x00b"), 400, "invalid_request", "input"),
    (JOBS, b'{"input":"\\udfff"}', 400, "invalid_request", "input"),
    (JOBS, job(run_at="0001-01-01T00:00:00+14:00"), 400, "invalid_request", "run_at"),
    (JOBS, job(deadline="9999-12-31T23:59:59-14:00"), 400, "invalid_request", "deadline"),
    ("/v1/responses", b'{"model":"fast","input":"x","text":{"format":{"type":"json_schema","schema":{"type":7}}}}', 400, "*", "text.format.schema"),
    ("/v1/responses", b'{"model":"slow","input":"x","text":{"format":{"type":"json_schema","schema":{"type":7}}}}', 400, "*", "text.format.schema"),
    (JOBS, job(input="x" * 200_000), 400, "input_too_long", "input"),
    (JOBS, job(answer={"kind": "json", "schema": {"type": 7}}), 400, "invalid_request", "answer.schema"),
    (JOBS, job(thread_id="thr_nope"), 400, "invalid_request", "thread_id"),
    (JOBS, job(thread_id="thr_00000000000000000000000000"), 404, "not_found", "thread_id"),
    (JOBS, job(webhook_url="http://127.0.0.1/hook"), 400, "egress_denied", "webhook_url"),
    (JOBS, job(webhook_url="nonsense"), 400, "*", "webhook_url"),
    (JOBS, job(webhook_url="http://169.254.169.254/latest"), 400, "egress_denied", "webhook_url"),
    (JOBS, job(webhook_url="https://[::ffff:10.0.0.1]/hook"), 400, "egress_denied", "webhook_url"),
    (JOBS, job(webhook_url="https://192.168.1.1/hook"), 400, "egress_denied", "webhook_url"),
    (JOBS, job(webhook_url="https://2130706433/hook"), 400, "*", "webhook_url"),
    (JOBS, job(webhook_url="https://user:pw@example.com/hook"), 400, "*", "webhook_url"),
    (JOBS, job(webhook_endpoints=["nonsense"]), 400, "invalid_request", "webhook_endpoints"),
    (JOBS, job(webhook_endpoints=["whe_00000000000000000000000000"]), 404, "not_found", "webhook_endpoints"),
    (JOBS, job(parent_id="nonsense"), 400, "invalid_request", "parent_id"),
    (JOBS, job(parent_id="job_00000000000000000000000000"), 404, "not_found", "parent_id"),
    (JOBS, job(budget={"max_seconds": 1e9}), 400, "invalid_request", "budget.max_seconds"),
    (JOBS, job(budget={"max_tokens": 10**30}), 400, "invalid_request", "budget.max_tokens"),
    (JOBS, job(budget={"max_cost_usd": -0.01}), 400, "invalid_request", "budget.max_cost_usd"),
    (JOBS, b'{"input":"x","budget":{"max_seconds":NaN}}', 400, "invalid_request", "budget.max_seconds"),
    (JOBS, b'{"input":"x","budget":{"max_cost_usd":Infinity}}', 400, "invalid_request", "budget.max_cost_usd"),
    (JOBS, job(deadline="2020-01-01T00:00:00Z"), 400, "invalid_request", "deadline"),
    (JOBS, job(deadline="2030-01-01T00:00:00"), 400, "invalid_request", "deadline"),
    (JOBS, job(run_at="9999-01-01T00:00:00Z"), 400, "invalid_request", "run_at"),
    (JOBS, job(documents=[{"name": "a", "text": "x" * 150_000}, {"name": "b", "text": "x" * 60_000}]), 400, "input_too_long", "documents"),
    (JOBS, job(documents=[{"name": "a", "text": "x"}, {"name": "a", "text": "y"}]), 400, "invalid_request", "documents"),
    (JOBS, job(documents=[{"name": "a", "text": ""}]), 400, "invalid_request", "documents.0.text"),
    (JOBS, b"{", 400, "invalid_request", None),
    (JOBS, b"", 400, "invalid_request", None),
    (JOBS, b"[" * 500_000, 400, "invalid_request", None),
    (JOBS, b"\xff\xfe", 400, "invalid_request", None),
    ("/v1/threads", b'{"title":"\\u0000"}', 400, "invalid_request", "title"),
    ("/v1/threads/thr_00000000000000000000000000/messages", b'{"content":"hi"}', 404, "not_found", "thread_id"),
    ("/v1/threads/thr_00000000000000000000000000/messages", b'{"content":"hi","lane":"warp"}', 400, "invalid_request", "lane"),
    ("/v1/threads/thr_00000000000000000000000000/messages", b'{"content":"  "}', 400, "invalid_request", "content"),
    ("/v1/jobs/job_00000000000000000000000000/cancel", b"", 404, "not_found", "job_id"),
    ("/v1/jobs/nonsense/cancel", b"", 404, "not_found", "job_id"),
    ("/v1/jobs/nonsense/steer", b'{"message":"x"}', 404, "not_found", "job_id"),
    ("/v1/jobs/nonsense/inputs/inp_1", b'{"value":"x"}', 404, "not_found", "job_id"),
    ("/v1/keys", b'{"name":"k","scopes":["root"]}', 400, "invalid_request", "scopes.0"),
    ("/v1/router/decide", b'{"text":"hi","lane":"warp"}', 400, "invalid_request", "lane"),
    ("/v1/nothing", b"{}", 404, "not_found", None),
]


async def test_every_bad_request_is_refused_in_the_one_shape(house: Any) -> None:
    for path, body, status, code, param in CASES:
        got, headers, answer = await raw(house, post(house, path, body, "idempotency-key: one key for all"))
        detail = ErrorBody.model_validate_json(answer).error
        case = (path, body[:80])
        assert (got, detail.param) == (status, param), (case, detail)
        assert code in ("*", detail.code), (case, detail)
        assert headers["content-type"] == "application/json", case
        assert len(headers["x-request-id"]) == 16, case
        assert "Traceback" not in detail.message, case
    database = sqlite3.connect(house.settings.home / "tandem.sqlite3")
    for table in ("jobs", "events", "idempotency_keys", "outbox"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table  # noqa: S608 - names of ours
    database.close()
    assert house.hints.count == 0
    assert house.model.asked == []


@pytest.mark.parametrize("path", [CHAT, JOBS])
async def test_a_body_without_a_length_is_cut_off_at_the_limit(house: Any, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house.token}\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (65_536, b" " * 65_536)
    status, _, answer = await raw(house, head.encode() + chunk * 17)
    assert (status, ErrorBody.model_validate_json(answer).error.code) == (413, "body_too_large")


@pytest.mark.parametrize(
    "path",
    [f"{JOBS}/job_00000000000000000000000000", f"{JOBS}/nonsense", f"{JOBS}/%00", f"{JOBS}/job_x/events", "/v1/threads/nope", "/v1/models/gpt-9"],
)
async def test_an_unknown_or_malformed_id_is_not_found(house: Any, path: str) -> None:
    status, _, answer = await raw(house, post(house, path, b"", method="GET"))
    assert status == 404
    assert ErrorBody.model_validate_json(answer).error.type == "not_found_error"


@pytest.mark.parametrize("body", [b'{"input":"\xff\xfe"}', b'{"input":"x","priority":' + b"9" * 5_000 + b"}"])
async def test_a_body_that_cannot_be_read_is_told_why(house: Any, body: bytes) -> None:
    status, _, answer = await raw(house, post(house, JOBS, body))
    detail = ErrorBody.model_validate_json(answer).error
    assert (status, detail.code) == (400, "invalid_request")
    assert "send a JSON object" in detail.message


async def test_a_defect_of_ours_is_answered_in_the_one_shape(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(house.storage.jobs, "list", broken)
    status, headers, answer = await raw(house, post(house, JOBS, b"", method="GET"))
    detail = ErrorBody.model_validate_json(answer).error
    assert (status, detail.type, detail.code) == (500, "server_error", "internal_error")
    assert headers["content-type"] == "application/json"
    assert "secret detail" not in detail.message
    assert len(headers["x-request-id"]) == 16


@pytest.mark.parametrize("query", ["status=completed&status=failed", "limit=1&limit=2", "thread_id=a&thread_id=b"])
async def test_a_filter_given_twice_is_refused_instead_of_half_obeyed(house: Any, query: str) -> None:
    status, _, answer = await raw(house, post(house, f"{JOBS}?{query}", b"", method="GET"))
    assert (status, ErrorBody.model_validate_json(answer).error.param) == (400, query.split("=")[0])


@pytest.mark.parametrize("query", ["wait=61", "wait=-1", "wait=soon", "wait=nan"])
async def test_a_wait_out_of_range_is_refused(house: Any, query: str) -> None:
    status, _, answer = await raw(house, post(house, f"{JOBS}/job_00000000000000000000000000?{query}", b"", method="GET"))
    assert (status, ErrorBody.model_validate_json(answer).error.param) == (400, "wait")


async def test_a_wrong_method_says_which_one_is_right(house: Any) -> None:
    for method, path, allowed in [("GET", CHAT, "POST"), ("PUT", JOBS, "POST"), ("POST", "/healthz", "GET")]:
        status, headers, answer = await raw(house, post(house, path, b"{}", method=method))
        assert status == 405
        assert allowed in headers["allow"]
        assert method in ErrorBody.model_validate_json(answer).error.message


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9"])
async def test_a_bad_idempotency_key_is_refused(house: Any, key: str) -> None:
    lines = f"POST {JOBS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house.token}\r\ncontent-type: application/json\r\nidempotency-key: {key}\r\n"
    status, _, answer = await raw(house, (lines + f"content-length: {len(job())}\r\n\r\n").encode("latin-1") + job())
    assert (status, ErrorBody.model_validate_json(answer).error.param) == (400, "Idempotency-Key")


async def down(ask: Any) -> None:
    ask.writer.close()


async def silent(ask: Any) -> None:
    await ask.until_closed()


async def garbage(ask: Any) -> None:
    ask.writer.write(b"SSH-2.0-OpenSSH_9\r\n\r\n")
    ask.writer.close()


async def not_a_completion(ask: Any) -> None:
    ask.whole(b"<html>sorry</html>", content_type="text/html")


async def broken_json(ask: Any) -> None:
    ask.whole(b'{"choices": [')


async def overloaded(ask: Any) -> None:
    ask.whole(b'{"error":{"message":"GPU on fire at /opt/secret"}}', status=500)


async def unauthorized(ask: Any) -> None:
    ask.whole(b'{"error":{"message":"no"}}', status=401)


async def too_long(ask: Any) -> None:
    ask.whole(b'{"error":{"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}', status=400)


async def refuses(ask: Any) -> None:
    ask.whole(b'{"error":{"message":"top_k must be positive"}}', status=400)


async def cut_whole(ask: Any) -> None:
    ask.writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{")
    ask.writer.close()


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (down, 503, "model_unavailable"),
        (silent, 504, "model_timeout"),
        (garbage, 502, "model_bad_response"),
        (not_a_completion, 502, "model_bad_response"),
        (broken_json, 502, "model_bad_response"),
        (overloaded, 503, "model_unavailable"),
        (unauthorized, 502, "model_bad_response"),
        (too_long, 400, "context_length_exceeded"),
        (refuses, 400, "invalid_request"),
        (cut_whole, 502, "model_bad_response"),
    ],
)
@pytest.mark.parametrize("is_aiohttp", [False, True])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_model_server_that_fails_is_an_error_of_the_one_shape(
    open_house: Any, behaviour: Any, status: int, code: str, is_stream: bool, is_aiohttp: bool
) -> None:
    async with open_house(is_aiohttp=is_aiohttp, fast={"read_timeout_s": 0.2}) as house, house.http() as client:
        house.model.answer = behaviour
        answer = await client.post(CHAT, content=chat(stream=is_stream))
    detail = ErrorBody.model_validate_json(answer.content).error
    assert (answer.status_code, detail.code) == (status, code)
    assert "secret" not in detail.message


async def test_a_model_server_that_is_not_there_is_unavailable(open_house: Any) -> None:
    async with open_house(fast={"url": "http://127.0.0.1:9/v1"}) as house, house.http() as client:
        answer = await client.post(CHAT, content=chat())
    assert (answer.status_code, answer.json()["error"]["code"], answer.headers["retry-after"]) == (503, "model_unavailable", "5")


async def cut_stream(ask: Any) -> None:
    ask.begin_stream()
    ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\n')
    await ask.writer.drain()
    ask.writer.close()


async def ends_early(ask: Any) -> None:
    ask.begin_stream()
    ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\n')
    ask.chunk(b"")


async def stalls(ask: Any) -> None:
    ask.begin_stream()
    ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\n')
    await ask.until_closed()


@pytest.mark.parametrize(("behaviour", "code"), [(cut_stream, "model_bad_response"), (ends_early, "model_bad_response"), (stalls, "model_timeout")])
async def test_a_stream_that_breaks_ends_with_an_error_never_silently(open_house: Any, behaviour: Any, code: str) -> None:
    async with open_house(fast={"read_timeout_s": 0.3}) as house, house.openai() as client:
        house.model.answer = behaviour
        stream = await client.chat.completions.create(model="fast", messages=HI, stream=True)
        words: list[str | None] = []

        async def listen() -> None:
            async for chunk in stream:
                words.append(chunk.choices[0].delta.content)  # noqa: PERF401 - what came before the fault must be kept

        with pytest.raises(openai.APIError) as caught:
            await listen()
    assert words == ["half"]
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == code


async def test_a_server_that_forgets_done_is_helped_out(house: Any) -> None:
    async def forgetful(ask: Any) -> None:
        ask.begin_stream()
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
        ask.chunk(b"")

    house.model.answer = forgetful
    async with house.http() as client:
        answer = await client.post(CHAT, content=chat(stream=True))
    assert answer.text.endswith('"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')


@pytest.mark.parametrize("is_aiohttp", [False, True])
async def test_connections_are_kept(open_house: Any, is_aiohttp: bool) -> None:
    async with open_house(is_aiohttp=is_aiohttp) as house, house.http() as client:
        for is_stream in (False, True, False):
            assert (await client.post(CHAT, content=chat(stream=is_stream))).status_code == 200
    assert len({ask.writer for ask in house.model.asked}) == 1


@pytest.mark.parametrize("is_aiohttp", [False, True])
async def test_a_kept_connection_that_died_is_replaced_unseen(open_house: Any, is_aiohttp: bool) -> None:
    async def once_then_close(ask: Any) -> None:
        ask.whole(b'{"choices":[]}')
        await ask.writer.drain()
        ask.writer.close()

    async with open_house(is_aiohttp=is_aiohttp) as house, house.http() as client:
        house.model.answer = once_then_close
        for _ in range(3):
            assert (await client.post(CHAT, content=chat())).status_code == 200
            await asyncio.sleep(0.02)
