"""``tandem router calibrate``: fits an artefact's P(slow) to labelled rows, per language, its weights unchanged.

The maps are Platt's, so a new one is fitted to the log-odds that the artefact gives now, and put behind the old one. Labels of one's own traffic give
probabilities of that traffic, with its share of slow requests; the public rows give those of the training, where both lanes weigh the same.
"""

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, cast

import numpy as np
from numpy.typing import NDArray
from typer import Option, Typer

from router.artifacts import SHIPPED, load_classifier
from router.calibration import Calibration, PlattMap
from router.training.balance import balanced_weights
from router.training.dedupe import dedupe
from router.training.fit import fit_calibration, probabilities
from router.training.labels import read_labels
from router.training.metrics import calibration_error
from router.training.rows import Row
from router.training.sources import read_rows
from tandem.cli.console import say, table
from tandem.errors import InvalidRequest
from tandem.ports import Classifier, Turns
from tandem.schemas.base import JsonObject

Floats = NDArray[np.float64]

FEWEST_ROWS: Final = 60
FEWEST_OF_A_LANE: Final = 10
FOLDS: Final = 5
DECIMALS: Final = 6
LEAST_SLOPE: Final = 0.05
"""Below it the labels have nothing to do with the scores, or say the opposite."""
SURE: Final = 1e-9
"""Probabilities are kept this far from 0 and 1, whose log-odds are infinite."""
MOST_PER_SOURCE: Final = 3_000


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows with what the artefact says of them now."""

    log_odds: Floats
    """(rows,)"""
    labels: Floats
    """1 slow, 0 fast (rows,)."""
    weights: Floats
    """(rows,)"""
    languages: Sequence[str]


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("calibrate")(calibrate)
    return app


def calibrate(
    out: Annotated[Path, Option(help="Folder for the new artefact; not the old one's.")],
    labels: Annotated[Path | None, Option(help="Labels of your own traffic: JSON lines with `text` and `wanted_lane`, or both scores.")] = None,
    data: Annotated[Path | None, Option(help="Folder of the public sets, in place of labels.")] = None,
    artifact: Annotated[Path | None, Option(help="Manifest of another artefact than the shipped one.")] = None,
    version: Annotated[str | None, Option(help="Version of the new artefact; else the old one's with `-recalibrated`.")] = None,
) -> None:
    """Fit P(slow) to labelled rows per language and write a new artefact; its weights stay as they are."""
    manifest = artifact or SHIPPED
    if out.resolve() == manifest.parent.resolve():
        raise InvalidRequest(f"--out {str(out)!r} is the folder of the artefact itself; name another one, so that you can go back.")
    rows, weights = _rows(labels, data)
    found = _labelled(load_classifier(manifest), rows, weights)
    _refuse_few(found.labels)
    fitted = fit_calibration(found.log_odds, found.labels, found.weights, found.languages)
    document = _recalibrated(json.loads(manifest.read_bytes()), fitted, version)
    _write(document, manifest, out)
    say("\n".join(table([("rows of", "n", "ECE before", "ECE after, on unseen folds"), *_errors(found)])))
    say(f"wrote {out / manifest.name}, version {document['version']}; try it with --artifact, use it with TANDEM_ROUTER_ARTIFACT")


def _rows(labels: Path | None, data: Path | None) -> tuple[Sequence[Row], Floats]:
    """Labelled rows with their weights: labels count as they come, public rows balanced as in training."""
    if (labels is None) == (data is None):
        raise InvalidRequest("give either --labels or --data: the one's shares of slow requests are your traffic's, the other's are the training's.")
    if labels is not None:
        own = read_labels(labels)
        return own, np.ones(len(own))
    folder = cast(Path, data)
    drawn = read_rows(folder, random.Random(0), most_per_source=MOST_PER_SOURCE)  # noqa: S311 - a reproducible draw, not a secret
    public = dedupe([row for _, some in drawn for row in some if row.label is not None], []).rows
    return public, balanced_weights(public)


def _labelled(classifier: Classifier, rows: Sequence[Row], weights: Floats) -> Labelled:
    p = np.clip(np.array([classifier.score(Turns(text=row.text)).p_slow for row in rows]), SURE, 1 - SURE)
    return Labelled(np.log(p / (1 - p)), np.array([float(row.label or 0) for row in rows]), weights, [row.language for row in rows])


def _refuse_few(labels: Floats) -> None:
    slow = int(labels.sum())
    if len(labels) < FEWEST_ROWS or min(slow, len(labels) - slow) < FEWEST_OF_A_LANE:
        raise InvalidRequest(
            f"{len(labels)} labelled rows, {slow} of them slow, are too few to calibrate by; at least {FEWEST_ROWS} are needed, "
            f"{FEWEST_OF_A_LANE} of either lane. Approve more labels, or collect some with `tandem router collect`."
        )


def _recalibrated(document: JsonObject, fitted: Calibration, version: str | None) -> JsonObject:
    """The manifest with the new maps put behind the old ones."""
    maps = cast(JsonObject, cast(JsonObject, document["calibrations"])["slow"])
    old = cast(dict[str, dict[str, float]], maps["by_language"])
    overall = cast(dict[str, float], maps["overall"])
    languages = sorted({*old, *fitted.by_language})
    slow = {
        "overall": _behind(overall, fitted.overall),
        "by_language": {language: _behind(old.get(language, overall), fitted.map_for(language)) for language in languages},
    }
    calibrations = cast(JsonObject, document["calibrations"]) | {"slow": slow}
    return cast(JsonObject, document | {"version": version or f"{document['version']}-recalibrated", "calibrations": calibrations})


def _behind(old: dict[str, float], new: PlattMap) -> dict[str, float]:
    """``new(old(score))``, which is linear too."""
    if new.slope < LEAST_SLOPE:
        raise InvalidRequest("these labels do not rise with P(slow), so no map of it can fit them. Look at the labels, or train again with them.")
    return {"slope": round(new.slope * old["slope"], DECIMALS), "offset": round(new.slope * old["offset"] + new.offset, DECIMALS)}


def _write(document: JsonObject, manifest: Path, out: Path) -> None:
    """The new manifest beside copies of the weights and of the training's metrics, which still say what the weights have seen."""
    out.mkdir(parents=True, exist_ok=True)
    (out / manifest.name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in (str(document["weights_file"]), "metrics.json"):
        if (manifest.parent / name).is_file():
            shutil.copyfile(manifest.parent / name, out / name)
    load_classifier(out / manifest.name)  # what cannot be loaded must not be left for a gateway to find


def _errors(found: Labelled) -> list[tuple[str, str, str, str]]:
    """Calibration error before, and after by maps that did not see the row."""
    before, after = 1 / (1 + np.exp(-found.log_odds)), np.zeros(len(found.labels))
    names = np.array(found.languages)
    folds = np.random.default_rng(0).permutation(len(found.labels)) % FOLDS
    for fold in range(FOLDS):
        seen, unseen = folds != fold, folds == fold
        maps = fit_calibration(found.log_odds[seen], found.labels[seen], found.weights[seen], names[seen].tolist())
        after[unseen] = probabilities(maps, found.log_odds[unseen], names[unseen].tolist())
    lines: list[tuple[str, str, str, str]] = []
    for name in ("en", "zh", "other", "all"):
        rows = names == name if name != "all" else np.ones(len(names), dtype=np.bool_)
        if rows.any():
            old, new = (calibration_error(p[rows], found.labels[rows], found.weights[rows]) for p in (before, after))
            lines.append((name, str(int(rows.sum())), f"{old:.3f}", f"{new:.3f}"))
    return lines
