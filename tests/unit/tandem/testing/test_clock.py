"""The clock that stands still."""

import asyncio
from datetime import timedelta

import pytest

from tandem.testing.clock import START, FakeClock


async def test_an_automatic_clock_moves_by_what_is_slept() -> None:
    clock = FakeClock()
    await clock.sleep(2.5)
    await clock.sleep(0)
    assert (clock.now(), clock.monotonic(), clock.sleeps) == (START + timedelta(seconds=2.5), 2.5, [2.5, 0])


async def test_a_sleeper_wakes_when_its_moment_is_reached() -> None:
    clock = FakeClock(auto_advance=False)
    early, late = asyncio.ensure_future(clock.sleep(1)), asyncio.ensure_future(clock.sleep(2))
    await asyncio.sleep(0)
    clock.advance(1)
    await early
    assert not late.done()
    clock.advance(1)
    await late


async def test_a_cancelled_sleeper_disturbs_nobody() -> None:
    clock = FakeClock(auto_advance=False)
    sleeper = asyncio.ensure_future(clock.sleep(1))
    await asyncio.sleep(0)
    sleeper.cancel()
    await asyncio.wait({sleeper})
    clock.advance(1)
    assert clock.monotonic() == 1


def test_a_clock_never_goes_back() -> None:
    with pytest.raises(ValueError, match="-1"):
        FakeClock().advance(-1)
