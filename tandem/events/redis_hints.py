"""Wake-ups between processes over Redis pub/sub. Knows nothing of what the events say: a message is only "there is more".

Redis may be slow, away or restarted at any time. Telling it is bounded by ``settings.redis.timeout_s`` and skipped for a while after a failure;
watchers are woken at every (re)connection, since words may have been missed, and they poll besides. One connection per process listens for all
streams; it is ``redis-py``'s plain ``Connection``, because its ``PubSub`` reconnects on its own inside whichever call meets the fault.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from tandem.events.wakes import Watchers
from tandem.ids import StreamId
from tandem.ports import Appended
from tandem.settings import Settings
from tandem.telemetry.logging import get_logger

_SILENCE_AFTER_FAILURE_S: Final = 1.0
"""How long notifications are skipped after one failed: an absent Redis costs one time-out per second, not one per event."""
_RECONNECT_S: Final = (0.05, 0.1, 0.25, 0.5)
"""Pauses before reconnections; the last repeats."""
_PING_S: Final = 5.0
_CONNECTIONS: Final = 8
_BROKEN: Final = (RedisError, OSError, TimeoutError)

_log = get_logger(__name__)


class RedisNotifier:
    """Implements ``Notifier``; belongs to one event loop.

    Args:
        settings: Where Redis is, and how long telling it may take.
        ping_s: The listening connection gets a PING after this silence, and is given up when that brings no answer for as long again.
    """

    def __init__(self, settings: Settings, *, ping_s: float = _PING_S) -> None:
        self._ping_s = ping_s
        self._timeout_s = settings.redis.timeout_s
        self._prefix = f"{settings.redis.prefix}events:"
        self._pool = BlockingConnectionPool.from_url(
            settings.redis_url,
            max_connections=_CONNECTIONS,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            protocol=2,
            # redis-py's default retries make a refused connection take seconds.
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis(connection_pool=self._pool)
        self._silent_until_s = 0.0
        self._watchers = Watchers()
        self._listener: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None

    async def notify(self, appended: Sequence[Appended]) -> None:
        newest = {each.stream: each.last_seq for each in appended}
        now_s = asyncio.get_running_loop().time()
        if not newest or now_s < self._silent_until_s:
            return
        try:
            async with asyncio.timeout(self._timeout_s), self._redis.pipeline(transaction=False) as pipeline:
                for stream, last_seq in newest.items():
                    pipeline.publish(self._prefix + stream, last_seq)
                await pipeline.execute()
        except _BROKEN as error:
            self._silent_until_s = now_s + _SILENCE_AFTER_FAILURE_S
            _log.warning("notify_failed", error=type(error).__name__, silent_s=_SILENCE_AFTER_FAILURE_S)

    @asynccontextmanager
    async def subscribe(self, stream: StreamId) -> AsyncGenerator[AsyncIterator[None]]:
        channel = self._prefix + stream
        is_first = not self._watchers.is_watched(channel)
        try:
            with self._watchers.watch(channel) as wakes:
                if self._listener is None or self._listener.done():
                    self._listener = asyncio.create_task(self._listen(), name="redis-notifier")
                elif is_first:
                    await self._send("SUBSCRIBE", channel)
                yield wakes
        finally:
            if not self._watchers.is_watched(channel):
                await self._send("UNSUBSCRIBE", channel)

    async def is_up(self) -> bool:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._redis.ping()
        except _BROKEN:
            return False
        return True

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})
        await self._redis.aclose()
        await self._pool.disconnect()

    async def _send(self, command: str, channel: str) -> None:
        """Tell the listening connection; when that fails it is closed, and the listener subscribes to everything anew."""
        if self._connection is not None and self._connection.is_connected:
            with suppress(*_BROKEN):
                await self._connection.send_command(command, channel, check_health=False)

    async def _listen(self) -> None:
        failures = 0
        while True:
            connection = self._pool.make_connection()
            try:
                await connection.connect()
                self._connection = connection
                await connection.send_command("SUBSCRIBE", self._prefix, *self._watchers.keys, check_health=False)
                failures = 0
                _log.debug("notifier_listening", streams=len(self._watchers.keys))
                await self._hear(connection)
            except _BROKEN as error:
                if not failures:  # once per outage: the retries would say nothing new
                    _log.warning("notifier_disconnected", error=type(error).__name__)
            finally:
                self._connection = None
                await connection.disconnect(nowait=True)
            await asyncio.sleep(_RECONNECT_S[min(failures, len(_RECONNECT_S) - 1)])
            failures += 1

    async def _hear(self, connection: AbstractConnection) -> None:
        """Pass words on until the connection breaks. A confirmed subscription also wakes: something may have been said before it was in force."""
        is_waiting_for_pong = False
        while True:
            reply = cast("list[bytes] | None", await connection.read_response(timeout=self._ping_s))
            if reply is None and is_waiting_for_pong:
                raise RedisConnectionError("no answer to PING")
            is_waiting_for_pong = reply is None
            if reply is None:
                await connection.send_command("PING", check_health=False)
                continue
            kind, channel = reply[0], reply[1]
            if kind in {b"message", b"subscribe"}:
                self._watchers.wake(channel.decode())
