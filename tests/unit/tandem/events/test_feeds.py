"""The tail of a log: nothing lost, nothing doubled, woken or polling."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime

import pytest

from tandem.errors import CursorExpired, StorageUnavailable
from tandem.events import Feeds, MemoryNotifier
from tandem.events.feeds import KEPT_EVENTS, PAGE_EVENTS
from tandem.ids import StreamId
from tandem.ports import Appended
from tandem.schemas.events import Event
from tandem.testing.clock import FakeClock

STREAM = StreamId("job_a")
POLL_S = 1.0


class ListLog:
    """An ``EventLog`` in a list; counts the reads."""

    def __init__(self, events: int) -> None:
        self.reads = 0
        self.is_away = False
        self._first = 0
        self._events = 0
        self.grow(events)

    def grow(self, events: int = 1) -> None:
        self._events += events

    def sweep(self, first: int) -> None:
        """Forget what is older than ``first``."""
        self._first = first

    async def read(self, stream: StreamId, after: int, limit: int) -> Sequence[Event]:
        self.reads += 1
        if self.is_away:
            raise StorageUnavailable("away")
        start = max(self._first, after + 1)
        numbers = range(start, min(self._events, start + limit))
        return [Event(type="tick", sequence_number=n, created_at=datetime(2026, 1, 1, tzinfo=UTC), stream_id=stream) for n in numbers]

    async def first_seq(self, stream: StreamId) -> int | None:
        return self._first if self._first < self._events else None

    async def last_seq(self, stream: StreamId) -> int:
        return self._events - 1


@pytest.fixture
def notifier() -> MemoryNotifier:
    return MemoryNotifier()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(auto_advance=False)


def tail(log: ListLog, notifier: MemoryNotifier, clock: FakeClock, after: int = -1) -> "aclosing[AsyncGenerator[Event]]":
    return aclosing(Feeds(log, notifier, clock, POLL_S).follow(STREAM, after))


async def take(events: AsyncGenerator[Event], count: int) -> list[int]:
    return [(await anext(events)).sequence_number for _ in range(count)]


async def settle() -> None:
    """Let every task run until all of them wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_stored_events_come_first_and_in_order(notifier: MemoryNotifier, clock: FakeClock) -> None:
    async with tail(ListLog(5), notifier, clock, after=1) as events:
        assert await take(events, 3) == [2, 3, 4]


async def test_a_history_longer_than_a_page_comes_whole_without_waiting(notifier: MemoryNotifier, clock: FakeClock) -> None:
    log = ListLog(2 * PAGE_EVENTS + 1)
    async with tail(log, notifier, clock) as events:
        assert await take(events, 2 * PAGE_EVENTS + 1) == list(range(2 * PAGE_EVENTS + 1))
    assert log.reads == 3


async def test_a_wake_up_brings_the_next_event_at_once(notifier: MemoryNotifier, clock: FakeClock) -> None:
    log = ListLog(1)
    async with tail(log, notifier, clock) as events:
        assert await take(events, 1) == [0]
        waiting = asyncio.ensure_future(take(events, 1))
        await settle()
        log.grow()
        await notifier.notify([Appended(STREAM, 1)])
        assert await waiting == [1]
    assert clock.monotonic() == 0


async def test_without_a_wake_up_the_poll_brings_it(notifier: MemoryNotifier, clock: FakeClock) -> None:
    log = ListLog(1)
    async with tail(log, notifier, clock) as events:
        assert await take(events, 1) == [0]
        waiting = asyncio.ensure_future(take(events, 1))
        await settle()
        log.grow()
        clock.advance(POLL_S)
        assert await waiting == [1]


async def test_what_is_appended_during_a_read_is_not_lost(notifier: MemoryNotifier, clock: FakeClock) -> None:
    class RacingLog(ListLog):
        """Grows, and says so, after the second read has looked and before it returns."""

        async def read(self, stream: StreamId, after: int, limit: int) -> Sequence[Event]:
            page = await super().read(stream, after, limit)
            if self.reads == 2:
                self.grow()
                await notifier.notify([Appended(STREAM, 1)])
            return page

    log = RacingLog(1)
    async with tail(log, notifier, clock) as events:
        assert await take(events, 1) == [0]
        waiting = asyncio.ensure_future(take(events, 1))
        await settle()
        await notifier.notify([Appended(STREAM, 0)])
        assert await waiting == [1]
    assert clock.monotonic() == 0


async def test_needless_wake_ups_double_nothing(notifier: MemoryNotifier, clock: FakeClock) -> None:
    log = ListLog(1)
    async with tail(log, notifier, clock) as events:
        waiting = asyncio.ensure_future(take(events, 2))
        for _ in range(5):
            await settle()
            await notifier.notify([Appended(STREAM, 0)])
        log.grow()
        await notifier.notify([Appended(STREAM, 1)])
        assert await waiting == [0, 1]


async def test_closing_leaves_no_task_behind(notifier: MemoryNotifier, clock: FakeClock) -> None:
    async with tail(ListLog(1), notifier, clock) as events:
        assert await take(events, 1) == [0]
        waiting = asyncio.ensure_future(take(events, 1))
        await settle()
        waiting.cancel()
        await asyncio.wait({waiting})
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_many_watchers_cost_one_read_per_growth(notifier: MemoryNotifier, clock: FakeClock) -> None:
    log, watchers = ListLog(1), 50
    feeds = Feeds(log, notifier, clock, POLL_S)
    async with AsyncExitStack() as stack:
        tails = [await stack.enter_async_context(aclosing(feeds.follow(STREAM, 0))) for _ in range(watchers)]
        waiting = [asyncio.ensure_future(take(events, 3)) for events in tails]
        await settle()
        before = log.reads
        for last in (1, 2, 3):
            log.grow()
            await notifier.notify([Appended(STREAM, last)])
            await settle()
        assert await asyncio.gather(*waiting) == [[1, 2, 3]] * watchers
        assert log.reads - before == 3
        assert feeds.open_feeds == 1
    assert feeds.open_feeds == 0


async def test_a_watcher_far_behind_the_kept_events_misses_nothing(notifier: MemoryNotifier, clock: FakeClock) -> None:
    log, total = ListLog(1), KEPT_EVENTS + 3 * PAGE_EVENTS
    feeds = Feeds(log, notifier, clock, POLL_S)
    async with aclosing(feeds.follow(STREAM, -1)) as quick, aclosing(feeds.follow(STREAM, -1)) as slow:
        assert (await take(quick, 1), await take(slow, 1)) == ([0], [0])
        waiting = asyncio.ensure_future(take(quick, total))
        await settle()
        log.grow(total)
        await notifier.notify([Appended(STREAM, total)])
        assert await waiting == list(range(1, total + 1))
        assert await take(slow, total) == list(range(1, total + 1))


async def test_a_swept_log_tells_a_reader_that_is_too_old(notifier: MemoryNotifier, clock: FakeClock) -> None:
    log = ListLog(10)
    log.sweep(4)
    async with tail(log, notifier, clock, after=1) as events:
        with pytest.raises(CursorExpired):
            await take(events, 1)
    async with tail(log, notifier, clock, after=3) as events:
        assert await take(events, 6) == [4, 5, 6, 7, 8, 9]


async def test_a_log_swept_whole_does_not_keep_a_reader_turning(notifier: MemoryNotifier, clock: FakeClock) -> None:
    log = ListLog(300)
    async with tail(log, notifier, clock) as events:
        await take(events, PAGE_EVENTS)
        log.sweep(300)
        with pytest.raises(CursorExpired):
            await take(events, 1)


async def test_the_shared_reader_bears_a_database_that_is_away(notifier: MemoryNotifier, clock: FakeClock) -> None:
    log = ListLog(1)
    async with tail(log, notifier, clock) as events:
        assert await take(events, 1) == [0]
        waiting = asyncio.ensure_future(take(events, 1))
        await settle()
        log.is_away = True
        await notifier.notify([Appended(STREAM, 1)])
        await settle()
        log.is_away = False
        log.grow()
        clock.advance(POLL_S)
        assert await waiting == [1]
