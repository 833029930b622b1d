"""What is said over a connection: the greeting, the list of tools, a call, a sign of life. Knows neither transports nor restarts."""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from mcp import types
from mcp.shared.version import SUPPORTED_PROTOCOL_VERSIONS
from pydantic import JsonValue, ValidationError

from tandem.schemas.base import JsonObject
from tools.adapters.schemas import MAX_DEPTH, is_deeper
from tools.mcp.messages import Connection, McpFailed

MAX_TOOLS: Final = 256
"""Of one server; those beyond are not looked at."""
_MAX_PAGES: Final = 32
_ALIVE_S: Final = 2.0


async def greet(connection: Connection, server: str) -> list[types.Tool]:
    """Establish the session and list the tools. Raises ``McpFailed``."""
    params: JsonObject = {
        "protocolVersion": types.LATEST_PROTOCOL_VERSION,
        "capabilities": {},  # no sampling, no elicitation, no roots
        "clientInfo": {"name": "tandem", "version": version("tandem-agents")},
    }
    result = await connection.request("initialize", params)
    protocol = result.get("protocolVersion")
    if protocol not in SUPPORTED_PROTOCOL_VERSIONS:
        spoken = ", ".join(SUPPORTED_PROTOCOL_VERSIONS)
        raise McpFailed(f"the MCP server {server} speaks version {str(protocol)[:40]!r} of the protocol, not one of {spoken}", "mcp_unavailable")
    await connection.greeted(str(protocol))
    return await list_tools(connection, server)


async def list_tools(connection: Connection, server: str) -> list[types.Tool]:
    """All tools of the server, page by page; one that is no tool is left out. Raises ``McpFailed``."""
    connection.has_changed = False
    entries: list[types.Tool] = []
    cursor: JsonValue = None
    for _ in range(_MAX_PAGES):
        page = await connection.request("tools/list", {"cursor": cursor} if cursor else {})
        listed = page.get("tools")
        if not isinstance(listed, list):
            raise McpFailed(f"the MCP server {server} lists no tools", "mcp_error")
        entries += [entry for item in listed if (entry := _entry(item)) is not None]
        following = page.get("nextCursor")
        if not following or following == cursor or len(entries) >= MAX_TOOLS:
            break
        cursor = following
    return entries[:MAX_TOOLS]


async def call_tool(connection: Connection, server: str, name: str, arguments: Mapping[str, JsonValue]) -> types.CallToolResult:
    """Call a tool once. Raises ``McpFailed``."""
    result = await connection.request("tools/call", {"name": name, "arguments": dict(arguments)})
    if is_deeper(result, MAX_DEPTH):
        raise McpFailed(f"the MCP server {server} gave a result of more than {MAX_DEPTH} levels; ask for something simpler", "mcp_error")
    try:
        return types.CallToolResult.model_validate({"content": [], **result})
    except ValidationError:
        raise McpFailed(f"the MCP server {server} gave a result that the protocol does not know", "mcp_error") from None


async def is_alive(connection: Connection) -> bool:
    """Whether the server answers a ping."""
    try:
        async with asyncio.timeout(_ALIVE_S):
            await connection.request("ping", {})
    except TimeoutError:
        return False
    except McpFailed:
        # An error is an answer too.
        return connection.lost is None
    return True


def _entry(item: JsonValue) -> types.Tool | None:
    if is_deeper(item, MAX_DEPTH):
        return None
    try:
        return types.Tool.model_validate(item)
    except ValidationError:
        return None
