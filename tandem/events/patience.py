"""Waiting for a wake-up or for the poll time, whichever is first."""

import asyncio
from collections.abc import AsyncIterator

from tandem.ports import Clock


class Patience:
    """Waits, again and again.

    The wait for a wake-up is kept over the rounds: cancelling it each time could drop one.
    """

    def __init__(self, wakes: AsyncIterator[None], clock: Clock, poll_s: float) -> None:
        self._wakes = wakes
        self._clock = clock
        self._poll_s = poll_s
        self._next: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Patience":
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
