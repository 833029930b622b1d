"""What the clients send to the doors of files, memories, the audit log and tools; no network."""

from collections.abc import Callable

import httpx
import pytest
from pydantic import JsonValue

from tandem.client import TandemClient
from tandem.errors import TooManyRequests

Ask = Callable[[TandemClient], object]
FILE: JsonValue = {"id": "file_1", "bytes": 1, "created_at": 1, "filename": "a", "media_type": "text/plain", "sha256": "00"}
MEMORY: JsonValue = {"id": "mem_1", "text": "x", "provenance": {"origin": "caller"}, "created_at": "2026-01-01T00:00:00Z"}
TOOL: JsonValue = {
    "name": "sql", "description": "d", "parameters": {}, "side_effect": "pure", "timeout_s": 1, "state": "offered", "is_allowed": True, "workers": 1,
}  # fmt: skip
PAGE: JsonValue = {"object": "list", "data": []}
VERDICT: JsonValue = {"is_intact": True, "checked": 0}


def client(answer: JsonValue, seen: list[httpx.Request]) -> TandemClient:
    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=answer)

    return TandemClient("http://127.0.0.1:1", "tdm_key", transport=httpx.MockTransport(reply))


CASES: list[tuple[Ask, JsonValue, str]] = [
    (lambda c: c.list_files(after="file_1", limit=5, purpose="assistants"), PAGE, "GET /v1/files?after=file_1&limit=5&purpose=assistants"),
    (lambda c: c.get_file("../keys"), FILE, "GET /v1/files/..%2Fkeys"),
    (lambda c: c.read_file("file_1"), FILE, "GET /v1/files/file_1/content"),
    (lambda c: c.delete_file("file_1"), {"id": "file_1"}, "DELETE /v1/files/file_1"),
    (lambda c: c.create_memory("x"), MEMORY, "POST /v1/memory"),
    (lambda c: c.list_memories(), PAGE, "GET /v1/memory?limit=20"),
    (lambda c: c.get_memory("mem_1"), MEMORY, "GET /v1/memory/mem_1"),
    (lambda c: c.delete_memory("mem_1"), None, "DELETE /v1/memory/mem_1"),
    (lambda c: c.read_audit(after=7, job_id="job_1"), PAGE, "GET /v1/audit?after=7&limit=100&job_id=job_1"),
    (lambda c: c.verify_audit("ab"), VERDICT, "GET /v1/audit/verify?head=ab"),
    (lambda c: c.list_tools(), PAGE, "GET /v1/tools"),
    (lambda c: c.get_tool("sql"), TOOL, "GET /v1/tools/sql"),
]


@pytest.mark.parametrize(("ask", "answer", "line"), CASES)
def test_each_call_goes_to_its_door(ask: Ask, answer: JsonValue, line: str) -> None:
    seen: list[httpx.Request] = []
    ask(client(answer, seen))
    (request,) = seen
    assert f"{request.method} {request.url.raw_path.decode()}" == line


def test_an_upload_is_a_form_whose_names_cannot_break_out_of_it() -> None:
    seen: list[httpx.Request] = []
    client(FILE, seen).upload_file('季"\r\nx: y.csv', b"\x00\xff", expires_after_s=7_200, idempotency_key="k1")
    (request,) = seen
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    head, _, last = request.content.rpartition(b"--" + boundary + b"--\r\n")
    assert last == b""
    assert head.endswith(b"\r\n\r\n\x00\xff\r\n")
    assert 'filename="季%22%0D%0Ax: y.csv"\r\n'.encode() in head
    assert b'name="expires_after[seconds]"\r\n\r\n7200\r\n' in head
    assert request.headers["idempotency-key"] == "k1"


def test_a_full_store_is_the_error_that_its_code_names() -> None:
    error = {"error": {"message": "no room", "type": "rate_limit_error", "code": "too_many_requests", "param": None}}
    transport = httpx.MockTransport(lambda _: httpx.Response(429, json=error, headers={"retry-after": "60"}))
    with pytest.raises(TooManyRequests) as refused:
        TandemClient("http://127.0.0.1:1", transport=transport).upload_file("a", b"x")
    assert refused.value.retry_after_s == 60
