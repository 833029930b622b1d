"""Tells long streams that the process was asked to stop.

A server waits for open responses before it ends: without this, one open tab keeps the process alive for as long as the gateway keeps the stream.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, TypeVar

T = TypeVar("T")
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def called_on_exit_signal(callback: Callable[[], None]) -> Generator[None]:
    """Call ``callback`` in the running loop at SIGINT or SIGTERM, then whatever handled the signal before. Only the main thread gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        earlier = before[signal.Signals(number)]
        if callable(earlier):
            earlier(number, frame)

    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


async def until_set(items: AsyncIterator[T], stopping: asyncio.Event) -> AsyncGenerator[T]:
    """The items until there are no more, or ``stopping`` is set."""
    stop = asyncio.ensure_future(stopping.wait())
    pending: asyncio.Future[T] | None = None
    try:
        while True:
            pending = asyncio.ensure_future(anext(items))
            await asyncio.wait({pending, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not pending.done():
                return
            try:
                item = pending.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        stop.cancel()
        if pending is not None and not pending.done():
            pending.cancel()
            with suppress(asyncio.CancelledError):
                await pending
