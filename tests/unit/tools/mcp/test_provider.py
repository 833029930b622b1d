"""Which servers are looked at, and how those that fail are told."""

import json
import time
from pathlib import Path

import pytest

from tandem.egress import GuardedClient
from tandem.ids import IdFactory
from tandem.settings import Settings, ToolSettings
from tools.mcp import offer
from tools.offers import Offer, Supplies


async def offers(home: Path, *patterns: str) -> dict[str, Offer]:
    path = home / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"shop": {"command": "no-such-command-anywhere", "tools": ["买"]}}}), encoding="utf-8")
    path.chmod(0o600)
    settings = Settings(home=home, tools=ToolSettings(offer=list(patterns)))
    supplies = Supplies(settings, GuardedClient(settings.egress), IdFactory(now_ms=lambda: time.time_ns() // 1_000_000))
    return {each.spec.name: each for each in await offer(supplies)}


@pytest.mark.parametrize("pattern", ["*", "shop__*", "shop*", "s*", "shop__22cf3c76"])
async def test_a_server_whose_tools_may_be_listed_is_looked_at_and_its_failure_told(tmp_path: Path, pattern: str) -> None:
    (found,) = (await offers(tmp_path, "python", pattern)).values()

    assert found.tool is None
    assert found.reason == "the command 'no-such-command-anywhere' of the MCP server shop is not installed: it is not in PATH"


@pytest.mark.parametrize("pattern", ["python", "shopping__*", "sho", "x*"])
async def test_a_server_whose_tools_cannot_be_listed_is_not_started(tmp_path: Path, pattern: str) -> None:
    assert await offers(tmp_path, pattern) == {}
