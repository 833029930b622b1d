"""Where control groups are looked for, on a made-up file system; whether they hold is shown by tests/sandbox."""

import os
from pathlib import Path

from tools.sandbox.cgroup import Group, GroupHome


def unified(root: Path, path: str, controllers: str) -> Path:
    folder = root / path.lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.subtree_control").write_text(controllers, encoding="ascii")
    return folder


def test_a_group_that_cannot_be_removed_again_is_not_promised(tmp_path: Path) -> None:
    # A made-up folder keeps the files in it, and so the trial fails.
    unified(tmp_path, "/tandem", "cpu memory pids")

    assert GroupHome.find("0::/tandem\n", tmp_path) is None


def test_a_group_gets_its_limits_and_its_process(tmp_path: Path) -> None:
    home = GroupHome((tmp_path,), is_unified=True)

    group = home.open(1 << 20, 7)
    group.add(42)

    (folder,) = group.folders
    assert {path.name: path.read_text(encoding="ascii") for path in folder.iterdir()} == {"pids.max": "7", "cgroup.procs": "42"}


def test_a_process_that_the_kernel_ended_is_seen_in_both_versions(tmp_path: Path) -> None:
    for name, text in (("memory.events", "low 0\noom 2\noom_kill 1\n"), ("memory.oom_control", "under_oom 0\noom_kill 1\n")):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        assert not Group((folder,)).has_run_out()
        (folder / name).write_text(text, encoding="ascii")
        assert Group((folder,)).has_run_out()


def test_groups_of_processes_that_are_gone_are_swept(tmp_path: Path) -> None:
    gone, own = tmp_path / "tandem-sandbox-999999999-abc", tmp_path / f"tandem-sandbox-{os.getpid()}-abc"
    gone.mkdir()
    own.mkdir()

    GroupHome((tmp_path,), is_unified=True).sweep()

    assert (gone.exists(), own.exists()) == (False, True)


def test_no_group_is_promised_where_none_can_be_made(tmp_path: Path) -> None:
    assert GroupHome.find("0::/\n", tmp_path) is None
    assert GroupHome.find("", tmp_path) is None
    assert GroupHome.find("4:memory:/a\n8:pids:/\n", tmp_path) is None
