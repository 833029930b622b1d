"""How readiness is seen."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem.supervisor.probes import AliveFileProbe, HttpProbe, RedisProbe

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: bytes) -> AsyncGenerator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4_096)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "is_ready"),
    [(b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False), (b"", False), (b"\x00" * 100_000, False)],
)
async def test_http_is_ready_at_200_only(answer: bytes, is_ready: bool) -> None:
    async with serving(answer) as port:
        assert await HttpProbe(f"http://127.0.0.1:{port}/healthz").is_ready(0.0) is is_ready


async def test_a_closed_port_is_not_ready() -> None:
    async with serving(b"") as port:
        pass
    assert not await HttpProbe(f"http://127.0.0.1:{port}/").is_ready(0.0)


@pytest.mark.parametrize(("answer", "is_ready"), [(b"+OK\r\n", True), (b"-WRONGPASS no\r\n", False), (b"-LOADING wait\r\n", False)])
async def test_redis_is_ready_when_it_takes_our_password(answer: bytes, is_ready: bool) -> None:
    async with serving(answer) as port:
        assert await RedisProbe(port, "sesame").is_ready(0.0) is is_ready


async def test_a_file_counts_only_when_touched_since_the_start(tmp_path: Path) -> None:
    path = tmp_path / "worker.alive"
    assert not await AliveFileProbe(path).is_ready(100.0)
    path.touch()
    os.utime(path, (99.0, 99.0))
    assert not await AliveFileProbe(path).is_ready(100.0)
    os.utime(path, (101.0, 101.0))
    assert await AliveFileProbe(path).is_ready(100.0)
