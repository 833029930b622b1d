"""Wake-ups of one stream's watchers inside one process. Knows nothing of where they come from."""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager


class Wakes(AsyncIterator[None]):
    """One watcher's wake-ups; several that arrive before it looks are one. Waiting may be cancelled without losing any."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def __anext__(self) -> None:
        await self._woken.wait()
        self._woken.clear()


class Watchers:
    """Who watches which key."""

    def __init__(self) -> None:
        self._by_key: dict[str, set[Wakes]] = {}

    @property
    def keys(self) -> list[str]:
        """What is watched at this moment."""
        return list(self._by_key)

    def is_watched(self, key: str) -> bool:
        return key in self._by_key

    @contextmanager
    def watch(self, key: str) -> Generator[Wakes]:
        """Watch a key until the block ends."""
        wakes = Wakes()
        self._by_key.setdefault(key, set()).add(wakes)
        try:
            yield wakes
        finally:
            watching = self._by_key[key]
            watching.discard(wakes)
            if not watching:
                del self._by_key[key]

    def wake(self, key: str) -> None:
        for wakes in self._by_key.get(key, ()):
            wakes.wake()
