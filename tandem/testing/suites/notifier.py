"""The conformance suite of ``Notifier``: subclass it where the fixtures are.

Fixtures it asks for: ``notifier``, a ``Notifier`` that works; ``speaker``, another one that reaches it, as another process would (the same object
where an adapter serves one process only).
"""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

from tandem.ids import StreamId
from tandem.ports import Appended, Notifier

JOB: Final = StreamId("job_a")
OTHER: Final = StreamId("job_b")
_SOON_S: Final = 5.0
_SILENCE_S: Final = 0.1
_DEAF_S: Final = 10.0


async def woken(wakes: AsyncIterator[None], within_s: float = _SOON_S) -> bool:
    """Whether a wake-up comes soon."""
    try:
        async with asyncio.timeout(within_s):
            await anext(wakes)
    except TimeoutError:
        return False
    return True


async def settle(wakes: AsyncIterator[None], speaker: Notifier, stream: StreamId = JOB) -> None:
    """Return when the watcher hears the speaker, and has nothing more to hear."""
    async with asyncio.timeout(_DEAF_S):
        while True:
            await speaker.notify([Appended(stream, 0)])
            if await woken(wakes, _SILENCE_S):
                break
    while await woken(wakes, _SILENCE_S):
        pass


class NotifierConformance:
    """Everything a ``Notifier`` promises."""

    async def test_a_watcher_is_woken_when_its_log_grows(self, notifier: Notifier, speaker: Notifier) -> None:
        async with notifier.subscribe(JOB) as wakes:
            await settle(wakes, speaker)
            await speaker.notify([Appended(JOB, 3)])
            assert await woken(wakes)

    async def test_a_watcher_of_another_log_sleeps_on(self, notifier: Notifier, speaker: Notifier) -> None:
        async with notifier.subscribe(JOB) as wakes, notifier.subscribe(OTHER) as others:
            await settle(wakes, speaker)
            await settle(others, speaker, OTHER)
            await speaker.notify([Appended(OTHER, 3)])
            assert await woken(others)
            assert not await woken(wakes, _SILENCE_S)

    async def test_all_watchers_of_a_log_are_woken(self, notifier: Notifier, speaker: Notifier) -> None:
        async with AsyncExitStack() as stack:
            watchers = [await stack.enter_async_context(notifier.subscribe(JOB)) for _ in range(3)]
            for wakes in watchers:
                await settle(wakes, speaker)
            await speaker.notify([Appended(OTHER, 1), Appended(JOB, 3)])
            assert [await woken(wakes) for wakes in watchers] == [True] * 3

    async def test_words_that_come_before_the_look_are_few_wake_ups(self, notifier: Notifier, speaker: Notifier) -> None:
        async with notifier.subscribe(JOB) as wakes:
            await settle(wakes, speaker)
            for seq in range(50):
                await speaker.notify([Appended(JOB, seq)])
            assert await woken(wakes)
            more = 0
            while await woken(wakes, _SILENCE_S):
                more += 1
            assert more < 25

    async def test_a_wait_that_is_cancelled_loses_nothing(self, notifier: Notifier, speaker: Notifier) -> None:
        async with notifier.subscribe(JOB) as wakes:
            await settle(wakes, speaker)  # ends with a cancelled wait
            await speaker.notify([Appended(JOB, 1)])
            assert await woken(wakes)

    async def test_leaving_and_coming_back_works(self, notifier: Notifier, speaker: Notifier) -> None:
        for _ in range(3):
            async with notifier.subscribe(JOB) as wakes:
                await settle(wakes, speaker)
                await speaker.notify([Appended(JOB, 1)])
                assert await woken(wakes)

    async def test_one_of_two_watchers_leaving_does_not_deafen_the_other(self, notifier: Notifier, speaker: Notifier) -> None:
        async with notifier.subscribe(JOB) as staying:
            async with notifier.subscribe(JOB):
                pass
            await settle(staying, speaker)
            await speaker.notify([Appended(JOB, 1)])
            assert await woken(staying)

    async def test_telling_nobody_and_nothing_is_fine(self, notifier: Notifier) -> None:
        await notifier.notify([])
        await notifier.notify([Appended(JOB, 0)])
        assert await notifier.is_up()
