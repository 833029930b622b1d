"""This machine's tools, opened for one command: with its settings, as a worker would open them."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from difflib import get_close_matches

from tandem.cli.session import ids
from tandem.egress import GuardedClient
from tandem.errors import TandemError, ToolNotOffered, UnknownTool
from tandem.ports import MemoryStore
from tandem.settings import LogSettings, Settings
from tandem.storage import open_storage
from tandem.telemetry.logging import configure_logging
from tools.offers import Offer, Supplies
from tools.registry import Toolbox, is_listed, offered_tools, tool_names


@asynccontextmanager
async def open_toolbox(settings: Settings, name: str | None = None) -> AsyncGenerator[Toolbox]:
    """Every tool the operator lists, or ``name`` alone. Tools that need the database have it where it answers; logs stay out of the result."""
    configure_logging(LogSettings(level="warning", format="console"), process="tools")
    if name is not None:
        listed = [name] if is_listed(name, settings.tools.offer) else []
        settings = settings.model_copy(update={"tools": settings.tools.model_copy(update={"offer": listed})})
    async with AsyncExitStack() as stack:
        memories = await _memories(settings, stack)
        toolbox = await offered_tools(Supplies(settings, GuardedClient(settings.egress), ids(), memories))
        stack.push_async_callback(toolbox.close)
        yield toolbox


def find_offer(toolbox: Toolbox, name: str, settings: Settings) -> Offer:
    """The named tool as this machine has it, working or not.

    Raises:
        UnknownTool: There is no such tool here; the message proposes a close name.
        ToolNotOffered: The operator's list leaves it out.
    """
    found = next((offer for offer in toolbox.offers if offer.spec.name == name), None)
    if found is not None:
        return found
    if name in tool_names() and not is_listed(name, settings.tools.offer):
        raise ToolNotOffered(f"the tool {name!r} is left out by TANDEM_TOOLS_OFFER, which is {','.join(settings.tools.offer)!r}; add it there")
    near = get_close_matches(name, sorted(tool_names()), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise UnknownTool(f"no tool {name!r} on this machine; {hint}`tandem tools list` shows all, also those of MCP servers")


async def _memories(settings: Settings, stack: AsyncExitStack) -> MemoryStore | None:
    """None where there is no database of this version: nothing is made or migrated for a look at the tools."""
    if settings.database_url.startswith("sqlite") and not (settings.home / "tandem.sqlite3").exists():
        return None
    storage = open_storage(settings)
    stack.push_async_callback(storage.close)
    try:
        await storage.check()
    except TandemError:  # told by `tandem doctor`; here the tools that need it say that it is not there
        return None
    return storage.memories
