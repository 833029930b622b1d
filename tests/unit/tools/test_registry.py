"""Which tools exist and which are offered."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tandem.egress import GuardedClient
from tandem.errors import UnknownTool
from tandem.ids import IdFactory
from tandem.settings import Settings, ToolSettings
from tools.offers import Supplies
from tools.registry import offered_tools, tool_names


def supplies(home: Path, *offer: str) -> Supplies:
    settings = Settings(home=home, tools=ToolSettings(offer=[*offer] or ["*"]))
    return Supplies(settings, GuardedClient(settings.egress), IdFactory(now_ms=lambda: time.time_ns() // 1_000_000))


def test_naming_the_tools_loads_no_sandbox() -> None:
    code = "import sys; from tools.registry import tool_names; tool_names(); print('pydantic_monty' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


async def test_python_is_offered_where_its_sandbox_works(tmp_path: Path) -> None:
    toolbox = await offered_tools(supplies(tmp_path, "python"))

    assert set(toolbox) == {"python"} <= tool_names()
    await toolbox.close()


async def test_null_selects_all_and_an_empty_list_none(tmp_path: Path) -> None:
    toolbox = await offered_tools(supplies(tmp_path, "python"))

    assert set(toolbox.select(None)) == {"python"}
    assert toolbox.select([]) == {}
    await toolbox.close()


async def test_what_the_operator_does_not_list_is_not_even_looked_at(tmp_path: Path) -> None:
    toolbox = await offered_tools(supplies(tmp_path, "nothing_*"))

    assert (dict(toolbox), toolbox.offers) == ({}, ())


async def test_an_unknown_tool_is_refused_with_the_names_that_are_offered(tmp_path: Path) -> None:
    toolbox = await offered_tools(supplies(tmp_path, "python"))
    with pytest.raises(UnknownTool, match=r"no tool 'shell' here; offered: python") as raised:
        toolbox.select(["shell"])
    await toolbox.close()

    assert raised.value.param == "tools"
