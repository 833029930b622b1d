"""Work in a child process: what comes back, what is refused, and that nothing stays behind."""

import asyncio
from pathlib import Path

import pytest

from tools.confined.process import Confinement
from tools.confined.work import Limits, WorkRefused

WORKS = "tests.unit.tools.confined.works"


async def run(what: str, limits: Limits | None = None, parts: tuple[bytes, ...] = ()) -> tuple[object, bytes]:
    done = await Confinement().run(WORKS, {"what": what}, parts, limits or Limits(seconds=5))
    return done.answer["said"], done.part


async def test_parts_reach_the_child_and_one_comes_back() -> None:
    assert await run("reverse", parts=(b"ab", "世界".encode())) == (["ab", "世界"], "世界ab".encode())


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("refuse", "no_text"),
        ("raise", "unreadable"),
        ("recurse", "too_deep"),
        ("swell", "too_large"),
        ("flood", "too_large"),
        ("crash", "unreadable"),
    ],
)
async def test_whatever_the_work_does_the_caller_gets_a_reason(what: str, code: str) -> None:
    with pytest.raises(WorkRefused) as raised:
        await run(what, Limits(seconds=20, memory_bytes=256 * 1024 * 1024, output_bytes=1_000_000))

    assert raised.value.code == code
    assert raised.value.message


@pytest.mark.parametrize("what", ["spin", "sleep", "deaf"])
async def test_endless_work_is_stopped_and_leaves_no_process(what: str) -> None:
    with pytest.raises(WorkRefused, match=r"longer than 0\.5 s") as raised:
        await run(what, Limits(seconds=0.5))

    assert raised.value.code == "timeout"
    assert not confined_children()


async def test_a_caller_that_gives_up_leaves_no_process() -> None:
    call = asyncio.create_task(run("sleep", Limits(seconds=30)))
    while not confined_children():
        await asyncio.sleep(0)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert not confined_children()


async def test_the_child_has_no_environment_no_files_to_write_and_a_memory_limit() -> None:
    said, _ = await run("look")

    assert said == {"secrets": [], "can_write": False, "memory": 1024 * 1024 * 1024, "files": 64}


async def test_more_calls_than_slots_wait_and_all_are_answered() -> None:
    confinement = Confinement(slots=1)

    answers = await asyncio.gather(*(confinement.run(WORKS, {"what": "reverse"}, [str(n).encode()], Limits()) for n in range(3)))

    assert [answer.answer["said"] for answer in answers] == [["0"], ["1"], ["2"]]


def confined_children() -> list[int]:
    """Processes of ours that run the child's side."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text(encoding="ascii").split():
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and b"tools.confined.child" in command.read_bytes():
                found.append(int(pid))
    return found
