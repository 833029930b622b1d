"""``tandem tools mcp``: which MCP servers there are, what their tools declare now against what was approved, and the approval.

Runs the servers on this machine with this machine's settings, as a worker would. A worker that is running sees the approval of a changed tool at the
next call of it; a tool that it did not offer when it started is offered when it starts again.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from mcp import types
from typer import Argument, Exit, Option, Typer, confirm

from tandem.cli.console import note, say, table
from tandem.egress import GuardedClient
from tandem.errors import InvalidRequest, TandemError, ToolFailed
from tandem.ids import IdFactory
from tandem.settings import Settings
from tools.mcp.declarations import declarations
from tools.mcp.pins import Difference, Pins, differences
from tools.mcp.provider import open_link
from tools.mcp.servers import McpServer, read_servers, servers_file
from tools.offers import Supplies

ServerName = Annotated[str, Argument(help="Name from `tandem tools mcp list`.")]


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False, help="Look at MCP servers, and approve what their tools declare.", no_args_is_help=True)
    app.command("list")(list_servers)
    app.command("diff")(diff)
    app.command("approve")(approve)
    return app


def list_servers() -> None:
    """Start every server and say how each of its tools stands."""
    settings = Settings.load()
    servers = read_servers(settings)
    if not servers:
        say(f"No MCP servers: {servers_file(settings)} does not exist or names none.")
        return
    listings = asyncio.run(_listings(servers, settings))
    rows = [("TOOL", "CLASS", "STATE")]
    for server, listing in zip(servers, listings, strict=True):
        rows += _rows(server, listing, Pins.of(settings))
    say("\n".join(table(rows)))
    if any(isinstance(listing, TandemError) for listing in listings):
        raise Exit(1)


def diff(server: ServerName) -> None:
    """Show what a server's tools declare now and what was approved; exit code 1 when the two differ."""
    settings = Settings.load()
    found = _found(settings, server)
    changes = differences(Pins.of(settings).read(found.name), asyncio.run(_listing(found, settings)))
    if not changes:
        say(f"{found.name}: every tool declares what was approved.")
        return
    _show(changes)
    raise Exit(1)


def approve(server: ServerName, yes: Annotated[bool, Option("--yes", help="Do not ask.")] = False) -> None:
    """Show what a server's tools declare now, and approve exactly that: models will read it, and call by it."""
    settings = Settings.load()
    found = _found(settings, server)
    listing = asyncio.run(_listing(found, settings))
    pins = Pins.of(settings)
    changes = differences(pins.read(found.name), listing)
    if not changes:
        say(f"{found.name}: nothing to approve; every tool declares what was approved.")
        return
    _show(changes)
    if not yes:
        confirm(f"Approve these {len(changes)} changes?", abort=True)
    pins.approve(found.name, listing)
    say(f"{found.name}: {len(listing)} tools approved.")
    for each in declarations(found, listing):
        if each.fault:
            note(f"{each.spec.name} cannot be offered all the same: {each.fault}")


def _found(settings: Settings, name: str) -> McpServer:
    servers = read_servers(settings)
    for server in servers:
        if server.name == name.lower().replace("-", "_"):
            return server
    known = ", ".join(server.name for server in servers) or "none"
    raise InvalidRequest(f"no MCP server {name!r} in {servers_file(settings)}; there: {known}")


def _show(changes: Sequence[Difference]) -> None:
    for change in changes:
        what = f" ({', '.join(change.what)})" if change.kind == "changed" else ""
        say("\n".join([f"{change.kind}: {change.tool}{what}", *(f"  {line}" for line in change.lines[2:]), ""]))


def _rows(server: McpServer, listing: list[types.Tool] | TandemError, pins: Pins) -> list[tuple[str, str, str]]:
    if isinstance(listing, TandemError):
        return [(f"{server.prefix}*", "", listing.message)]
    changes = {change.tool: change for change in differences(pins.read(server.name), listing)}
    rows: list[tuple[str, str, str]] = []
    for each in declarations(server, listing):
        change = changes.get(each.entry.name)
        is_first_use = server.trust_first_use and not pins.read(server.name)
        state = "offered" if change is None or is_first_use else f"{change.kind}, not approved"
        rows.append((each.spec.name, each.spec.side_effect, each.fault or state))
    return rows


async def _listings(servers: Sequence[McpServer], settings: Settings) -> list[list[types.Tool] | TandemError]:
    async def tried(server: McpServer) -> list[types.Tool] | TandemError:
        try:
            return await _listing(server, settings)
        except ToolFailed as error:
            return error

    return await asyncio.gather(*(tried(server) for server in servers))


async def _listing(server: McpServer, settings: Settings) -> list[types.Tool]:
    """What the server declares now; nothing is approved by looking."""
    supplies = Supplies(settings, GuardedClient(settings.egress), IdFactory(now_ms=lambda: time.time_ns() // 1_000_000))
    link = open_link(replace(server, trust_first_use=False), supplies, Pins.of(settings))
    try:
        return await link.listing()
    finally:
        await link.close()


__all__ = ["approve", "build", "diff", "list_servers"]
