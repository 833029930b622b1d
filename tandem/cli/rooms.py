"""A room's own commands, ``python -m router`` and ``python -m tools``, which are also ``tandem router`` and ``tandem tools``.

Finds the command and hands the arguments over; knows nothing of what the commands do. Each one's file is imported only when it runs, so the help
needs none of what they need.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from typer import Abort, Context, Typer
from typer.exceptions import TyperException
from typer.main import get_command

from tandem.cli.console import complain, say, table
from tandem.errors import DependencyMissing, InvalidRequest, TandemError

INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Room:
    """The commands of one package."""

    package: str
    """Each command is the module ``<package>.<name>`` with a function ``build() -> Typer``."""
    intro: str
    commands: Mapping[str, str]
    """Names and help lines."""

    def run(self, arguments: Sequence[str], program: str) -> int:
        """Run one command; returns its exit code. Raises ``TandemError`` and Typer's exceptions."""
        if not arguments or arguments[0] in {"-h", "--help"}:
            say(f"Usage: {program} COMMAND [ARGS]...\n\n{self.intro}\n")
            say("\n".join(table([("  " + name, line) for name, line in self.commands.items()])))
            return 0
        name = arguments[0]
        if name not in self.commands:
            complain(f"{program} has no command {name!r}; there are: {', '.join(self.commands)}.")
            return 2
        command = get_command(import_module(f"{self.package}.{name}").build())
        try:
            code = command(list(arguments[1:]), prog_name=f"{program} {name}", standalone_mode=False)
        except OSError as error:
            if error.filename is None:  # no file of the caller's
                raise
            raise InvalidRequest(f"{str(error.filename)!r} cannot be read or written ({error.strerror})") from error
        return code if isinstance(code, int) else 0

    def main(self, arguments: Sequence[str], program: str) -> int:
        """``run`` as a program: errors become one line."""
        try:
            return self.run(arguments, program)
        except TandemError as error:
            complain(error.message)
            return 1
        except TyperException as error:
            complain(error.format_message())
            return error.exit_code
        except (KeyboardInterrupt, Abort):
            return INTERRUPTED


def handing_over(name: str, help_line: str, remedy: str) -> Typer:
    """The command ``tandem <name>``; all behind it belongs to the room, also ``--help``, and the kernel knows nothing of the room until then."""
    app = Typer(add_completion=False)
    settings: dict[str, bool | list[str]] = {
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "allow_interspersed_args": False,
        "help_option_names": [],
    }

    def hand_over(context: Context) -> int:
        try:
            return int(import_module(f"{name}.__main__").run(context.args, f"tandem {name}"))
        except ModuleNotFoundError as error:
            raise DependencyMissing(f"the module {error.name!r}, which this command needs, is not installed here; {remedy}") from error

    app.command(name, help=help_line, add_help_option=False, context_settings=settings)(hand_over)
    return app
