"""Nests: each piece of work has a process of its own, whatever happened to the one before."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tools.confined.warm import WarmConfinement
from tools.confined.work import Limits, WorkRefused

WORKS = "tests.unit.tools.confined.works"


@pytest.fixture
async def warm() -> AsyncIterator[WarmConfinement]:
    confinement = WarmConfinement(WORKS, Limits(seconds=1.0, memory_bytes=256 * 1024 * 1024, output_bytes=1_000_000), slots=1)
    yield confinement
    await confinement.close()
    assert not nests()


async def said(warm: WarmConfinement, what: str, *parts: bytes) -> object:
    return (await warm.run({"what": what}, parts)).answer["said"]


async def test_pieces_after_one_another_share_a_nest(warm: WarmConfinement) -> None:
    answers = [await warm.run({"what": "reverse"}, [str(n).encode(), "世界".encode()]) for n in range(5)]

    assert [answer.part.decode() for answer in answers] == [f"世界{n}" for n in range(5)]
    assert len(nests()) == 1


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("refuse", "no_text"),
        ("raise", "unreadable"),
        ("recurse", "too_deep"),
        ("swell", "too_large"),
        ("flood", "too_large"),
        ("crash", "unreadable"),
        ("spin", "timeout"),
        ("sleep", "timeout"),
        ("deaf", "timeout"),
    ],
)
async def test_a_piece_that_goes_wrong_is_refused_and_the_next_one_is_well(warm: WarmConfinement, what: str, code: str) -> None:
    with pytest.raises(WorkRefused) as raised:
        await said(warm, what)

    assert raised.value.code == code
    assert await said(warm, "reverse", b"a") == ["a"]
    assert len(nests()) == 1


async def test_the_limits_are_those_of_each_piece(warm: WarmConfinement) -> None:
    assert await said(warm, "look") == {"secrets": [], "can_write": False, "memory": 256 * 1024 * 1024, "files": 64}


async def test_a_caller_that_gives_up_leaves_nothing_running(warm: WarmConfinement) -> None:
    call = asyncio.create_task(said(warm, "sleep"))
    while not nests():
        await asyncio.sleep(0)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert not nests()


async def test_a_nest_that_was_killed_is_replaced(warm: WarmConfinement) -> None:
    await said(warm, "reverse", b"a")
    os.kill(nests()[0], signal.SIGTERM)

    with pytest.raises(WorkRefused, match="reader fail"):
        await said(warm, "reverse", b"b")
    assert await said(warm, "reverse", b"c") == ["c"]


async def test_a_nest_without_work_leaves_and_a_later_call_does_not_notice() -> None:
    warm = WarmConfinement(WORKS, Limits(), idle_s=0.01)
    await said(warm, "reverse", b"a")
    while nests():
        await asyncio.sleep(0.01)

    assert await said(warm, "reverse", b"b") == ["b"]
    await warm.close()


async def test_warming_starts_one_nest_and_does_not_wait(warm: WarmConfinement) -> None:
    await warm.warm()
    await warm.warm()
    assert await said(warm, "reverse", b"a") == ["a"]
    assert len(nests()) == 1


async def test_more_calls_than_slots_wait_and_all_are_answered(warm: WarmConfinement) -> None:
    assert await asyncio.gather(*(said(warm, "reverse", str(n).encode()) for n in range(4))) == [["0"], ["1"], ["2"], ["3"]]
    assert len(nests()) == 1


async def test_a_module_that_cannot_be_imported_is_the_operators_matter() -> None:
    with pytest.raises(WorkRefused, match="the operator must look"):
        await WarmConfinement("tools.confined.no_such_module", Limits()).run({}, [])


def nests() -> list[int]:
    """Nests that are children of ours and alive."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text(encoding="ascii").split():
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and b"tools.confined.nest" in command.read_bytes():
                found.append(int(pid))
    return found
