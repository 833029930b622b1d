"""``python -m router.evaluation.backends --data DIR --url URL --model NAME``: the linear model beside a model that is asked, on the same rows.

Both are scored on rows they did not see, drawn alike from both languages, both lanes and all sources, and calibrated the same way: five folds, Platt
per language. Writes the asked model's calibration for ``router/backends`` and a results file. The questions go through ``/v1/systemone`` or
``/v1/decisions``: a decision model's, or those of a Tandem gateway for the readout of its fast model.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.artifacts import DECIMALS, PlattNumbers, load_classifier
from router.backends.calibration import FOLDER, QUESTIONS_VERSION, ScorerCalibration, calibration_path
from router.backends.questions import ask_of, log_odds_of
from router.calibration import PlattMap
from router.training.balance import balanced_weights
from router.training.dedupe import dedupe
from router.training.fit import Matrix, fit_calibration, probabilities
from router.training.metrics import auroc, brier, calibration_error
from router.training.rows import Row
from router.training.sources import read_rows, scored_texts
from tandem.models.decision_model import DecisionEndpoint, RemoteDecisionModel
from tandem.ports import DecisionModel, Turns

Floats: TypeAlias = NDArray[np.float64]
Report: TypeAlias = Callable[[str], None]

FOLDS: Final = 5
RESAMPLES: Final = 1_000
SEED: Final = 20_261
"""Other rows than those on which the questions' words were chosen."""
TRAIN_PER_SOURCE: Final = 3_000
FLATTEST: Final = 1e-3
"""Slope of a calibration where the model's word points the wrong way: it then says the base rate."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a backend said of each row."""

    scores: Floats
    """Log-odds of the slow lane before calibration (rows,)."""
    seconds: Floats
    """Of each row (rows,)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the calibration and the results, print the table."""
    parser = argparse.ArgumentParser(prog="python -m router.evaluation.backends", description="Compare and calibrate a scoring backend.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--url", required=True, help="base URL with /v1 of a decision model or of a Tandem gateway")
    parser.add_argument("--model", default="fast", help="what to ask for there")
    parser.add_argument("--door", choices=["systemone", "decisions"], default="systemone")
    parser.add_argument("--api-key")
    parser.add_argument("--rows", type=int, default=100, help="rows per language and lane")
    parser.add_argument("--name", help="name under which the gateway knows the model; default: who answered")
    parser.add_argument("--version", default="questions-1")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    model = RemoteDecisionModel(DecisionEndpoint(url=options.url, model=options.model, door=options.door, api_key=options.api_key, timeout_s=120))
    calibration, results = asyncio.run(compare(options.data, model, options.rows, options.name, options.version, _report()))
    path = calibration_path(calibration.model, options.out)
    _write(path, calibration.model_dump(mode="json"))
    _write(path.with_suffix(".results.json"), results)
    sys.stdout.write(table(results) + "\n")
    return 0


async def compare(
    data: Path, model: RemoteDecisionModel, count: int, name: str | None, version: str, report: Report
) -> tuple[ScorerCalibration, dict[str, Any]]:
    """The calibration of the model asked, and the figures of both backends."""
    randomness = random.Random(SEED)  # noqa: S311 - a reproducible draw, not a secret
    read = [row for _, some in read_rows(data, randomness, most_per_source=TRAIN_PER_SOURCE) for row in some]
    rows = [row for row in dedupe(read, scored_texts(data)).rows if row.label in (0, 1)]
    unseen = draw(rows, count, randomness)
    report(f"{len(unseen)} rows drawn of {len(rows)}")
    try:
        answered_by, answers_calibration = await _who(model)
        asked = await ask_model(model, unseen, report)
    finally:
        await model.close()
    report("training the linear model on the others")
    linear = ask_linear(rows, unseen)
    labels = np.array([float(row.label == 1) for row in unseen])
    languages = [row.language for row in unseen]
    maps = fit_calibration(asked.scores, labels, np.ones(len(labels)), languages)
    calibration = ScorerCalibration(
        version=version,
        model=name or answered_by,
        questions_version=QUESTIONS_VERSION,
        answers_calibration=answers_calibration,
        rows=len(unseen),
        overall=_numbers(maps.overall),
        by_language={language: _numbers(platt) for language, platt in sorted(maps.by_language.items())},
    )
    figures = {backend: figures_of(said, unseen) for backend, said in (("linear", linear), (calibration.model, asked))}
    counts: dict[str, int] = defaultdict(int)
    for row in unseen:
        counts[f"{row.source}/{row.language}/{'slow' if row.label else 'fast'}"] += 1
    return calibration, {"seed": SEED, "rows": len(unseen), "by_source": dict(sorted(counts.items())), "backends": figures}


def draw(rows: Sequence[Row], count: int, randomness: random.Random) -> list[Row]:
    """``count`` rows of each language and lane, from its sources in turn."""
    drawn: list[Row] = []
    for language in ("en", "zh"):
        for label in (0, 1):
            by_source: dict[str, list[Row]] = defaultdict(list)
            for row in rows:
                if (row.language, row.label) == (language, label):
                    by_source[row.source].append(row)
            for group in by_source.values():
                randomness.shuffle(group)
            drawn += _in_turn(list(by_source.values()), count)
    return drawn


def ask_linear(rows: Sequence[Row], unseen: Sequence[Row]) -> Asked:
    """The recipe of the shipped model, trained without the groups of the unseen rows; timed on the shipped model itself."""
    groups = {row.group for row in unseen}
    seen = [row for row in rows if row.group not in groups]
    matrix = Matrix([row.text for row in (*seen, *unseen)])
    labels = np.array([float(row.label == 1) for row in seen])
    model = matrix.fit(np.arange(len(seen)), labels, balanced_weights(seen))
    shipped = load_classifier()
    seconds: list[float] = []
    for row in unseen:
        started = time.perf_counter()
        shipped.score(Turns(text=row.text))
        seconds.append(time.perf_counter() - started)
    return Asked(np.ravel(matrix.scores(model, np.arange(len(seen), len(seen) + len(unseen)))), np.array(seconds))


async def ask_model(model: DecisionModel, rows: Sequence[Row], report: Report) -> Asked:
    """One question per row, one after the other; a refusal counts as even odds."""
    scores: list[float] = []
    seconds: list[float] = []
    for done, row in enumerate(rows, 1):
        started = time.perf_counter()
        answer = (await model.answer(ask_of(row.text))).answers[0]
        seconds.append(time.perf_counter() - started)
        scores.append(0.0 if answer.is_refused else log_odds_of(answer))
        if done % 20 == 0:
            report(f"asked {done} of {len(rows)}")
    return Asked(np.array(scores), np.array(seconds))


def figures_of(asked: Asked, rows: Sequence[Row]) -> dict[str, Any]:
    """Figures per language and of all rows, each row calibrated by folds that did not hold it."""
    labels = np.array([float(row.label == 1) for row in rows])
    languages = np.array([row.language for row in rows])
    p = _cross_calibrated(asked.scores, labels, [row.language for row in rows])
    figures: dict[str, Any] = {}
    for name, members in (("en", languages == "en"), ("zh", languages == "zh"), ("all", languages != "")):
        y, even = labels[members], np.ones(int(members.sum()))
        # within a language the raw scores rank; across both only the calibrated ones can be compared
        rank = asked.scores[members] if name != "all" else p[members]
        figures[name] = {
            "rows": int(members.sum()),
            "auroc": round(auroc(rank, y, even), 4),
            "auroc_interval": _interval(rank, y),
            "ece": round(calibration_error(p[members], y, even), 4),
            "brier": round(brier(p[members], y, even), 4),
        }
    quantiles = {"p50_ms": 0.5, "p99_ms": 0.99}
    return figures | {name: round(float(np.quantile(asked.seconds, share)) * 1_000, 3) for name, share in quantiles.items()}


def table(results: Mapping[str, Any]) -> str:
    """The results in Markdown."""
    lines = ["| backend | language | n | AUROC [95 %] | ECE | Brier | p50 ms | p99 ms |", "|---|---|---|---|---|---|---|---|"]
    for backend, figures in results["backends"].items():
        for language in ("en", "zh", "all"):
            one = figures[language]
            low, high = one["auroc_interval"]
            auroc_shown = f"{one['auroc']:.3f} [{low:.3f}, {high:.3f}]"
            times = f"{figures['p50_ms']:.2f} | {figures['p99_ms']:.2f}"
            lines.append(f"| {backend} | {language} | {one['rows']} | {auroc_shown} | {one['ece']:.3f} | {one['brier']:.3f} | {times} |")
    return "\n".join(lines)


def _in_turn(groups: Sequence[list[Row]], count: int) -> list[Row]:
    taken: list[Row] = []
    while len(taken) < count and any(groups):
        for group in groups:
            if group and len(taken) < count:
                taken.append(group.pop())
    return taken


def _cross_calibrated(scores: Floats, labels: Floats, languages: Sequence[str]) -> Floats:
    folds = np.random.default_rng(SEED).permutation(len(labels)) % FOLDS
    p = np.zeros(len(labels))
    for fold in range(FOLDS):
        seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        maps = fit_calibration(scores[seen], labels[seen], np.ones(len(seen)), [languages[int(at)] for at in seen])
        p[unseen] = probabilities(maps, scores[unseen], [languages[int(at)] for at in unseen])
    return p


def _interval(scores: Floats, labels: Floats) -> list[float]:
    """95 % bootstrap interval of the AUROC."""
    drawing = np.random.default_rng(SEED)
    found: list[float] = []
    while len(found) < RESAMPLES:
        members = drawing.integers(0, len(labels), len(labels))
        if 0 < labels[members].sum() < len(labels):
            found.append(auroc(scores[members], labels[members], np.ones(len(members))))
    return [round(float(value), 4) for value in np.quantile(found, [0.025, 0.975])]


async def _who(model: DecisionModel) -> tuple[str, str]:
    answered = await model.answer(ask_of("Hello"))
    return answered.model, answered.calibration


def _numbers(platt: PlattMap) -> PlattNumbers:
    return PlattNumbers(slope=round(max(platt.slope, FLATTEST), DECIMALS), offset=round(platt.offset, DECIMALS))


def _report() -> Report:
    started = time.monotonic()

    def report(message: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - started:6.1f} s] {message}\n")

    return report


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
