"""``tandem tools list``: which tools work on this machine."""

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated

from typer import Option, Typer

from tandem.cli.console import say, table
from tandem.settings import Settings
from tools.commands.workshop import open_toolbox
from tools.offers import Offer


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("list")(list_tools)
    return app


def list_tools(as_json: Annotated[bool, Option("--json", help="One JSON array with whole declarations.")] = False) -> None:
    """Say which tools work on this machine, and why the others do not. Opens each as a worker would."""
    offers = sorted(asyncio.run(_offers(Settings.load())), key=lambda offer: offer.spec.name)
    if as_json:
        say(json.dumps([_entry(offer) for offer in offers], ensure_ascii=False))
        return
    rows = [("NAME", "CLASS", "STATE", "REASON")]
    rows += [(offer.spec.name, offer.spec.side_effect, _state(offer), offer.reason) for offer in offers]
    say("\n".join(table(rows)))


def _state(offer: Offer) -> str:
    return "unavailable" if offer.tool is None else "offered"


def _entry(offer: Offer) -> dict[str, object]:
    return {**offer.spec.model_dump(mode="json"), "state": _state(offer), "reason": offer.reason}


async def _offers(settings: Settings) -> Sequence[Offer]:
    async with open_toolbox(settings) as toolbox:
        return toolbox.offers
