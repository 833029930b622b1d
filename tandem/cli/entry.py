"""From the shell's arguments to an exit code: finds the command, and turns errors into one line.

Exit codes: 0 done, 1 an error that was told, 2 wrong usage, 130 interrupted. A command's own file is imported only when it runs, so
``tandem --help`` needs none of what the commands need.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

from typer import Abort, Typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from tandem.cli.console import complain
from tandem.errors import TandemError

INTERRUPTED: Final = 130
COMMANDS: Final = {
    "up": "Start everything, prove both lanes, stay up until Ctrl-C.",
    "doctor": "Say what is wrong on this machine and what to do.",
    "audit": "Check that the database keeps its promises.",
    "chat": "Talk in the terminal.",
    "submit": "Hand over a task as a background job.",
    "jobs": "List jobs, or show one.",
    "files": "Upload, list, fetch and delete the files that jobs may read.",
    "models": "List models, or fetch one ahead of time.",
    "router": "Score, explain, judge, train and tune the router.",
    "tools": "List, call, check and describe the tools of this machine.",
    "keys": "Create, list and revoke API keys.",
    "version": "Print the version.",
}
"""Each is the module ``tandem.cli.<name>`` with a function ``build() -> Typer``."""


class LateGroup(TyperGroup):
    """A group whose commands are placeholders with a help line until one of them runs."""

    def resolve_command(self, ctx: Any, args: list[str]):  # its type is private to typer
        """Put the real command in the place of its placeholder."""
        name = args[0]
        if name in COMMANDS:
            self.commands[name] = get_command(import_module(f"tandem.cli.{name}").build())
        return super().resolve_command(ctx, args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and exit."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")  # a terminal that cannot show a character still gets the rest
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        code = build_app()(list(arguments) or ["--help"], prog_name="tandem", standalone_mode=False)
    except TandemError as error:
        complain(error.message)
        return 1
    except TyperException as error:
        if message := error.format_message():  # empty when the help was shown instead
            complain(f"{message.rstrip('.')}. `tandem {_command_of(arguments)}--help` shows how it is used.")
        return error.exit_code
    except (KeyboardInterrupt, Abort):
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def build_app() -> Typer:
    """The command with all its placeholders."""
    app = Typer(
        cls=LateGroup,
        help="Tandem: a fast model that answers at once, and a careful one that works in the background.",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def _root() -> None:  # pyright: ignore[reportUnusedFunction] - registered by the decorator; makes this a group
        pass

    for name, help_line in COMMANDS.items():
        app.command(name, help=help_line)(_placeholder)
    return app


def _placeholder() -> None:
    """Replaced before it could run."""


def _command_of(arguments: Sequence[str]) -> str:
    return f"{arguments[0]} " if arguments and arguments[0] in COMMANDS else ""
