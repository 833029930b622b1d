"""``tandem tools``: hands over to ``python -m tools`` in this interpreter."""

from typer import Typer

from tandem.cli.rooms import handing_over


def build() -> Typer:
    """The command."""
    return handing_over("tools", "List, call, check and describe the tools of this machine.", "`pip install tandem-agents[worker]`")
