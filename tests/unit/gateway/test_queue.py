"""The hint queue: bounded in time, never raising, skipping a Redis that is away."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from gateway.queue import MAX_HINTS, PROBE_AFTER_S, CeleryHintQueue, celery_message
from tandem.ports import JobQueue
from tandem.settings import RedisSettings, Settings
from tandem.telemetry.metrics import Metrics, new_metrics


class TickingClock:
    """Monotonic seconds that move when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def settings(tmp_path: Path, port: int, timeout_s: float = 0.25) -> Settings:
    return Settings(home=tmp_path, redis=RedisSettings(url=SecretStr(f"redis://127.0.0.1:{port}/0"), prefix="t:", timeout_s=timeout_s))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def count(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("tandem_hints_total", {"outcome": outcome}) or 0


@asynccontextmanager
async def server(reply: bytes | None) -> AsyncGenerator[tuple[int, list[bytes]]]:
    """Speaks just enough Redis: answers every command with ``reply``, or with nothing."""
    received: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            received.append(data)
            if reply is not None:
                writer.write(reply * data.count(b"*"))
        writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], received
    finally:
        listening.close()


def test_the_message_is_celerys_protocol_2() -> None:
    message = json.loads(celery_message("hint-1"))
    args, kwargs, embed = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs, set(embed.values())) == ([], {}, {None})
    assert (message["headers"]["task"], message["headers"]["id"]) == ("tandem.run_job", "hint-1")
    assert message["properties"]["delivery_info"]["routing_key"] == "autopilot"


async def test_a_refused_connection_is_false_at_once(tmp_path: Path) -> None:
    queue: JobQueue = CeleryHintQueue(settings(tmp_path, free_port(), timeout_s=10))
    started = time.perf_counter()
    assert await queue.hint() is False
    assert time.perf_counter() - started < 10, "nothing is waited for"
    await queue.close()


async def test_a_silent_server_costs_the_configured_time_once(tmp_path: Path) -> None:
    async with server(None) as (port, _):
        queue = CeleryHintQueue(settings(tmp_path, port, timeout_s=1))
        started = time.perf_counter()
        assert [await queue.hint() for _ in range(50)] == [False] * 50
        assert time.perf_counter() - started < 25, "fifty waits would be fifty seconds"
        await queue.close()


async def test_an_error_reply_is_false(tmp_path: Path) -> None:
    async with server(b"-OOM command not allowed\r\n") as (port, _):
        queue = CeleryHintQueue(settings(tmp_path, port))
        assert await queue.hint() is False
        await queue.close()


async def test_after_a_failure_one_probe_reopens_the_way(tmp_path: Path) -> None:
    port, clock, metrics = free_port(), TickingClock(), new_metrics()
    queue = CeleryHintQueue(settings(tmp_path, port), metrics=metrics, monotonic=clock)
    assert not await queue.hint()
    assert not await queue.hint()
    assert (count(metrics, "failed"), count(metrics, "skipped")) == (1, 1)

    clock.seconds += PROBE_AFTER_S
    assert not await queue.hint()
    assert (count(metrics, "failed"), count(metrics, "skipped")) == (2, 1)
    await queue.close()


async def test_while_the_probe_is_under_way_others_are_skipped(tmp_path: Path) -> None:
    async with server(None) as (port, _):
        clock, metrics = TickingClock(), new_metrics()
        queue = CeleryHintQueue(settings(tmp_path, port, timeout_s=0.05), metrics=metrics, monotonic=clock)
        await queue.hint()
        clock.seconds += PROBE_AFTER_S
        await asyncio.gather(*[queue.hint() for _ in range(10)])
        assert (count(metrics, "failed"), count(metrics, "skipped")) == (2, 9)
        await queue.close()


async def test_a_wrong_password_is_false_and_not_logged(tmp_path: Path) -> None:
    async with server(b"-WRONGPASS invalid\r\n") as (port, _):
        redis = RedisSettings(url=SecretStr(f"redis://:hunter2@127.0.0.1:{port}/0"), prefix="t:")
        queue = CeleryHintQueue(Settings(home=tmp_path, redis=redis))
        assert await queue.hint() is False
        await queue.close()


async def test_many_hints_are_one_bounded_command(tmp_path: Path) -> None:
    async with server(b":3\r\n") as (port, received):
        queue = CeleryHintQueue(settings(tmp_path, port, timeout_s=2))
        assert await queue.hint(3)
        assert await queue.hint(100_000)
        assert await queue.hint(0)
        await queue.close()
    commands = b"".join(received).split(b"LPUSH")[1:]
    assert [command.count(b"tandem.run_job") for command in commands] == [3, MAX_HINTS]
