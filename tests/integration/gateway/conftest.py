"""A gateway on a real port over a real database, with a model server whose every byte the test decides."""

import asyncio
import json
import math
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from openai import AsyncOpenAI

from gateway.__main__ import server_config
from gateway.app import create_app
from gateway.chat.aiohttp_transport import AiohttpTransport
from gateway.dependencies import Dependencies, Services, open_dependencies
from tandem.events import MemoryNotifier
from tandem.ids import JobId, KeyId, TenantId
from tandem.ports import Claim, JobFilter, NewEvent, NewState, Outcome, Parking, Storage
from tandem.schemas.jobs import JobResult, JobStatus, JobView, Usage, Verification
from tandem.schemas.keys import ALL_SCOPES, Scope
from tandem.schemas.policies import RoutingPolicy
from tandem.secrets import digest, new_token
from tandem.settings import Settings
from tandem.testing.services import throw_away_database

Answer = Callable[["Ask"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request the model server got, and the socket to answer on."""

    path: str
    body: bytes
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    @property
    def fields(self) -> dict[str, Any]:
        return json.loads(self.body)

    def whole(self, body: bytes, status: int = 200, content_type: str = "application/json") -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)

    def begin_stream(self) -> None:
        self.writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def until_closed(self) -> None:
        """Returns when our side's client has hung up."""
        with suppress(ConnectionError):
            while await self.reader.read(1024):
                pass


def completion(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}).encode()


def delta(text: str | None, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def speak(ask: Ask) -> None:
    """The answer of a healthy model: two words, streamed or whole."""
    if ask.path.endswith("/models"):
        ask.whole(b'{"object":"list","data":[{"id":"m","object":"model"}]}')
    elif ask.fields.get("stream"):
        ask.begin_stream()
        for piece in (delta("Hello"), delta(" there"), delta(None, "stop"), b"data: [DONE]\n\n"):
            ask.chunk(piece)
        ask.chunk(b"")
    else:
        ask.whole(completion("Hello there"))


def speaks(text: str, probability: float = 0.95, finish: str = "stop", *, tells: bool = True) -> Answer:
    """The answer of a model that says this, streamed word by word or whole, and how sure it is where it is asked and ``tells``."""
    words = [word if at == 0 else f" {word}" for at, word in enumerate(text.split(" "))]

    def told(ask: Ask, said: list[str]) -> dict[str, Any]:
        if not tells or not ask.fields.get("logprobs"):
            return {}
        logprob = math.log(probability)
        content = [{"token": word, "logprob": logprob, "top_logprobs": [{"token": word, "logprob": logprob}]} for word in said]
        return {"logprobs": {"content": content}}

    def choices(ask: Ask) -> list[dict[str, Any]]:
        pieces = [{"index": 0, "delta": {"content": word}, "finish_reason": None} | told(ask, [word]) for word in words]
        return [*pieces, {"index": 0, "delta": {}, "finish_reason": finish}]

    async def answer(ask: Ask) -> None:
        usage = {"prompt_tokens": 3, "completion_tokens": len(words), "total_tokens": 3 + len(words)}
        envelope = {"id": "c", "created": 1, "model": "m"}
        if not ask.fields.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish} | told(ask, words)
            ask.whole(json.dumps(envelope | {"object": "chat.completion", "choices": [choice], "usage": usage}).encode())
            return
        ask.begin_stream()
        for choice in choices(ask):
            ask.chunk(b"data: " + json.dumps(envelope | {"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n")
        if (ask.fields.get("stream_options") or {}).get("include_usage"):
            ask.chunk(b"data: " + json.dumps(envelope | {"object": "chat.completion.chunk", "choices": [], "usage": usage}).encode() + b"\n\n")
        ask.chunk(b"data: [DONE]\n\n")
        ask.chunk(b"")

    return answer


@dataclass
class ModelServer:
    """Answers every request with ``answer``; remembers what it was asked."""

    answer: Answer = speak
    asked: list[Ask] = field(default_factory=list[Ask])
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
                ask = Ask(head.split()[1].decode(), await reader.readexactly(length), writer, reader)
                if not ask.path.endswith("/models"):
                    self.asked.append(ask)
                await (speak(ask) if ask.path.endswith("/models") else self.answer(ask))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Hints:
    """A queue that counts how often it woke a worker."""

    def __init__(self) -> None:
        self.count = 0

    async def hint(self, count: int = 1) -> bool:
        self.count += count
        return True

    async def close(self) -> None:
        return None


@dataclass
class House:
    """The running gateway and everything around it."""

    url: str
    settings: Settings
    services: Services
    dependencies: Dependencies
    model: ModelServer
    hints: Hints
    token: str = ""
    other_token: str = ""

    @property
    def storage(self) -> Storage:
        return self.dependencies.storage

    async def new_token(self, tenant: str, scopes: Sequence[Scope] = ALL_SCOPES) -> str:
        key_id: KeyId = self.dependencies.ids.key()
        token, secret = new_token(key_id)
        await self.storage.keys.add(key_id, TenantId(tenant), "test", scopes, digest(self.dependencies.pepper, secret))
        return token

    def http(self, token: str | None = None) -> httpx.AsyncClient:
        """A client with the house's key, with another one, or with none at all for an empty string."""
        headers = {} if token == "" else {"authorization": f"Bearer {token or self.token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20)

    def openai(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=self.token, max_retries=0, timeout=20)

    async def publish(self, policy: RoutingPolicy) -> None:
        """Make a policy the one that decides."""
        version = self.dependencies.ids.policy_version()
        policies = self.storage.policies
        await policies.add(version, policy, author="test", note="")
        new = NewState(version, None, is_new_stage=False, shadow=None, kill=None, action="publish", version=version, actor="test")
        await policies.change(new, expected_revision=(await policies.state()).revision)
        await self.services.routing.policies.refresh()

    async def next_job(self, number: int = 1, tenant: str = "acme") -> JobId:
        """The id of the ``number``-th job of the tenant, once workers were woken that often."""
        async with asyncio.timeout(50):
            while self.hints.count < number:
                await asyncio.sleep(0.005)
        newest_first = await self.storage.jobs.list(TenantId(tenant), where=JobFilter(), after=None, limit=100)
        return JobId(newest_first[-number].id)

    async def claim(self, job_id: JobId) -> Claim:
        claim = await self.storage.work.claim("test-worker", 15, 5, job_id=job_id)
        assert claim is not None
        await self.dependencies.notifier.notify(claim.appended)
        return claim

    async def tell(self, claim: Claim, *events: NewEvent, view: JobView | None = None) -> None:
        await self.dependencies.notifier.notify(await self.storage.work.append(claim.job_id, claim.epoch, events, view))

    async def park(self, claim: Claim, parking: Parking) -> None:
        await self.dependencies.notifier.notify(await self.storage.work.park(claim.job_id, claim.epoch, parking))

    async def finish(self, claim: Claim, text: str = "42", status: JobStatus = JobStatus.COMPLETED, **fields: Any) -> None:
        verification = Verification(level="V2")
        result = JobResult(output_text=text, answer=text, confidence=1.0, verification=verification, usage=Usage(input_tokens=10, output_tokens=5))
        outcome = Outcome(status=status, result=result if status is JobStatus.COMPLETED else None, **fields)  # type: ignore[arg-type]
        await self.dependencies.notifier.notify(await self.storage.work.finish(claim.job_id, claim.epoch, outcome))

    async def work(self, number: int = 1, text: str = "42") -> JobId:
        """Be the worker of one job, from hint to end."""
        job_id = await self.next_job(number)
        await self.finish(await self.claim(job_id), text)
        return job_id


@pytest.fixture
async def model() -> AsyncGenerator[ModelServer]:
    server = ModelServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    yield server
    listener.close()


@pytest.fixture
async def database_url(request: pytest.FixtureRequest) -> AsyncGenerator[str | None]:
    """None for SQLite; with ``indirect="postgres"`` a throw-away PostgreSQL database."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield None
        return
    async with throw_away_database() as url:
        yield url


OpenHouse = Callable[..., Any]


@pytest.fixture
def open_house(tmp_path: Path, model: ModelServer, database_url: str | None) -> OpenHouse:
    """Opens gateways with other settings: ``async with open_house(gateway={"max_in_flight": 1}) as house``; with ``has_redis`` as configured."""

    @asynccontextmanager
    async def opened(*, is_aiohttp: bool = False, has_redis: bool = False, **sections: Any) -> AsyncGenerator[House]:
        fast = {"url": model.url, "model": "m-fast", "read_timeout_s": 100} | sections.pop("fast", {})
        slow = {"url": model.url, "model": "m-slow"} | sections.pop("slow", {})
        database = {"url": database_url} if database_url else {}
        settings = Settings.model_validate({"home": tmp_path, "fast": fast, "slow": slow, "database": database} | sections)
        real = open_dependencies(settings)
        hints = Hints()
        dependencies = real
        if not has_redis:
            await real.queue.close()
            await real.notifier.close()
            dependencies = replace(real, queue=hints, notifier=MemoryNotifier())
        if is_aiohttp:
            dependencies = replace(dependencies, open_transport=lambda: AiohttpTransport(settings.model_url("fast"), settings.fast, "fast"))
        gateway = create_app(settings, dependencies)
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(server_config(gateway, settings))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.005)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        house = House(url, settings, gateway.services, dependencies, model, hints)
        try:
            house.token, house.other_token = await house.new_token("acme"), await house.new_token("rival")
            yield house
        finally:
            gateway.services.tails.stop()
            server.should_exit = True
            await task
            listener.close()

    return opened


@pytest.fixture
async def check_house(open_house: OpenHouse) -> AsyncGenerator[House]:
    """A gateway that checks every answer nobody forces into a lane."""
    async with open_house(router={"check_at": 0.0, "threshold": 1.0}) as opened:
        yield opened


@pytest.fixture
def speaking() -> Callable[..., Answer]:
    """Makes the answer of a model that is more or less sure of what it says."""
    return speaks


@pytest.fixture
async def house(open_house: OpenHouse) -> AsyncGenerator[House]:
    async with open_house() as opened:
        yield opened
