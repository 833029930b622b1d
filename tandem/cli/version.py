"""``tandem version``."""

from importlib.metadata import PackageNotFoundError, version
from platform import machine, python_version, system

from typer import Typer

from tandem.cli.console import say
from tandem.errors import DependencyMissing


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("version")(show)
    return app


def show() -> None:
    """Print the version of Tandem, of Python and of the system."""
    try:
        own = version("tandem-agents")
    except PackageNotFoundError:
        raise DependencyMissing("the distribution tandem-agents is not installed here; `make setup`, or pip install it") from None
    say(f"tandem {own} (Python {python_version()}, {system()} {machine()})")
