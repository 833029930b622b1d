"""Wake-ups within one process: for tests, and where everything lives in one process. Other processes hear nothing and must poll."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tandem.events.wakes import Watchers
from tandem.ids import StreamId
from tandem.ports import Appended


class MemoryNotifier:
    """Implements ``Notifier``."""

    def __init__(self) -> None:
        self._watchers = Watchers()

    async def notify(self, appended: Sequence[Appended]) -> None:
        for each in appended:
            self._watchers.wake(each.stream)

    @asynccontextmanager
    async def subscribe(self, stream: StreamId) -> AsyncGenerator[AsyncIterator[None]]:
        with self._watchers.watch(stream) as wakes:
            yield wakes

    async def is_up(self) -> bool:
        return True

    async def close(self) -> None:
        return None
