"""``python -m router COMMAND``, which is also ``tandem router COMMAND``: finds the command and hands the arguments over.

Knows nothing of what the commands do; each one's file is imported only when it runs, so the help needs none of what they need.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from typer import Abort
from typer.exceptions import TyperException
from typer.main import get_command

from tandem.cli.console import complain, say, table
from tandem.errors import InvalidRequest, TandemError

COMMANDS: Final = {
    "score": "Decide the lane of every line of a file.",
    "explain": "Say how one message would be routed, and why.",
    "eval": "Judge the router on public outcomes, calibration, robustness and slow share.",
    "train": "Train the scoring artefact from the public sets.",
    "calibrate": "Fit an artefact's probabilities to labelled rows, its weights unchanged.",
    "policies": "Draft, look at, publish and withdraw routing policies.",
    "replay": "Say what a policy would have done with logged traffic.",
    "labels": "Look at, approve, reject and export labels.",
    "collect": "Score both lanes on questions with known answers, for training.",
}
"""Each is the module ``router.commands.<name>``."""
INTERRUPTED: Final = 130


def run(arguments: Sequence[str], program: str) -> int:
    """Run one command; returns its exit code. Raises ``TandemError`` and Typer's exceptions."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        say(f"Usage: {program} COMMAND [ARGS]...\n\nScore, explain, judge, train and tune the router.\n")
        say("\n".join(table([("  " + name, line) for name, line in COMMANDS.items()])))
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        complain(f"{program} has no command {name!r}; there are: {', '.join(COMMANDS)}.")
        return 2
    command = get_command(import_module(f"router.commands.{name}").build())
    try:
        code = command(list(arguments[1:]), prog_name=f"{program} {name}", standalone_mode=False)
    except OSError as error:
        if error.filename is None:  # no file of the caller's
            raise
        raise InvalidRequest(f"{str(error.filename)!r} cannot be read or written ({error.strerror})") from error
    return code if isinstance(code, int) else 0


def main(arguments: Sequence[str]) -> int:
    """``run`` as a program: errors become one line."""
    try:
        return run(arguments, "python -m router")
    except TandemError as error:
        complain(error.message)
        return 1
    except TyperException as error:
        complain(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, Abort):
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
