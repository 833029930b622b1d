import asyncio
import contextlib
from collections.abc import AsyncGenerator

from gateway.streams import with_pauses


async def numbers(closed: list[str], *, ends: bool) -> AsyncGenerator[int]:
    try:
        yield 1
        yield 2
        if not ends:
            await asyncio.Event().wait()
    finally:
        closed.append("closed")


async def test_items_pass_in_order_and_the_end_ends_it() -> None:
    closed: list[str] = []
    assert [item async for item in with_pauses(numbers(closed, ends=True), 5, asyncio.Event())] == [1, 2]
    assert closed == ["closed"]


async def test_silence_is_reported_again_and_again() -> None:
    closed: list[str] = []
    async with contextlib.aclosing(with_pauses(numbers(closed, ends=False), 0.001, asyncio.Event())) as items:
        seen = [await anext(items) for _ in range(4)]
    assert seen == [1, 2, None, None]
    assert closed == ["closed"]


async def test_stopping_ends_a_silent_stream_at_once() -> None:
    closed: list[str] = []
    stopping = asyncio.Event()
    asyncio.get_running_loop().call_soon(stopping.set)
    seen = [item async for item in with_pauses(numbers(closed, ends=False), 30, stopping)]
    assert seen in ([1], [1, 2])
    assert closed == ["closed"]


async def test_an_error_of_the_source_is_raised() -> None:
    async def broken() -> AsyncGenerator[int]:
        yield 1
        raise RuntimeError("broken")

    items = with_pauses(broken(), 5, asyncio.Event())
    assert await anext(items) == 1
    with contextlib.suppress(RuntimeError):
        await anext(items)
        raise AssertionError("the error was swallowed")
