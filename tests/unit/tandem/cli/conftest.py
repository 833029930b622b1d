"""A stand-in gateway on loopback, and the environment that points the command at it."""

import json
import logging
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import structlog
from pydantic import JsonValue

NOW = "2026-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def untouched_logging() -> Generator[None]:
    """Commands that open tools route the logs; other tests find them as they were."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@dataclass
class StandInGateway:
    """Answers by method and path, and remembers what it was sent."""

    answers: dict[str, tuple[int, str, bytes]] = field(default_factory=dict[str, tuple[int, str, bytes]])
    bodies: list[JsonValue] = field(default_factory=list[JsonValue])
    keys: list[str] = field(default_factory=list[str])
    url: str = ""

    def answer(self, request: str, body: JsonValue, status: int = 200) -> None:
        self.answers[request] = (status, "application/json", json.dumps(body).encode())

    def stream(self, request: str, frames: bytes) -> None:
        self.answers[request] = (200, "text/event-stream", frames)

    def content(self, request: str, body: bytes) -> None:
        self.answers[request] = (200, "application/octet-stream", body)

    def job(self, **fields: JsonValue) -> dict[str, JsonValue]:
        """A job in wire form."""
        base: dict[str, JsonValue] = {"id": "job_1", "status": "queued", "created_at": NOW, "effort": "low", "last_seq": 1}
        texts: dict[str, JsonValue] = {"request": {"input": "x"}, "view": {"title": "Count the pens"}}
        return base | texts | fields

    def frame(self, seq: int, kind: str, data: Mapping[str, JsonValue] | None = None) -> bytes:
        event = {"type": kind, "sequence_number": seq, "created_at": NOW, "stream_id": "job_1", "data": dict(data or {})}
        return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(event)}\n\n".encode()


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[StandInGateway]:
    """A running stand-in; the command's settings point at it."""
    stand_in = StandInGateway()
    refusal: dict[str, JsonValue] = {"message": "this key lacks the scope 'admin'", "type": "authentication_error", "code": "permission_denied"}
    stand_in.answer("GET /v1/operations", {"error": refusal}, 403)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stand_in))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path))
    monkeypatch.setenv("TANDEM_API_URL", stand_in.url)
    monkeypatch.setenv("TANDEM_API_KEY", "tdm_test")
    yield stand_in
    server.shutdown()
    thread.join()
    server.server_close()


def _handler(stand_in: StandInGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            stand_in.keys.append(self.headers.get("authorization", ""))
            if size := int(self.headers.get("content-length") or 0):
                body = self.rfile.read(size)
                is_form = self.headers.get("content-type", "").startswith("multipart/")
                stand_in.bodies.append(body.decode() if is_form else json.loads(body))
            missing = json.dumps({"error": {"message": "no such thing; look again", "type": "not_found_error", "code": "not_found"}}).encode()
            path = self.path.partition("?")[0]
            status, kind, body = stand_in.answers.get(f"{self.command} {path}", (404, "application/json", missing))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("x-tandem-lane", "fast")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _reply  # noqa: N815 - http.server looks them up by these names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature is http.server's
            """Quiet."""

    return Handler
