"""From the shell's arguments to an exit code."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.cli.entry import COMMANDS, run


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Usage: tandem" in capsys.readouterr().out


def test_the_help_needs_none_of_what_the_commands_need() -> None:
    code = (
        "import sys; from tandem.cli.entry import run; run(['--help']); sys.exit(', '.join({'httpx', 'sqlalchemy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[4])
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"Usage: tandem {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nope"], ["up", "--nope"], ["keys", "create"], ["keys"], ["submit"], ["keys", "revoke"]])
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


def test_wrong_usage_is_told_in_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    run(["keys", "create"])
    shown = capsys.readouterr()
    assert shown.err.strip() == "error: Missing option '--name'. `tandem keys --help` shows how it is used."
    assert not shown.out


def test_an_error_is_one_line_without_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TANDEM_GATEWAY_PORT", "99999")
    assert run(["jobs"]) == 1
    shown = capsys.readouterr().err.strip().splitlines()
    assert len(shown) == 1
    assert shown[0].startswith("error: environment variable TANDEM_GATEWAY_PORT:")


def test_without_a_key_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path))
    assert run(["jobs"]) == 1
    assert "start `tandem up` once" in capsys.readouterr().err


def test_an_absent_gateway_is_told_with_its_address(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path))
    monkeypatch.setenv("TANDEM_API_KEY", "tdm_x")
    monkeypatch.setenv("TANDEM_GATEWAY_PORT", "1")
    assert run(["jobs"]) == 1
    assert "no gateway answers at 'http://127.0.0.1:1'" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0
    assert capsys.readouterr().out.startswith("tandem ")


class Interrupted(io.StringIO):
    def read(self, size: int | None = -1) -> str:
        raise KeyboardInterrupt


def test_an_interruption_exits_130_without_a_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Interrupted())
    assert run(["submit", "-"]) == 130
    assert capsys.readouterr() == ("", "")
