"""``tandem router policies``, ``replay`` and ``labels`` against a real gateway."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from router.__main__ import run
from tandem.errors import InvalidRequest, PolicyRefused
from tandem.ids import TenantId
from tandem.ports import LoggedDecision
from tandem.schemas.outcomes import OutcomeImport
from tandem.schemas.routing import Decision

pytestmark = pytest.mark.integration
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")
Command = Callable[..., Awaitable[str]]
POLICY = {"bands": {"check_at": 0.6, "slow_at": 0.8}, "slow_share_cap": None}


@pytest.fixture
def command(house: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command as a terminal would, and gives what it prints."""
    monkeypatch.setenv("TANDEM_API_URL", house.url)
    monkeypatch.setenv("TANDEM_API_KEY", house.token)
    monkeypatch.setenv("TANDEM_HOME", str(house.settings.home))

    async def typed(*arguments: str) -> str:
        capsys.readouterr()
        assert await asyncio.to_thread(run, arguments, "tandem router") == 0
        printed = capsys.readouterr()
        lines = (printed.out + printed.err).splitlines(keepends=True)
        return "".join(line for line in lines if not LOG_LINE.match(line))  # the gateway's, which runs in this process

    return typed


async def keep(house: Any, count: int) -> None:
    rows: list[LoggedDecision] = []
    for place in range(count):
        p_slow = (place + 0.5) / count
        lane = "slow" if p_slow >= 0.5 else "fast"
        decision = Decision(
            lane=lane, band=lane, effort="low", p_slow=p_slow, check_at=0.5, threshold=0.5, margin=p_slow - 0.5, policy_version="settings",
            model_version="m", language="zh",
        )  # fmt: skip
        rows.append(LoggedDecision(house.dependencies.ids.decision(), TenantId("acme"), decision, 20, "chat"))
    await house.storage.decisions.add(rows)


async def test_a_policy_is_drafted_published_and_withdrawn_by_command(house: Any, command: Command, tmp_path: Path) -> None:
    await keep(house, 100)
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(POLICY), encoding="utf-8")
    drafted = await command("policies", "draft", str(file), "--note", "a trial")
    version = next(word for word in drafted.split() if word.startswith("pol_"))
    assert "draft" in drafted
    assert "judged on   100 logged requests" in drafted
    assert json.loads(await command("policies", "show", version, "--json"))["bands"] == POLICY["bands"]
    assert "bands.slow_at" in await command("policies", "diff", version)
    assert f"candidate {version} at 5 %" in await command("policies", "publish", version, "--percent", "5")
    assert f"candidate {version} at 25 %" in await command("policies", "advance", "--revision", "1")
    assert f"revision 3: {version} decides" in await command("policies", "advance")
    listed = await command("policies", "list")
    assert [line.split()[:3] for line in listed.splitlines()[1:2]] == [[version, "1", "active"]]
    assert "KILL SWITCH: all_fast" in await command("policies", "kill", "--note", "fire")
    assert "KILL" not in await command("policies", "unkill")
    assert "revision 6: settings decides" in await command("policies", "rollback", "--note", "enough")
    told = (await command("policies", "history")).splitlines()
    assert [line.split()[3] for line in told[1:]] == ["roll_back", "unkill", "kill", "complete", "advance", "publish", "draft"]
    assert told[1].endswith("enough")


async def test_a_replay_prints_what_changes_and_writes_the_policy(house: Any, command: Command, tmp_path: Path) -> None:
    await keep(house, 200)
    out = tmp_path / "found.json"
    printed = await command("replay", "--slow-share", "0.25", "--out", str(out))
    facts = dict(line.split("  ", 1) for line in printed.splitlines() if "  " in line)
    assert facts["requests"].strip() == "200"
    assert facts["slow share"].strip().startswith("25")
    assert "unknown" in facts["quality"]
    assert "FLIPPED" in printed
    assert json.loads(out.read_text(encoding="utf-8"))["bands"]["slow_at"] == pytest.approx(0.75, abs=0.02)
    assert (await command("replay", "--file", str(out))).count("slow share, zh") == 1


async def test_labels_are_judged_and_exported(house: Any, command: Command, tmp_path: Path) -> None:
    async with house.http() as http:
        rows = [OutcomeImport(text=f"task {place}", fast_score=0, slow_score=1).model_dump() for place in range(2)]
        assert (await http.post("/v1/router/labels", json={"rows": rows})).status_code == 201
    listed = (await command("labels", "list")).splitlines()[1:]
    assert sorted(line.rsplit("  ", 1)[1] for line in listed) == ["task 0", "task 1"]
    first, second = (line.split()[0] for line in listed)
    assert await command("labels", "approve", first, "--lane", "fast") == f"approved {first} (answer_scored, fast)\n"
    assert (await command("labels", "reject", second)).startswith("rejected")
    out = tmp_path / "rows.jsonl"
    assert "1 approved rows" in await command("labels", "export", "--out", str(out))
    assert [json.loads(line)["id"] for line in out.read_text(encoding="utf-8").splitlines()] == [first]


async def test_what_a_command_cannot_do_it_says(house: Any, command: Command, tmp_path: Path) -> None:
    await keep(house, 100)
    file = tmp_path / "policy.json"
    file.write_text('{"bands": {"check_at": 0.9, "slow_at": 0.1}}', encoding="utf-8")
    with pytest.raises(InvalidRequest, match=r"policy\.json' is no routing policy: bands"):
        await command("policies", "draft", str(file))
    file.write_text('{"bands": {"check_at": 1.0, "slow_at": 1.0}}', encoding="utf-8")
    drafted = await command("policies", "draft", str(file))
    version = next(word for word in drafted.split() if word.startswith("pol_"))
    with pytest.raises(PolicyRefused, match="reaches slow_at 1"):
        await command("policies", "publish", version)
    assert f"{version} decides" in await command("policies", "publish", version, "--force")


@pytest.mark.parametrize("arguments", [("labels", "export"), ("replay",)])
async def test_a_file_that_cannot_be_written_is_told_by_name(house: Any, command: Command, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    await keep(house, 10)
    with pytest.raises(InvalidRequest, match=r"missing/rows' cannot be read or written \(No such file or directory\)"):
        await command(*arguments, "--out", str(tmp_path / "missing" / "rows"))
