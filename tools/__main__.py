"""``python -m tools COMMAND``, which is also ``tandem tools COMMAND``."""

import sys
from collections.abc import Sequence
from typing import Final

from tandem.cli.rooms import Room

COMMANDS: Final = {
    "list": "Say which tools work on this machine, and why the others do not.",
    "call": "Run a tool here and print its result.",
    "doctor": "Try every tool that should work, and say what is missing.",
    "schema": "Print a tool's declaration as a model's protocol has it.",
    "mcp": "Look at MCP servers, and approve what their tools declare.",
    "audit": "Export or verify a tenant's audit log.",
}
"""Each is the module ``tools.commands.<name>``."""
_ROOM: Final = Room("tools.commands", "The tools of this machine, with this machine's settings.", COMMANDS)
run = _ROOM.run


def main(arguments: Sequence[str]) -> int:
    """Run as a program."""
    return _ROOM.main(arguments, "python -m tools")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
