"""Tails of event logs for people who wait: silence is filled, the end of the process or of the patience ends them cleanly."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from tandem.events import Feeds
from tandem.ids import StreamId
from tandem.ports import Clock, EventLog, Notifier
from tandem.schemas.events import Event

T = TypeVar("T")


class Tails:
    """Opens tails on the event log; ``stop`` ends all of them (a gateway that shuts down)."""

    def __init__(self, log: EventLog, notifier: Notifier, clock: Clock) -> None:
        self._feeds = Feeds(log, notifier, clock)
        self._clock = clock
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    async def tail(self, stream: StreamId, after: int, *, pause_s: float, max_s: float | None = None) -> AsyncGenerator[Event | None]:
        """Events above ``after`` as they come; None whenever ``pause_s`` seconds were silent. Ends after ``max_s`` seconds or at ``stop``.

        Raises:
            CursorExpired: The next event is no longer kept.
        """
        deadline = None if max_s is None else self._clock.monotonic() + max_s
        events = self._feeds.follow(stream, after)
        async with contextlib.aclosing(with_pauses(events, pause_s, self._stopping)) as items:
            async for item in items:
                yield item
                if deadline is not None and self._clock.monotonic() >= deadline:
                    return


async def with_pauses(items: AsyncIterator[T], pause_s: float, stopping: asyncio.Event) -> AsyncGenerator[T | None]:
    """The items, with None for every ``pause_s`` seconds of silence; ends when the items do or when ``stopping`` is set."""
    stop = asyncio.ensure_future(stopping.wait())
    pending: asyncio.Future[T] | None = None
    try:
        while not stop.done():
            if pending is None:
                pending = asyncio.ensure_future(anext(items))
            done, _ = await asyncio.wait({pending, stop}, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            if pending not in done:
                if not done:
                    yield None
                continue
            try:
                item = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield item
    finally:
        stop.cancel()
        if pending is not None:
            pending.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
        if isinstance(items, AsyncGenerator):
            await items.aclose()
