"""``tandem models``: what can be served, what is on this machine, what is being served."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from typer import Argument, Context, Typer

from tandem.cli.console import say, table
from tandem.cli.download import download_bar
from tandem.cli.session import open_client
from tandem.errors import TandemError
from tandem.models import CATALOGUE, DEFAULT_MODELS, CatalogueModel, FetchStep, Progress, fetch_model
from tandem.models.verified import is_verified
from tandem.settings import Settings

Lane = Literal["fast", "slow"]
_LANES: Final[tuple[Lane, ...]] = ("fast", "slow")


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False, help="List models, or fetch one ahead of time.", invoke_without_command=True)
    app.callback()(show)
    app.command("fetch")(fetch)
    return app


def show(context: Context) -> None:
    """List the catalogue with what is on this machine, and what the gateway serves."""
    if context.invoked_subcommand:
        return
    settings = Settings.load()
    rows = [("MODEL", "LANE", "SIZE", "LICENCE", "HERE")]
    with download_bar() as progress:
        for model in CATALOGUE.values():
            lanes = ",".join(lane for lane in _LANES if embedded_model(settings, lane) == model.name)
            rows.append((model.name, lanes, f"{model.size_bytes / 1e6:.0f} MB", model.licence, whereabouts(model, settings, progress)))
    say("\n".join(table(rows)))
    for lane in _LANES:
        section = settings.fast if lane == "fast" else settings.slow
        if section.url:
            say(f"{lane} lane: {section.model or 'its default model'} at {section.url}")
    say(f"served now: {_served(settings)}")


def fetch(name: Annotated[str | None, Argument(metavar="[NAME]", help="Catalogue name; without it, what the lanes need.")] = None) -> None:
    """Fetch and verify a model."""
    settings = Settings.load()
    fetch_models(settings, [name] if name else needed_models(settings))


def fetch_models(settings: Settings, names: Sequence[str]) -> None:
    """Bring models here, with a bar; those already here are verified."""
    for name in names:
        with download_bar() as progress:
            path = fetch_model(name, settings, progress)
        say(f"model {name}: verified, {path}")


def needed_models(settings: Settings) -> list[str]:
    """Models that the embedded servers load, each once."""
    return list(dict.fromkeys(name for lane in _LANES if (name := embedded_model(settings, lane))))


def embedded_model(settings: Settings, lane: Lane) -> str | None:
    """Catalogue name of a lane's model; None when the lane has a URL."""
    section = settings.fast if lane == "fast" else settings.slow
    return None if section.url else section.model or DEFAULT_MODELS[lane]


def whereabouts(model: CatalogueModel, settings: Settings, progress: Progress) -> str:
    """Whether the model's file is here and has its pinned hash."""
    path = settings.models_path / model.file_name

    def report(done_bytes: int) -> None:
        progress(FetchStep(model.name, f"verifying {path}", done_bytes, model.size_bytes))

    try:
        return "verified" if is_verified(path, model, settings.home / "verified", report) else "damaged"
    except FileNotFoundError:
        return "no"


def _served(settings: Settings) -> str:
    try:
        with open_client(settings) as client:
            return ", ".join(client.models())
    except TandemError as error:
        return f"nothing seen ({error.message})"
