"""``tandem router``: what its commands print, and how they fail."""

import io
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer import Typer

from router.__main__ import COMMANDS, main
from router.commands.asks import read_row
from tandem.cli.entry import run
from tandem.errors import InvalidRequest
from tandem.schemas.routing import Decision

ROOT = Path(__file__).resolve().parents[3]
HARD = "Research the market for heat pumps in Europe, compare the main makers and write a detailed report with sources."


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "home"))


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return str(path)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_a_module_with_a_build(name: str) -> None:
    assert isinstance(import_module(f"router.commands.{name}").build(), Typer)


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["router", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: tandem router COMMAND")
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["router", name, "--help"]) == 0
    assert f"Usage: tandem router {name}" in capsys.readouterr().out


def test_the_help_needs_none_of_what_the_commands_need() -> None:
    heavy = "{'numpy', 'httpx', 'pydantic', 'scipy'}"
    code = f"import sys; from router.__main__ import main; main(['--help']); sys.exit(', '.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr.strip() == ""
    assert "score" in done.stdout


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["router", "guess"]) == 2
    assert "no command 'guess'" in capsys.readouterr().err


def test_training_takes_its_own_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    assert "--data" in capsys.readouterr().out


def test_a_decision_is_written_for_every_line_in_order_with_its_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": 7, "prompt": "你好"}, {"text": HARD, "id": "b"}, {"prompt": ""}]
    assert run(["router", "score", write(tmp_path / "in.jsonl", *rows)]) == 0
    found = lines(capsys.readouterr().out)
    assert [each.pop("id", None) for each in found] == [7, "b", None]
    decisions = [Decision.model_validate(each) for each in found]
    assert [decision.lane for decision in decisions] == ["fast", "slow", "fast"]
    assert set(found[0]) == set(Decision.model_fields)


def test_the_newest_user_message_is_the_ask_and_the_others_its_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages: list[dict[str, object]] = [
        {"role": "system", "content": HARD},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": HARD},
        {"role": "user", "content": [{"type": "text", "text": "/deep"}, {"type": "image_url", "image_url": "x"}, {"type": "text", "text": "thanks"}]},
    ]
    turns = read_row(json.dumps({"messages": messages})).turns
    assert (turns.text, turns.history) == ("/deep\nthanks", ("hi",))
    assert run(["router", "score", write(tmp_path / "in.jsonl", {"messages": messages})]) == 0
    decision = lines(capsys.readouterr().out)[0]
    assert (decision["lane"], decision["override"], decision["signs"]["turns"]) == ("slow", "text", 1)


def test_a_label_beside_the_prompt_does_not_steer() -> None:
    turns = read_row('{"prompt": "hi", "lane": "slow", "effort": "max", "text": "x", "history": ["y"]}').turns
    assert (turns.text, turns.choice, turns.effort, turns.history) == ("hi", "auto", None, ())


def test_a_prompt_may_be_a_conversation() -> None:
    assert read_row('{"prompt": [{"role": "user", "content": "hi"}]}').turns.text == "hi"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "is a list, not a JSON object"),
        ('{"question": "x"}', "it has question"),
        ("{}", "it has no field"),
        ('{"prompt": 5}', "`prompt` is a number; it must be a string"),
        ('{"prompt": null}', "`prompt` is null"),
        ('{"messages": "hi"}', "`messages` is a string; it must be a list"),
        ('{"messages": []}', "no message with the role 'user'"),
        ('{"messages": [5]}', r"`messages\[0\]` is not a message"),
        ('{"messages": [{"content": "x"}]}', "with a `role`"),
        ('{"messages": [{"role": "user", "content": {"a": 1}}]}', "message 0 is an object"),
        ('{"messages": [{"role": "user"}]}', "message 0 is null"),
        ('{"messages": [{"role": "user", "content": ["hi"]}]}', "part 0 of message 0 is a string"),
        ('{"text": true}', "`text` is a boolean"),
    ],
)
def test_a_bad_row_is_told_by_what_is_wrong(line: str | bytes, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        read_row(line)


def test_a_bad_line_stops_the_run_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "in.jsonl", {"prompt": "hi"}, "", "nonsense", {"prompt": "hi"})
    assert run(["router", "score", path]) == 1
    shown = capsys.readouterr()
    assert "in.jsonl line 3 is not JSON" in shown.err
    assert len(shown.out.splitlines()) == 1


def test_the_file_that_is_read_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "in.jsonl", {"prompt": "hi"})
    (tmp_path / "link").symlink_to(path)
    for out in (path, str(tmp_path / "link")):
        assert run(["router", "score", path, "--out", out]) == 1
        assert "is the file that is read" in capsys.readouterr().err
    assert read_row(Path(path).read_bytes()).turns.text == "hi"


@pytest.mark.parametrize("number", ["NaN", "1e400", '{"a": [-Infinity]}'])
def test_an_id_that_json_cannot_write_is_told(number: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(f'{{"id": {number}, "prompt": "hi"}}\n', encoding="utf-8")
    assert run(["router", "score", str(path)]) == 1
    assert "line 1 has an `id`" in capsys.readouterr().err


def test_a_bad_line_may_be_skipped_and_leaves_an_error_in_its_place(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert (
        run(["router", "score", write(tmp_path / "in.jsonl", {"prompt": "hi"}, "nonsense", {"prompt": "hi"}), "--out", str(out), "--skip-bad"]) == 0
    )
    found = lines(out.read_text(encoding="utf-8"))
    assert ["error" in each for each in found] == [False, True, False]
    assert "line 2" in found[1]["error"]


def test_standard_input_is_read_with_a_mark_and_windows_line_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO('\ufeff{"prompt": "你好"}\r\n'.encode()), encoding="utf-8"))
    assert run(["router", "score", "-"]) == 0
    assert lines(capsys.readouterr().out)[0]["language"] == "zh"


def test_the_same_file_gives_the_same_decisions(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", {"prompt": HARD}, {"prompt": "hi"})
    found: list[list[dict[str, Any]]] = []
    for out in (tmp_path / "a", tmp_path / "b"):
        run(["router", "score", path, "--out", str(out)])
        found.append([each | {"latency_us": 0} for each in lines(out.read_text(encoding="utf-8"))])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "arguments", [["absent.jsonl"], ["."], ["{in}", "--out", "."], ["{in}", "--policy", "absent"], ["{in}", "--artifact", "absent"]]
)
def test_what_cannot_be_opened_is_one_line(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "in.jsonl", {"prompt": "hi"})
    assert run(["router", "score", *(argument.replace("{in}", path) for argument in arguments)]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert len(shown.strip().splitlines()) == 1


def test_a_policy_file_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = write(tmp_path / "all-slow.json", {"bands": {"check_at": 0.0, "slow_at": 0.0}})
    assert run(["router", "score", write(tmp_path / "in.jsonl", {"prompt": "hi"}), "--policy", policy]) == 0
    decision = lines(capsys.readouterr().out)[0]
    assert (decision["lane"], decision["policy_version"]) == ("slow", "all-slow")


@pytest.mark.parametrize(
    ("content", "problem"), [("nonsense", "the file: Invalid JSON"), ('{"bands": {"check_at": 2, "slow_at": 1}}', "bands.check_at")]
)
def test_a_file_that_is_no_policy_is_told(content: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["router", "explain", "hi", "--policy", write(tmp_path / "p.json", content)]) == 1
    assert problem in capsys.readouterr().err


def test_an_explanation_says_band_reason_and_signs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["router", "explain", HARD, "--history", "hi", "--previous-lane", "fast"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("slow: becomes a job")
    assert "why: P(slow)" in shown
    assert "1 messages before this one" in shown
    assert "the answer before was fast" in shown


def test_an_override_is_explained_beside_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    run(["router", "explain", "/deep hello"])
    assert "why: the words of the message say so (the score alone says fast)" in capsys.readouterr().out


def test_an_explanation_may_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    run(["router", "explain", "hello", "--json"])
    assert Decision.model_validate_json(capsys.readouterr().out).lane == "fast"


def test_an_unknown_lane_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "hello", "--previous-lane", "medium"]) == 2
    assert "'medium' is no lane" in capsys.readouterr().err


def test_as_a_program_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--data", str(tmp_path)]) == 1
    assert "holds no folder routing/" in capsys.readouterr().err
