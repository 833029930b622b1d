"""``tandem router collect``: outcomes of the deployed pair, from questions whose answers are known."""

import asyncio
from pathlib import Path
from typing import Annotated, get_args

from typer import Argument, BadParameter, Option, Typer

from router.collecting import collect as collect_outcomes
from router.collecting import read_questions, sample
from tandem.cli.console import note, say
from tandem.client import AsyncTandemClient
from tandem.errors import SettingsInvalid
from tandem.schemas.routing import Effort
from tandem.secrets import load_local_key
from tandem.settings import Settings


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("collect")(collect)
    return app


def collect(
    questions: Annotated[list[Path], Argument(help="Files of questions with numbers as answers: JSON lines, or a JSON list.")],
    out: Annotated[Path, Option(help="JSON lines to append to; what it holds already is not asked again.")],
    count: Annotated[int, Option(min=1, help="Questions drawn from each file.")] = 50,
    samples: Annotated[int, Option(min=1, max=20, help="Answers of the fast lane to each question.")] = 2,
    effort: Annotated[str | None, Option(help=f"Of the slow lane: {', '.join(get_args(Effort))}. Without it the router chooses.")] = None,
    wait_s: Annotated[float, Option(min=1, help="Seconds a job may take.")] = 600.0,
    seed: Annotated[int, Option(help="Of the draw.")] = 7,
) -> None:
    """Ask both lanes of the running platform questions whose answers are known, score them, and write training labels."""
    asked_effort = next((each for each in get_args(Effort) if each == effort), None)
    if effort is not None and asked_effort is None:
        raise BadParameter(f"--effort is {effort!r}; it may be {', '.join(get_args(Effort))}")
    drawn = [question for path in questions for question in sample(read_questions(path), count, seed)]
    settings = Settings.load()
    key = load_local_key(settings)
    if key is None:
        raise SettingsInvalid(f"no API key in {str(settings.home)!r}: start `tandem up` once, or set TANDEM_API_KEY")

    async def run() -> tuple[int, int]:
        async with AsyncTandemClient(settings.gateway_url, key) as client:
            return await collect_outcomes(client, drawn, out, samples=samples, effort=asked_effort, wait_s=wait_s, report=note)

    written, given_up = asyncio.run(run())
    say(f"{written} rows appended to {out}; {given_up} questions given up.")
    if written:
        note(f"train with them: tandem router train --data DIR --labels {out}")
