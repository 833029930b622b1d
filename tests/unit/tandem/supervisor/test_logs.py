"""Logs stay bounded, and their ends can be shown."""

from pathlib import Path

from tandem.supervisor.logs import rotate, tail


def test_a_large_log_is_moved_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"old" * 10)
        assert rotate(path, largest_bytes=10)
        writer.write(b"fresh")
    assert path.read_bytes() == b"fresh"
    assert (tmp_path / "gateway.log.1").read_bytes() == b"old" * 10


def test_a_small_or_missing_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    assert not rotate(path)
    path.write_text("x", encoding="utf-8")
    assert not rotate(path)


def test_the_tail_shows_this_lifes_last_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("before\n" + "".join(f"line {number}\n" for number in range(30)), encoding="utf-8")
    assert tail(path, lines=2) == "    line 28\n    line 29"
    assert "before" not in tail(path, start=7, lines=100)
    assert not tail(tmp_path / "none.log")
