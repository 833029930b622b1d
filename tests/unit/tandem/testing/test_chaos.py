"""What the chaos tests stand on: a wait that explains itself, and a world that is read while others write to it."""

from pathlib import Path

import pytest

from tandem.testing.chaos.processes import until
from tandem.testing.chaos.world import World


async def test_a_wait_in_vain_says_for_what_how_often_it_looked_and_how_busy_the_machine_is() -> None:
    with pytest.raises(AssertionError, match=r"the bus comes: not within 0\.05 s \(\d+ looks, .* load .*\)\nthe timetable"):
        await until(lambda: False, "the bus comes", lambda: "the timetable", timeout_s=0.05, every_s=0.01)


def test_the_beginning_of_a_line_is_no_call(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.call("job_1", "plan", 1)
    whole = (tmp_path / "calls").read_text(encoding="utf-8")
    with (tmp_path / "calls").open("a", encoding="utf-8") as file:
        file.write(whole[: len(whole) // 2])
    assert [call.key for call in world.of("job_1")] == [call.key for call in world.calls()] == ["plan"]


def test_a_point_fires_once_and_says_when(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.arm("in_put")
    assert (world.fires("in_put"), world.fires("in_put")) == (True, False)
    world.call("job_1", "final", 2)
    assert world.fired_at("in_put") <= world.of("job_1")[0].at
