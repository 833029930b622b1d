"""Offers the tools of the operator's MCP servers: all servers are opened at once, and one that fails hides no other."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import httpx
from mcp import types

from tandem.egress import operated
from tandem.errors import ToolFailed
from tandem.schemas.tools import ToolSpec
from tandem.telemetry import get_logger
from tools.mcp.declarations import bare_spec, declarations
from tools.mcp.http import HttpConnection
from tools.mcp.link import Link, Pace, Standing
from tools.mcp.messages import MAX_MESSAGE_BYTES, Connection
from tools.mcp.pins import Pins
from tools.mcp.servers import Command, McpServer
from tools.mcp.stdio import open_stdio
from tools.mcp.tool import McpTool
from tools.offers import Offer, Supplies
from tools.registry import is_listed

_WILD: Final = "*?["


async def offers_of(servers: Sequence[McpServer], supplies: Supplies) -> list[Offer]:
    """What each server offers, and for each tool that is known and not offered, why not."""
    patterns, pins = supplies.settings.tools.offer, Pins.of(supplies.settings)
    links = [open_link(server, supplies, pins) for server in servers if _may_be_listed(server, patterns)]

    async def close() -> None:
        # Together: a worker that stops has seconds for all of them.
        await asyncio.gather(*(link.close() for link in links))

    offers = await asyncio.gather(*(_offers_of(link, pins, patterns) for link in links))
    return [replace(offer, close=close) if offer.tool is not None else offer for each in offers for offer in each]


def open_link(server: McpServer, supplies: Supplies, pins: Pins) -> Link:
    """The link to a server; nothing is started before it is asked for something."""
    reach, home = server.reach, supplies.settings.home / "mcp" / server.name

    async def opener() -> Connection:
        if isinstance(reach, Command):
            return await open_stdio(server.name, reach, home)
        rules = operated(reach.url, f"mcpServers.{server.name}.url")
        # Each call has its own total time; a stream to listen on may be silent for long.
        client = supplies.egress.http_client(rules=rules, timeout=httpx.Timeout(None), max_response_bytes=MAX_MESSAGE_BYTES)
        return HttpConnection(server.name, reach, client)

    return Link(server, opener, pins, Pace(time.monotonic, asyncio.sleep))


async def _offers_of(link: Link, pins: Pins, patterns: Sequence[str]) -> list[Offer]:
    server = link.server
    try:
        standings = await link.open()
    except ToolFailed as error:
        get_logger(__name__).warning("mcp_server_unavailable", server=server.name, reason=error.message)
        await link.close()
        return [Offer(spec, None, error.message) for spec in _known(server, pins)]
    offers = [_offer(link, name, standing) for name, standing in standings.items()]
    offers += [Offer(bare_spec(server, name), None, f"the MCP server {server.name} has no tool {name!r}") for name in _missing(server, standings)]
    if not any(offer.tool is not None and is_listed(offer.spec.name, patterns) for offer in offers):
        # Whoever holds no tool of it would never close it.
        await link.close()
    return offers


def _offer(link: Link, name: str, standing: Standing) -> Offer:
    if standing.reason:
        return Offer(standing.spec, None, standing.reason)
    return Offer(standing.spec, McpTool(link, name, standing.spec))


def _known(server: McpServer, pins: Pins) -> list[ToolSpec]:
    """Declarations of the tools that were approved once, and of those that the operator names."""
    pinned = [types.Tool.model_validate(pin.entry) for pin in pins.read(server.name).values()]
    specs = {each.entry.name: each.spec for each in declarations(server, pinned)}
    return [*specs.values(), *(bare_spec(server, name) for name in sorted((server.tools or frozenset()) - specs.keys()))]


def _missing(server: McpServer, standings: Mapping[str, Standing]) -> list[str]:
    return sorted((server.tools or frozenset()) - standings.keys())


def _may_be_listed(server: McpServer, patterns: Sequence[str]) -> bool:
    """Whether the operator's patterns can match a tool of the server: those that cannot need not be started."""
    for pattern in patterns:
        end = next((at for at, char in enumerate(pattern) if char in _WILD), len(pattern))
        if pattern[:end].startswith(server.prefix) or (end < len(pattern) and server.prefix.startswith(pattern[:end])):
            return True
    return False
