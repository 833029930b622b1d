"""Which tools exist, and which of them this machine can offer.

``tool_names`` is cheap: it loads no tool. ``offered_tools`` probes and builds them, in the process that will run them and after its fork.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Final, cast

from tandem.errors import UnknownTool
from tandem.ports import Tool
from tandem.schemas.tools import ToolSpec
from tandem.telemetry import get_logger
from tools.offers import Offer, Supplies

PYTHON: Final = "python"
MCP_SEPARATOR: Final = "__"
"""Between the name of an MCP server and that of its tool; no tool of Tandem's own has it."""
_PROVIDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "tools.python_exec": (PYTHON,),
    "tools.python_full": ("python_full",),
    "tools.http_request": ("http_request", "http_write"),
    "tools.calculator.tool": ("calculator",),
    "tools.dates.tool": ("datetime",),
    "tools.documents.tool": ("documents",),
    "tools.sql.tool": ("sql",),
    "tools.sql.tables_tool": ("table_query",),
    "tools.people": ("ask_user",),
    "tools.subtask": ("subtask",),
    "tools.memory": ("memory_search", "memory_save"),
    "tools.web.search": ("web_search",),
    "tools.web.fetch": ("web_fetch",),
    "tools.mcp": (),
}
"""Modules with an ``offer`` coroutine, and the tools each of them provides; tools of MCP servers have names of their operator's making."""

OPEN_TOOLS: Final = frozenset({PYTHON, "python_full", "calculator", "datetime", "ask_user", "documents", "table_query"})
"""Tools that need no scope, by name, for as long as no worker has declared them; ``is_open`` says why."""


def tool_names() -> frozenset[str]:
    """Every tool Tandem has by itself, whether or not this machine can offer it."""
    return frozenset(name for names in _PROVIDERS.values() for name in names)


def check_names(names: Sequence[str], known: frozenset[str]) -> None:
    """Refuse the first name that is not among ``known``.

    Raises:
        UnknownTool: The message names what is offered.
    """
    for name in names:
        if name not in known:
            offered = ", ".join(sorted(known)) or "none"
            raise UnknownTool(f"no tool {name!r} here; offered: {offered}", param="tools")


def is_listed(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is in an operator's list, where ``*`` stands for anything."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def is_open(spec: ToolSpec) -> bool:
    """Whether any key may use the tool: one of Tandem's own that computes in itself or in a sandbox, or reads what the caller gave to the job.

    A tool of an MCP server never is, for its class may be the server's own word.
    """
    if MCP_SEPARATOR in spec.name:
        return False
    return spec.side_effect in {"pure", "exec"} or (spec.side_effect == "read_internal" and "files" in spec.needs and not spec.reads_private)


class Toolbox(Mapping[str, Tool]):
    """The tools of one process by name; whoever opened it closes it."""

    def __init__(self, tools: Mapping[str, Tool], closers: Sequence[Callable[[], Awaitable[None]]] = (), offers: Sequence[Offer] = ()) -> None:
        self._tools = dict(tools)
        self._closers = tuple(closers)
        self.offers = tuple(offers)
        """Everything that was looked at, with the reasons for what is missing."""

    def __getitem__(self, name: str) -> Tool:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def select(self, names: Sequence[str] | None) -> Mapping[str, Tool]:
        """The named tools; None takes all. Raises ``UnknownTool``."""
        if names is None:
            return dict(self._tools)
        check_names(names, frozenset(self._tools))
        return {name: self._tools[name] for name in names}

    async def close(self) -> None:
        """Close every tool; one that fails to close leaves no other open."""
        async with AsyncExitStack() as stack:
            for close in self._closers:
                stack.push_async_callback(close)


async def offered_tools(supplies: Supplies) -> Toolbox:
    """Probe and build what the operator lists and what works here; anything else is left out with its reason."""
    # The policies need the extra that the gateway, which asks for names only, may lack.
    from tools.wrappers import guarded  # noqa: PLC0415

    offers = [offer for module, names in _PROVIDERS.items() for offer in await _offers_of(module, names, supplies)]
    for offer in offers:
        if offer.tool is None:
            get_logger(__name__).info("tool_not_offered", tool=offer.spec.name, reason=offer.reason)
    tools = {offer.spec.name: guarded(offer.tool) for offer in offers if offer.tool is not None}
    return Toolbox(tools, [offer.close for offer in offers if offer.close is not None], offers)


async def _offers_of(module: str, names: Sequence[str], supplies: Supplies) -> Sequence[Offer]:
    patterns = supplies.settings.tools.offer
    if names and not any(is_listed(name, patterns) for name in names):
        return ()
    offer = cast("Callable[[Supplies], Awaitable[Sequence[Offer]]]", import_module(module).offer)
    return [each for each in await offer(supplies) if is_listed(each.spec.name, patterns)]
