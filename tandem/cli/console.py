"""What the commands print: plain lines, coloured only on a terminal. Standard output is for results, standard error for the rest."""

import sys
from collections.abc import Sequence
from typing import Final, Literal

from typer import echo, secho, style

Tone = Literal["good", "bad", "warn", "dim", "bold"]
_COLOURS: Final[dict[Tone, str]] = {"good": "green", "bad": "red", "warn": "yellow"}


def say(text: str = "", *, end: str = "\n") -> None:
    """A line of the result, written at once."""
    echo(text + end, nl=False)
    sys.stdout.flush()


def note(text: str, *, end: str = "\n") -> None:
    """A line beside the result."""
    echo(text + end, err=True, nl=False)


def complain(message: str) -> None:
    """Why the command failed."""
    secho("error: ", err=True, fg="red", bold=True, nl=False)
    echo(message, err=True)


def toned(text: str, tone: Tone) -> str:
    """Text in a colour; ``echo`` removes it where no terminal reads."""
    return style(text, fg=_COLOURS.get(tone), dim=tone == "dim" or None, bold=tone == "bold" or None)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned lines."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
