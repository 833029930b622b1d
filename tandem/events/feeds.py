"""The tails of logs that many people watch at once: one reader per log and process, however many watch.

The reader keeps the newest events; a watcher that is further behind reads the table itself until it has caught up. Nothing is queued per watcher: a
slow one costs no memory, it reads later.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final

from tandem.errors import CursorExpired, StorageUnavailable
from tandem.events.patience import Patience
from tandem.ids import StreamId
from tandem.ports import Clock, EventLog, Notifier
from tandem.schemas.events import Event

PAGE_EVENTS: Final = 100
"""Events read at once; bounds the memory of a watcher that joins late."""
KEPT_EVENTS: Final = 256
"""Newest events a feed keeps for its watchers."""


class Feeds:
    """Opens tails.

    Args:
        log: The table, which alone decides what is yielded.
        notifier: Wakes up; a wake-up lost costs ``poll_s`` seconds, one too many costs a read.
        clock: For the polls.
        poll_s: Seconds between two looks without a wake-up.
    """

    def __init__(self, log: EventLog, notifier: Notifier, clock: Clock, poll_s: float = 1.0) -> None:
        self._log = log
        self._notifier = notifier
        self._clock = clock
        self._poll_s = poll_s
        self._feeds: dict[StreamId, _Feed] = {}

    @property
    def open_feeds(self) -> int:
        """Logs that are being watched."""
        return len(self._feeds)

    async def follow(self, stream: StreamId, after: int) -> AsyncGenerator[Event]:
        """Events of ``stream`` above ``after``, for ever; the caller stops at the event it knows to be the last, and closes the generator.

        Raises:
            CursorExpired: The next event is no longer kept.
            StorageUnavailable: The watcher had to read the table itself and could not. The shared reader is patient instead.
        """
        async with self._join(stream) as feed:
            while True:
                page = feed.newest(after)
                if page is None:
                    page = await self._log.read(stream, after, PAGE_EVENTS)
                    if not page and feed.is_beyond(after):
                        raise _expired(stream, after)
                for event in page:
                    if event.sequence_number != after + 1:
                        raise _expired(stream, after)
                    after = event.sequence_number
                    yield event
                if not page:
                    await feed.grown_beyond(after)

    @asynccontextmanager
    async def _join(self, stream: StreamId) -> "AsyncGenerator[_Feed]":
        feed = self._feeds.get(stream)
        if feed is None:
            feed = self._feeds[stream] = _Feed(self._log, stream)
            feed.start(self._notifier, self._clock, self._poll_s)
        feed.watchers += 1
        try:
            yield feed
        finally:
            feed.watchers -= 1
            if not feed.watchers:
                del self._feeds[stream]
                await feed.stop()


class _Feed:
    """The newest events of one log, and who waits for more."""

    def __init__(self, log: EventLog, stream: StreamId) -> None:
        self.watchers = 0
        self._log = log
        self._stream = stream
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._last: int | None = None
        """Newest number the reader has seen; None until it has looked once."""
        self._grown = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    def start(self, notifier: Notifier, clock: Clock, poll_s: float) -> None:
        self._reader = asyncio.create_task(self._read(notifier, clock, poll_s), name=f"feed {self._stream}")

    async def stop(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})

    def newest(self, after: int) -> Sequence[Event] | None:
        """Kept events above ``after``, at most a page; None when the table must be asked."""
        if self._last is not None and after >= self._last:
            return ()
        if not self._events or after + 1 < self._events[0].sequence_number:
            return None
        start = after + 1 - self._events[0].sequence_number
        return list(islice(self._events, start, start + PAGE_EVENTS))

    def is_beyond(self, after: int) -> bool:
        """Whether the reader knows of an event above ``after``."""
        return self._last is not None and self._last > after

    async def grown_beyond(self, after: int) -> None:
        """Wait until the reader knows of an event above ``after``. Raises what ended the reader."""
        while not self.is_beyond(after):
            if self._reader is not None and self._reader.done():
                self._reader.result()
            await self._grown.wait()

    async def _read(self, notifier: Notifier, clock: Clock, poll_s: float) -> None:
        """Keep up with the log until cancelled. The subscription begins before the first look, so nothing falls between the two."""
        try:
            async with notifier.subscribe(self._stream) as wakes:
                await self._keep_up(wakes, clock, poll_s)
        finally:
            self._wake()

    async def _keep_up(self, wakes: AsyncIterator[None], clock: Clock, poll_s: float) -> None:
        async with Patience(wakes, clock, poll_s) as patience:
            while True:
                try:
                    is_behind = await self._look()
                except StorageUnavailable:
                    # Watchers hear heartbeats meanwhile; the log is whole when the database is back.
                    await clock.sleep(poll_s)
                    continue
                if not is_behind:
                    await patience.wait()

    async def _look(self) -> bool:
        """Read what is new; true when there may be more at once."""
        if self._last is None:
            self._last = await self._log.last_seq(self._stream)
            self._wake()
            return False
        page = await self._log.read(self._stream, self._last, PAGE_EVENTS)
        for event in page:
            if event.sequence_number != self._last + 1:
                self._events.clear()  # what is kept has no gaps, so that places can be computed
            self._events.append(event)
            self._last = event.sequence_number
        if page:
            self._wake()
        return len(page) == PAGE_EVENTS

    def _wake(self) -> None:
        """Wake all who wait now; who comes later waits for the next growth."""
        self._grown.set()
        self._grown = asyncio.Event()


def _expired(stream: StreamId, after: int) -> CursorExpired:
    return CursorExpired(f"the events of {stream!r} after {after} are no longer kept; read its present state", param="after")
