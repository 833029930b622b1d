"""One `tandem up` per home."""

import json
import os
from pathlib import Path

import pytest

from tandem.errors import ProcessFailed
from tandem.supervisor.lock import HomeLock


def no_sleep(_seconds: float) -> None:
    pass


def test_a_second_one_is_refused_and_told_process_and_address(tmp_path: Path) -> None:
    lock = HomeLock.acquire(tmp_path, "http://127.0.0.1:8700")
    try:
        with pytest.raises(ProcessFailed, match=rf"process {os.getpid()}, http://127\.0\.0\.1:8700"):
            HomeLock.acquire(tmp_path, "http://127.0.0.1:9999", sleep=no_sleep)
        assert HomeLock.is_held(tmp_path)
    finally:
        lock.release()


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    HomeLock.acquire(tmp_path, "u").release()
    assert not HomeLock.is_held(tmp_path)
    HomeLock.acquire(tmp_path, "u").release()


def test_two_homes_do_not_meet(tmp_path: Path) -> None:
    one, two = HomeLock.acquire(tmp_path / "a", "u"), HomeLock.acquire(tmp_path / "b", "u")
    one.release()
    two.release()


def test_a_dead_holders_guardian_is_waited_for(tmp_path: Path) -> None:
    lock = HomeLock.acquire(tmp_path, "u")
    nobody = 2**22 + 1  # above the largest process id Linux gives
    (tmp_path / "run" / "up.lock").write_text(json.dumps({"pid": nobody, "url": "u"}), encoding="utf-8")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            lock.release()

    HomeLock.acquire(tmp_path, "u", sleep=wait).release()
    assert len(waits) == 3


def test_no_lock_is_held_where_nothing_ever_ran(tmp_path: Path) -> None:
    assert not HomeLock.is_held(tmp_path)
