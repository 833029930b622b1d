"""The dispatcher on a real database, towards a real receiver, as a real process."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from pydantic import SecretStr
from standardwebhooks import Webhook

from gateway.delivery import Courier, Keyring, Schedule
from gateway.dispatcher import Dispatcher, Ports
from gateway.queue import CeleryHintQueue
from tandem.egress import GuardedClient
from tandem.events import MemoryNotifier
from tandem.ids import DEFAULT_TENANT, IdFactory, JobId
from tandem.ports import NewJob, Outcome, Storage
from tandem.schemas.jobs import JobRequest, JobResult, JobStatus
from tandem.secrets import load_webhook_secret
from tandem.settings import DatabaseSettings, DispatcherSettings, EgressSettings, RedisSettings, Settings
from tandem.storage import open_storage
from tandem.telemetry.clock import SystemClock
from tandem.telemetry.metrics import new_metrics
from tandem.testing.services import throw_away_database
from tandem.webhooks import retry_delay_s

pytestmark = pytest.mark.integration

IDS = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)


@dataclass
class Receiver:
    """An HTTP server that answers from a script, then 200, and keeps what it was sent."""

    answers: list[int] = field(default_factory=list[int])
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list[tuple[dict[str, str], bytes]])
    url: str = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        self.received.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self.answers.pop(0) if self.answers else 200
        writer.write(f"HTTP/1.1 {status} Scripted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    yield receiver
    server.close()


def settings(home: Path, *allow: str, timeout_s: float = 5) -> Settings:
    return Settings(
        home=home,
        redis=RedisSettings(port=1),  # nobody listens: a hint is a hint
        dispatcher=DispatcherSettings(poll_s=0.05, rehint_after_s=0.1),
        egress=EgressSettings(allow=list(allow), timeout_s=timeout_s),
    )


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncGenerator[Storage]:
    storage = open_storage(settings(tmp_path))
    await storage.migrate()
    yield storage
    await storage.close()


@pytest.fixture
async def postgres_storage(tmp_path: Path) -> AsyncGenerator[Storage]:
    """The stores in a throw-away PostgreSQL database."""
    async with throw_away_database() as url:
        storage = open_storage(Settings(home=tmp_path, database=DatabaseSettings(url=SecretStr(url))))
        try:
            await storage.migrate()
            yield storage
        finally:
            await storage.close()


async def submit(storage: Storage, webhook_url: str | None = None) -> JobId:
    request = JobRequest(input="2+2?", webhook_url=webhook_url, metadata={"ticket": "7"})
    new = NewJob(id=IDS.job(), tenant=DEFAULT_TENANT, key_id=None, request=request, effort="low", title="2+2?")
    await storage.jobs.create(new, max_unfinished=100)
    return new.id


async def finished_job(storage: Storage, webhook_url: str) -> JobId:
    job_id = await submit(storage, webhook_url)
    claim = await storage.work.claim("test", lease_s=30, max_attempts=5, job_id=job_id)
    assert claim is not None
    await storage.work.finish(job_id, claim.epoch, Outcome(JobStatus.COMPLETED, JobResult(output_text="4")))
    return job_id


@asynccontextmanager
async def dispatching(settings: Settings, storage: Storage, schedule: Schedule = retry_delay_s) -> AsyncGenerator[MemoryNotifier]:
    clock, notifier, queue = SystemClock(), MemoryNotifier(), CeleryHintQueue(settings)
    courier = Courier(GuardedClient(settings.egress), Keyring.load(settings), clock, disable_after_s=3_600, schedule=schedule)
    stop = asyncio.Event()
    ports = Ports(storage, queue, notifier, courier, clock, new_metrics(), IDS)
    running = asyncio.create_task(Dispatcher(ports, settings, settings.home / "run").run(stop))
    try:
        yield notifier
    finally:
        stop.set()
        await running
        await queue.close()


def soon(attempt: int, jitter: float, retry_after_s: float | None = None) -> float:
    return 0.05


async def until(fact: Callable[[], Any], timeout_s: float = 50) -> None:
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def until_outbox(storage: Storage, **wanted: int) -> None:
    deadline = time.monotonic() + 50
    while (counts := await storage.outbox.counts()) != {"pending": 0, "delivered": 0, "failed": 0} | wanted:
        assert time.monotonic() < deadline, f"outbox: {counts}"
        await asyncio.sleep(0.02)


async def test_a_finished_job_reaches_its_receiver_signed(storage: Storage, receiver: Receiver, tmp_path: Path) -> None:
    job_id = await finished_job(storage, receiver.url)
    async with dispatching(settings(tmp_path, "127.0.0.1"), storage):
        await until_outbox(storage, delivered=1)
    ((headers, body),) = receiver.received
    secret = load_webhook_secret(settings(tmp_path))
    event = Webhook(secret).verify(body, headers)
    assert (event["type"], event["data"]["job_id"], event["data"]["metadata"]) == ("response.completed", job_id, {"ticket": "7"})
    assert event["id"] == headers["webhook-id"]
    assert OpenAI(api_key="none").webhooks.unwrap(body.decode(), headers, secret=secret).type == "response.completed"


async def test_a_failing_receiver_is_tried_again_with_the_same_id_and_body(storage: Storage, receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [500, 503, 302]
    await finished_job(storage, receiver.url)
    async with dispatching(settings(tmp_path, "127.0.0.1"), storage, schedule=soon):
        await until_outbox(storage, delivered=1)
    assert len(receiver.received) == 4
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert len({body for _, body in receiver.received}) == 1


async def test_a_receiver_that_is_gone_ends_the_delivery(storage: Storage, receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [410]
    await finished_job(storage, receiver.url)
    async with dispatching(settings(tmp_path, "127.0.0.1"), storage):
        await until_outbox(storage, failed=1)
    assert len(receiver.received) == 1


async def test_a_private_address_is_refused_when_sending(storage: Storage, receiver: Receiver, tmp_path: Path) -> None:
    await finished_job(storage, receiver.url)
    tries: list[int] = []

    def schedule(attempt: int, jitter: float, retry_after_s: float | None = None) -> float | None:
        tries.append(attempt)
        return 0.02 if attempt < 4 else None

    async with dispatching(settings(tmp_path), storage, schedule):
        await until_outbox(storage, failed=1)
    assert (receiver.received, tries) == ([], [2, 3, 4])


async def test_a_hanging_receiver_does_not_hold_up_the_others(storage: Storage, receiver: Receiver, tmp_path: Path) -> None:
    let_go = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        let_go.set()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    await finished_job(storage, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    await finished_job(storage, receiver.url)
    async with dispatching(settings(tmp_path, "127.0.0.1", timeout_s=2), storage):
        await until_outbox(storage, delivered=1, pending=1)
        assert not let_go.is_set()
    server.close()


async def send_twenty_by_two(storage: Storage, receiver: Receiver, home: Path) -> None:
    for _ in range(20):
        await finished_job(storage, receiver.url)
    both = settings(home, "127.0.0.1")
    async with dispatching(both, storage), dispatching(both, storage):
        await until_outbox(storage, delivered=20)
    assert len(receiver.received) == 20


async def test_two_dispatchers_send_each_webhook_once(storage: Storage, receiver: Receiver, tmp_path: Path) -> None:
    await send_twenty_by_two(storage, receiver, tmp_path)


async def test_two_dispatchers_on_postgresql_send_each_webhook_once(postgres_storage: Storage, receiver: Receiver, tmp_path: Path) -> None:
    await send_twenty_by_two(postgres_storage, receiver, tmp_path)


async def test_a_job_that_loses_its_last_worker_fails_with_a_webhook(storage: Storage, receiver: Receiver, tmp_path: Path) -> None:
    job_id = await submit(storage, receiver.url)
    for _ in range(5):
        assert await storage.work.claim("doomed", lease_s=0.01, max_attempts=5, job_id=job_id)
        await asyncio.sleep(0.05)
    async with dispatching(settings(tmp_path, "127.0.0.1"), storage):
        await until_outbox(storage, delivered=1)
    job = await storage.jobs.get(job_id, DEFAULT_TENANT)
    assert job.error is not None
    assert (job.status, job.error.code) == (JobStatus.FAILED, "worker_lost")


async def test_the_process_delivers_and_stops_when_told(storage: Storage, receiver: Receiver, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")} | {
        "TANDEM_HOME": str(tmp_path),
        "TANDEM_EGRESS_ALLOW": "127.0.0.1",
        "TANDEM_REDIS_PORT": "1",
    }
    command = [sys.executable, "-m", "gateway.dispatcher"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2], stderr=log)
    try:
        await until((tmp_path / "run" / "dispatcher.alive").exists, 30)
        await finished_job(storage, receiver.url)
        await until_outbox(storage, delivered=1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 15) == 0
    finally:
        process.kill()
        process.wait()
    log_text = (tmp_path / "log").read_text(encoding="utf-8")
    assert '"event": "dispatcher_stopped"' in log_text
    assert load_webhook_secret(settings(tmp_path)) not in log_text
