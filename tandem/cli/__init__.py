"""The ``tandem`` command. One file per group of commands, imported when the command is used."""

from tandem.cli.entry import main

__all__ = ["main"]
