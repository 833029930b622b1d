"""``tandem router eval``: judges an artefact and prints the tables of the documentation."""

import json
from pathlib import Path
from typing import Annotated, Final

from typer import Option, Typer

from router.artifacts import SHIPPED
from router.commands.deciding import open_deciding
from router.evaluation.outcomes import read_peers
from router.evaluation.plot import reliability_svg
from router.evaluation.reliability import read_predictions
from router.evaluation.report import Evaluated, Report, evaluate
from router.evaluation.tables import render
from router.training.protocol import RESAMPLES
from tandem.cli.console import note, say
from tandem.errors import InvalidRequest
from tandem.settings import Settings

REPORT: Final = "evaluation.json"
PLOT: Final = "router-reliability.svg"


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("eval")(judge)
    return app


def judge(
    data: Annotated[Path, Option(help="Folder with routing/ and reasoning/.")],
    out: Annotated[Path | None, Option(help=f"Folder for {REPORT} and {PLOT}.")] = None,
    artifact: Annotated[Path | None, Option(help="Manifest of another scoring artefact.")] = None,
    policy: Annotated[Path | None, Option(help="JSON file of a routing policy; else that of the settings.")] = None,
    peers: Annotated[Path | None, Option(help="Other routers' scores, of `python -m bench.rig.litellm_routers`.")] = None,
    predictions: Annotated[Path | None, Option(help="Out-of-fold predictions of `tandem router train --predictions`.")] = None,
    seed: Annotated[int, Option(help="Of draws, ties and resamples.")] = 7,
    resamples: Annotated[int, Option(min=20, help="Bootstrap resamples.")] = RESAMPLES,
) -> None:
    """Judge an artefact on public outcomes, calibration, briefs, changed wordings and slow share; prints Markdown."""
    if not (data / "routing").is_dir():
        raise InvalidRequest(f"{str(data)!r} holds no folder routing/; name the data folder itself.")
    deciding = open_deciding(artifact, policy)
    judged = Evaluated(
        deciding.classifier,
        deciding.policy,
        artifact or Settings.load().router.artifact or SHIPPED,
        read_peers(peers) if peers is not None else {},
        read_predictions(predictions) if predictions is not None else None,
    )
    report = evaluate(data, judged, seed=seed, resamples=resamples, progress=lambda step: note(f"judging: {step}"))
    if out is not None:
        _write(report, out)
    say(render(report))


def _write(report: Report, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    reliability = report["reliability"]
    if reliability is not None:
        errors = {name: quality["ece"] for name, quality in reliability["by_language"].items()}
        (out / PLOT).write_text(reliability_svg(reliability["bins"], errors), encoding="utf-8")
