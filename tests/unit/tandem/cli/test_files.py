"""Files from the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import pytest
from pydantic import JsonValue

from tandem.cli.entry import run
from tandem.cli.files import shown_size

FILE_ID: Final = "file_" + "0" * 26


class StandIn(Protocol):
    bodies: list[JsonValue]
    answer: Callable[..., None]
    content: Callable[[str, bytes], None]
    job: Callable[..., dict[str, JsonValue]]


def file(name: str = "销售.csv", **fields: JsonValue) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {"id": FILE_ID, "bytes": 7, "created_at": 1, "filename": name, "media_type": "text/csv", "sha256": "ab" * 32}
    return told | fields


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "销售.csv"
    path.write_bytes(b"a,b\n1,2")
    return path


def test_an_upload_prints_the_id_alone_on_standard_output(gateway: StandIn, sales: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer("POST /v1/files", file())
    assert run(["files", "upload", str(sales), "--days", "2"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{FILE_ID}\n"
    assert "7 B" in shown.err
    (form,) = gateway.bodies
    assert all(part in str(form) for part in ('filename="销售.csv"', "a,b\n1,2", "\r\n\r\n172800\r\n", "created_at", "user_data"))


def test_the_list_shows_name_size_and_end(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer("GET /v1/files", {"object": "list", "data": [file(expires_at=86_400), file("b.md")], "has_more": True})
    assert run(["files", "list"]) == 0
    shown = capsys.readouterr()
    _, first, second = shown.out.splitlines()
    assert first.split() == [FILE_ID, "销售.csv", "7", "B", "text/csv", "1970-01-02", "00:00"]
    assert second.split()[1] == "b.md"
    assert "--limit" in shown.err


def test_a_file_is_fetched_under_a_harmless_name_and_nothing_is_overwritten(
    gateway: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    gateway.answer(f"GET /v1/files/{FILE_ID}", file("../../evil.csv"))
    gateway.content(f"GET /v1/files/{FILE_ID}/content", b"\x00\xff")
    assert run(["files", "get", FILE_ID]) == 0
    assert capsys.readouterr().out == "evil.csv\n"
    assert (tmp_path / "evil.csv").read_bytes() == b"\x00\xff"
    assert run(["files", "get", FILE_ID]) == 2
    assert "--out" in capsys.readouterr().err
    assert run(["files", "get", FILE_ID, "--out", str(tmp_path / "no" / "such")]) == 2


def test_what_cannot_be_deleted_is_told_and_the_others_are(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.answer(f"DELETE /v1/files/{FILE_ID}", {"id": FILE_ID, "object": "file", "deleted": True})
    assert run(["files", "delete", "file_gone", FILE_ID]) == 1
    shown = capsys.readouterr()
    assert shown.out == f"deleted {FILE_ID}\n"
    assert "no such thing" in shown.err


def test_a_path_that_cannot_be_read_is_named_before_anything_is_sent(
    gateway: StandIn, sales: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()
    for bad, says in (("nowhere.csv", "No such file"), (str(tmp_path), "directory"), (str(tmp_path / "empty"), "is empty")):
        assert run(["files", "upload", str(sales), bad]) == 2
        assert says in capsys.readouterr().err
    assert gateway.bodies == []


def test_a_job_takes_files_by_path_and_by_id(gateway: StandIn, sales: Path) -> None:
    gateway.answer("POST /v1/files", file(id="file_" + "1" * 26))
    gateway.answer("POST /v1/jobs", gateway.job(), status=202)
    assert run(["submit", "sum it", "--file", FILE_ID, "--file", str(sales)]) == 0
    assert json.loads(json.dumps(gateway.bodies[-1]))["files"] == [FILE_ID, "file_" + "1" * 26]


def test_a_job_with_a_file_that_cannot_be_read_is_not_submitted(gateway: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "sum it", "--file", "nowhere.csv"]) == 2
    assert "nowhere.csv" in capsys.readouterr().err
    assert gateway.bodies == []


@pytest.mark.parametrize(("size", "shown"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 KB"), (20_971_520, "21.0 MB"), (5e12, "5000.0 GB")])
def test_sizes_are_short(size: float, shown: str) -> None:
    assert shown_size(size) == shown
