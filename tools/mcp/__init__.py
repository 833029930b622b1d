"""Tools of MCP servers that the operator names in a file (``servers``): programs of ours (``stdio``) or addresses (``http``).

Covered: no door, tenant or model can name a server, a command or an argument; a tool is offered only while its declaration is the one that an
operator approved (``pins``); names, words and schemas of strangers are made harmless or refused (``declarations``); calls, messages, files and
restarts are bounded (``link``, ``tool``); nothing of a server outlives the worker (``leash``). What a server asks of its client - samples of the
model, questions to people, folders - is refused, whoever asks. Not covered: a server program runs as the worker's user, and what any server does with
the arguments that it is given is its own affair.
"""

import sys
from collections.abc import Sequence

from tandem.telemetry import get_logger
from tools.mcp.servers import read_servers
from tools.offers import Offer, Supplies


async def offer(supplies: Supplies) -> Sequence[Offer]:
    """The tools of all servers. Raises ``SettingsInvalid`` for a bad file."""
    servers = read_servers(supplies.settings)
    if not servers:
        return ()
    if sys.platform == "win32":
        get_logger(__name__).warning("mcp_not_here", reason="MCP servers need a POSIX system")
        return ()
    # The protocol's types take most of a second to load; without servers nobody needs them.
    from tools.mcp.provider import offers_of  # noqa: PLC0415

    return await offers_of(servers, supplies)


__all__ = ["offer"]
