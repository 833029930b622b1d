"""Which of Tandem's own tools any key may use: the list of names says what the declarations say."""

from pathlib import Path

from tandem.cli.session import ids
from tandem.egress import GuardedClient
from tandem.schemas.tools import ToolSpec
from tandem.settings import Settings
from tools.offers import Supplies
from tools.registry import MCP_SEPARATOR, OPEN_TOOLS, is_open, offered_tools, tool_names


def spec(**fields: object) -> ToolSpec:
    shape = {"name": "x", "description": "x", "parameters": {"type": "object"}, "side_effect": "pure", "timeout_s": 1}
    return ToolSpec.model_validate(shape | fields)


async def test_the_open_names_are_those_whose_declarations_are_open(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    toolbox = await offered_tools(Supplies(settings, GuardedClient(settings.egress), ids()))
    try:
        declared = {offer.spec.name: is_open(offer.spec) for offer in toolbox.offers}
    finally:
        await toolbox.close()
    assert set(declared) == tool_names(), "a provider declares what the registry says it provides"
    assert {name for name, opens in declared.items() if opens} == OPEN_TOOLS & tool_names()
    assert not any(MCP_SEPARATOR in name for name in tool_names())


def test_what_reaches_out_writes_or_reads_what_is_private_is_not_open() -> None:
    assert [is_open(spec(side_effect=kind)) for kind in ("pure", "exec", "read_internal", "read_external", "write")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert is_open(spec(side_effect="read_internal", needs=["files"]))
    assert not is_open(spec(side_effect="read_internal", needs=["files"], reads_private=True))
    assert not is_open(spec(name="wiki__read", side_effect="pure"))
