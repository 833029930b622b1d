"""Each program that runs at the same moment has a user id of its own."""

from pathlib import Path

import pytest

from tools.sandbox.slots import UidSlots


def test_two_programs_at_once_have_different_ids(tmp_path: Path) -> None:
    slots = UidSlots(tmp_path)

    with slots.take() as first, UidSlots(tmp_path).take() as second:
        assert first != second


def test_an_id_is_free_again_afterwards(tmp_path: Path) -> None:
    slots = UidSlots(tmp_path, range(60_800, 60_801))
    with slots.take() as first:
        pass

    with slots.take() as second:
        assert first == second


def test_when_all_are_taken_the_next_is_told(tmp_path: Path) -> None:
    slots = UidSlots(tmp_path, range(60_800, 60_801))

    with slots.take(), pytest.raises(BlockingIOError, match="all 1 user ids"), slots.take():
        pass
