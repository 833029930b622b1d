"""The tail of a log: every event once and in order, at once when the notifier speaks, within the poll time when it does not."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from tandem.ids import StreamId
from tandem.ports import Clock, EventLog, Notifier
from tandem.schemas.events import Event

PAGE_EVENTS: Final = 100
"""Events read at once; bounds the memory of a watcher that joins late."""


async def follow(log: EventLog, notifier: Notifier, stream: StreamId, after: int, *, clock: Clock, poll_s: float = 1.0) -> AsyncGenerator[Event]:
    """Events of ``stream`` above ``after``, for ever; the caller stops at the event it knows to be the last, and closes the generator.

    The subscription begins before the first read, so nothing falls between the two. The table alone decides what is yielded: a wake-up lost costs
    ``poll_s`` seconds, one too many costs a read.
    """
    async with notifier.subscribe(stream) as wakes, _Patience(wakes, clock, poll_s) as patience:
        while True:
            page = await log.read(stream, after, PAGE_EVENTS)
            for event in page:
                after = event.sequence_number
                yield event
            if len(page) < PAGE_EVENTS:
                await patience.wait()


class _Patience:
    """Waits for the next wake-up or for the poll time, whichever is first.

    The wait for a wake-up is kept over the rounds: cancelling it each time could drop one.
    """

    def __init__(self, wakes: AsyncIterator[None], clock: Clock, poll_s: float) -> None:
        self._wakes = wakes
        self._clock = clock
        self._poll_s = poll_s
        self._next: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "_Patience":
        return self

    async def __aexit__(self, *_: object) -> None:
        await _cancel(self._next)

    async def wait(self) -> None:
        self._next = self._next or asyncio.ensure_future(_next(self._wakes))
        poll = asyncio.ensure_future(self._clock.sleep(self._poll_s))
        try:
            await asyncio.wait({self._next, poll}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(poll)
        if self._next.done():
            woken, self._next = self._next, None
            woken.result()


async def _next(wakes: AsyncIterator[None]) -> None:
    await anext(wakes)


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task})
