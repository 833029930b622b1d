"""Which tools exist and which are offered."""

import subprocess
import sys

import pytest

from tandem.errors import UnknownTool
from tools.registry import Toolbox, offered_tools, tool_names


def test_naming_the_tools_loads_no_sandbox() -> None:
    code = "import sys; from tools.registry import tool_names; tool_names(); print('pydantic_monty' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


async def test_python_is_offered_where_its_sandbox_works() -> None:
    toolbox = offered_tools()

    assert set(toolbox) == tool_names() == {"python"}
    await toolbox.close()


async def test_null_selects_all_and_an_empty_list_none() -> None:
    toolbox = offered_tools()

    assert set(toolbox.select(None)) == {"python"}
    assert toolbox.select([]) == {}


def test_an_unknown_tool_is_refused_with_the_names_that_are_offered() -> None:
    with pytest.raises(UnknownTool, match=r"no tool 'shell' here; offered: python") as raised:
        Toolbox({"python": offered_tools()["python"]}).select(["shell"])

    assert raised.value.param == "tools"
