"""``tandem tools``: what its commands print, and how they fail, on a machine with nothing set up."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer import Typer

from tandem.cli.entry import run
from tandem.cli.session import open_database
from tandem.errors import InvalidRequest, ToolFailed
from tandem.ids import TenantId
from tandem.schemas.audit import AuditEntry
from tandem.schemas.tools import ToolSpec
from tandem.settings import Settings
from tools.__main__ import COMMANDS, main
from tools.commands.call import read_arguments
from tools.commands.desk_shelf import DeskShelf
from tools.commands.doctor import examine, is_set_up
from tools.commands.schema import told

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, no tool but the small ones, and the logging as it was."""
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TANDEM_TOOLS_OFFER", "python,ask_user,sql,web_search,http_write")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield tmp_path / "home"
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_a_module_with_a_build(name: str) -> None:
    assert isinstance(import_module(f"tools.commands.{name}").build(), Typer)


def test_the_help_names_every_command_and_needs_none_of_what_they_need() -> None:
    heavy = "{'httpx', 'pydantic', 'jsonschema', 'mcp', 'langchain_core'}"
    code = f"import sys; from tools.__main__ import main; main(['--help']); sys.exit(', '.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr.strip() == ""
    assert all(name in done.stdout for name in COMMANDS)


def test_an_unknown_command_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert (run(["tools", "lst"]), main(["lst"])) == (2, 2)
    assert "list, call, doctor" in capsys.readouterr().err


def test_the_list_says_what_works_and_why_the_rest_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tools", "list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows["NAME"].split() == ["NAME", "CLASS", "STATE", "REASON"]
    assert rows["python"].split() == ["python", "exec", "offered"]
    assert "TANDEM_TOOLS_SEARCH" in rows["web_search"]
    assert "web_fetch" not in rows
    assert run(["tools", "list", "--json"]) == 0
    assert {each["name"]: each["state"] for each in json.loads(capsys.readouterr().out)}["sql"] == "unavailable"


def test_a_call_prints_its_result_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tools", "call", "python", "--json", json.dumps({"code": "print('你好')\n6 * 7"})]) == 0
    shown = capsys.readouterr().out
    result = json.loads(shown)
    assert (result["ok"], result["output"], result["stdout"]) == (True, 42, "你好\n")
    assert "你好" in shown, "readable as it is"


def test_a_call_that_fails_says_so_in_its_result_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tools", "call", "python", "--json", '{"code": "1 / 0"}']) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["ok"], "ZeroDivisionError" in result["error"]["message"]) == (False, True)
    assert run(["tools", "call", "python", "--json", '{"kode": "1"}']) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "invalid_arguments"


def test_arguments_may_come_from_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"code": "2 + 2"}'))
    assert run(["tools", "call", "python", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["call", "pyton"], "did you mean 'python'"),
        (["call", "网页"], "no tool '网页' on this machine"),
        (["call", "web_fetch"], "left out by TANDEM_TOOLS_OFFER"),
        (["call", "web_search", "--json", '{"query": "x"}'], "TANDEM_TOOLS_SEARCH"),
        (["call", "python", "--json", '{"code": 1,}'], "in line 1, column 12"),
        (["call", "python", "--json", "[1]"], "--json holds list '[1]'"),
        (["call", "python", "--file", "/nowhere/data.csv"], "'/nowhere/data.csv' cannot be read"),
        (["schema", "pyton"], "did you mean 'python'"),
        (["audit", "verify", "--head", "00"], "say whose with --tenant"),
        (["audit", "verify", "--file", "/nowhere/log"], "'/nowhere/log' cannot be read"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_the_remedy(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tools", *arguments]) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert told in shown.err


def test_broken_json_is_shown_where_it_breaks() -> None:
    with pytest.raises(InvalidRequest, match=r"line 2, column 3, near"):
        read_arguments('{"code":\n  nope}')


@pytest.mark.parametrize(
    ("form", "place"), [("tandem", ["parameters"]), ("mcp", ["inputSchema"]), ("openai", ["function", "parameters"]), ("langchain", ["args_schema"])]
)
def test_a_declaration_is_printed_in_each_protocols_form(form: str, place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tools", "schema", "ask_user", "--format", form]) == 0
    shown = json.loads(capsys.readouterr().out)
    for key in place:
        shown = shown[key]
    assert shown["required"] == ["question"]


def test_the_doctor_tries_what_it_can_and_a_machine_with_nothing_set_up_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tools", "doctor"]) == 0
    shown = capsys.readouterr().out
    assert "tried, " in next(line for line in shown.splitlines() if "python " in line)
    assert "not set up" in next(line for line in shown.splitlines() if "web_search" in line)
    assert "left out" in shown
    assert shown.splitlines()[-1].endswith("0 failures")


def test_the_doctor_fails_for_what_is_set_up_and_does_not_work(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_TOOLS_SEARCH", "brave")  # without its key
    assert run(["tools", "doctor"]) == 1
    assert "web_search" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("fail"))


async def test_a_wrong_file_of_the_operators_is_one_finding(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text("{")
    found = [finding async for finding in examine(Settings.model_validate({"home": tmp_path, "tools": {"offer": ["*__*"]}}))]
    assert [finding.state for finding in found] == ["fail"]
    assert "mcp.json" in found[0].detail


def test_a_file_that_is_there_sets_a_tool_up(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    spec = ToolSpec(name="sql", description="x", parameters={"type": "object"}, side_effect="read_internal", timeout_s=1)
    assert not is_set_up(spec, settings)
    (tmp_path / "sql.json").touch()
    assert is_set_up(spec, settings)
    assert is_set_up(spec.model_copy(update={"name": "wiki__read"}), settings)
    assert told(spec, "tandem")["name"] == "sql"


async def test_the_files_of_a_call_are_read_kept_and_written_without_overwriting(tmp_path: Path) -> None:
    (tmp_path / "数据.csv").write_bytes("名,数\n甲,1\n".encode())
    shelf = DeskShelf.of([tmp_path / "数据.csv"])
    assert [(file.name, file.media_type, file.is_made) for file in await shelf.files()] == [("数据.csv", "text/csv", False)]
    assert await shelf.read("数据.csv") == "名,数\n甲,1\n".encode()
    assert await shelf.keep("../../plot.png", "image/png", b"1") == "plot.png"
    assert await shelf.keep("plot.png", "image/png", b"2") == "plot-2.png"
    assert await shelf.read("plot-2.png") == b"2"
    with pytest.raises(ToolFailed, match=r"there is no file 'x'; there are: '数据.csv'"):
        await shelf.read("x")
    out = tmp_path / "out"
    out.mkdir()
    (out / "plot.png").write_bytes(b"mine")
    written = shelf.write(out)
    assert (out / "plot.png").read_bytes() == b"mine"
    assert sorted(path.read_bytes() for path in written) == [b"1", b"2"]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    paths = [tmp_path / "x.txt", tmp_path / "a" / "x.txt"]
    for path in paths:
        path.write_text("x")
    with pytest.raises(InvalidRequest, match=r"two files are named 'x\.txt'"):
        DeskShelf.of(paths)


@pytest.fixture
async def audited(home: Path) -> Path:
    """Three records of one tenant, exported."""
    async with open_database(Settings(home=home)) as storage:
        for number in range(3):
            await storage.audit.append(TenantId("acme"), AuditEntry(kind="tool_call", tool="python", call_id=f"{number}", outcome="好"))
    return home


async def exported(audited: Path, tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    path = tmp_path / "log.jsonl"
    assert await asyncio.to_thread(run, ["tools", "audit", "export", "--tenant", "acme", "--out", str(path)]) == 0
    return path, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_an_exported_log_verifies_without_a_database_and_an_edited_one_does_not(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, records = await exported(audited, tmp_path)
    assert [record.get("seq") for record in records] == [None, 1, 2, 3, None]
    head = records[-1]["head"]
    assert f"3 records of 'acme'; head {head}" in capsys.readouterr().err
    assert run(["tools", "audit", "verify", "--file", str(path), "--head", head]) == 0
    edited = [record | ({"outcome": "x"} if record.get("seq") == 2 else {}) for record in records]
    for broken, reason in ((edited, "record 2 is not as it was written"), (records[:-1], "its end was cut off")):
        path.write_text("".join(f"{json.dumps(record)}\n" for record in broken), encoding="utf-8")
        assert run(["tools", "audit", "verify", "--file", str(path)]) == 1
        shown = capsys.readouterr().out
        assert ("BROKEN: " in shown, reason in shown) == (True, True)
    path.write_text("{}\n", encoding="utf-8")
    assert run(["tools", "audit", "verify", "--file", str(path)]) == 1
    assert "line 1 does not open an export" in capsys.readouterr().err


async def test_the_logs_of_all_tenants_are_verified_in_the_database(audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited.exists()
    assert await asyncio.to_thread(run, ["tools", "audit", "verify"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["acme", "intact", "3"]
    assert await asyncio.to_thread(run, ["tools", "audit", "verify", "--tenant", "acme", "--head", "0" * 64]) == 1
    assert "BROKEN" in capsys.readouterr().out
