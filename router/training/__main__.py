"""``python -m router.training --data DIR --out router/artifacts``: train, calibrate, evaluate, write artefact, metrics and card."""

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from router.artifacts import save_artifact
from router.calibration import Calibrations
from router.classifier import ConversationWeights
from router.features import DENSE_NAMES
from router.heads import FAST_FAILS, KIND, PLACES, SLOW_FIXES, TOOLS
from router.training.augment import perturbed_copies
from router.training.card import render_card
from router.training.dedupe import Deduped, dedupe
from router.training.evaluation import (
    JUDGED_HEADS,
    THRESHOLD,
    baselines,
    by_language,
    by_source,
    calibrated,
    cross_calibrated,
    gains,
    heads_by_language,
    intent_figures,
    leave_one_source_out,
)
from router.training.fit import Matrix, probabilities
from router.training.gains import StepsHead
from router.training.labels import SOURCE as LABELS
from router.training.labels import read_labels
from router.training.metrics import share_of
from router.training.predictions import write_predictions
from router.training.problem import Problem, Report, heads_of
from router.training.rows import Row
from router.training.sources import SCORED_SOURCES, read_rows, scored_texts, solved_word_problems
from router.training.summary import RowCounts, Summary

ARTIFACT = "linear.json"
CONVERSATION = ConversationWeights(reask=2.0, negative=2.5)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the public sets of a data folder; the same data, seed and libraries give the same artefact."""
    options = _options(arguments)
    started = time.monotonic()

    def report(message: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {message}", flush=True)

    options.out.mkdir(parents=True, exist_ok=True)  # minutes of training shall not end at a folder that is missing
    labels = read_labels(options.labels) if options.labels is not None else []
    summary = train(
        options.data,
        options.out,
        version=options.version,
        seed=options.seed,
        most_per_source=options.most_per_source,
        report=report,
        labels=labels,
        predictions=options.predictions,
    )
    report(f"wrote {options.out / ARTIFACT}, metrics.json and CARD.md")
    print(json.dumps(summary["unseen_groups"], indent=2))


def train(
    data: Path,
    out: Path,
    *,
    version: str,
    seed: int,
    most_per_source: int,
    report: Report,
    labels: Sequence[Row] = (),
    predictions: Path | None = None,
) -> Summary:
    """Train on ``data`` and the deployed pair's ``labels``, write everything into ``out``, and what unseen rows get into ``predictions``."""
    counts, problem = _prepare(data, seed, most_per_source, labels, report)
    report("scoring each row by models that did not see its group")
    outputs = problem.out_of_fold(report)
    blend = problem.fit_blend(outputs)
    scores = problem.blended(blend, outputs)
    everything = np.ones(len(problem.rows), dtype=np.bool_)
    slow = calibrated(problem, KIND, scores, everything)
    calibrations = Calibrations(
        slow=slow,
        fast_fails=calibrated(problem, FAST_FAILS, outputs[:, PLACES[FAST_FAILS]], everything),
        slow_fixes=calibrated(problem, SLOW_FIXES, outputs[:, PLACES[SLOW_FIXES]], everything),
        tools=calibrated(problem, TOOLS, outputs[:, PLACES[TOOLS]], everything),
    )
    p = cross_calibrated(problem, KIND, scores)
    if predictions is not None:
        own = np.flatnonzero(~problem.is_copy)
        write_predictions(predictions, [row for row in problem.rows if not row.is_copy], p[own], scores[own], problem.weights[KIND][own])
    report("leaving out one source at a time")
    left_out = leave_one_source_out(problem, blend, outputs, slow, report)
    report("RouteLLM's protocol")
    pairs = gains(problem, blend, outputs, scores, seed)
    report("fitting on all rows")
    heads = heads_of(problem.fit(everything))
    word_problems = np.flatnonzero(problem.sources == "routellm_gsm8k")
    of_problems = probabilities(slow, scores[word_problems], [problem.languages[index] for index in word_problems])
    summary = Summary(
        version=version,
        seed=seed,
        threshold=THRESHOLD,
        dense_features=len(DENSE_NAMES),
        rows=counts,
        unseen_groups=by_language(problem, p),
        baselines=baselines(problem, np.random.default_rng(seed)),
        heads=heads_by_language(problem, {head: cross_calibrated(problem, head, outputs[:, PLACES[head]]) for head in JUDGED_HEADS}),
        intents=intent_figures(problem, outputs),
        gains=pairs,
        sources_in_folds=by_source(problem, p),
        sources_left_out=left_out,
        unseen_word_problems=share_of(of_problems >= THRESHOLD),
    )
    save_artifact(out / ARTIFACT, version=version, heads=heads, blend=blend, calibrations=calibrations, conversation=CONVERSATION)
    (out / "metrics.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (out / "CARD.md").write_text(render_card(summary), encoding="utf-8")
    return summary


def _prepare(data: Path, seed: int, most_per_source: int, labels: Sequence[Row], report: Report) -> tuple[RowCounts, Problem]:
    """Read, clean, copy, weigh and featurise the rows."""
    randomness = random.Random(seed)  # noqa: S311 - a reproducible draw, not a secret
    rows: list[Row] = []
    for source, some in read_rows(data, randomness, most_per_source=most_per_source):
        report(f"read {len(some):5d} rows of {source}")
        rows.extend(some)
    clean: Deduped = dedupe([*labels, *rows], scored_texts(data), SCORED_SOURCES)
    copies = perturbed_copies(clean.rows, randomness)
    counts = RowCounts(
        read=len(rows) + len(labels),
        repeated=clean.repeated,
        overlapping=clean.overlapping,
        kept=len(clean.rows),
        copies=len(copies),
        labels=sum(row.source == LABELS for row in clean.rows),
    )
    report(f"removed {clean.repeated} repeated rows and {clean.overlapping} that overlap a scored benchmark; added {len(copies)} perturbed copies")
    questions, steps = solved_word_problems(data)
    problem = Problem([*clean.rows, *copies], StepsHead(Matrix(questions), steps))
    report(f"features of {len(problem.rows)} rows")
    return counts, problem


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m router.training", description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with routing/ and reasoning/")
    parser.add_argument("--out", type=Path, default=Path("router/artifacts"), help="folder to write to")
    parser.add_argument("--labels", type=Path, help="outcomes of the deployed pair: JSON lines with text, fast_score, slow_score, wanted_lane")
    parser.add_argument("--predictions", type=Path, help="also write here, as JSON lines, P(slow) of each row by models that did not see its group")
    parser.add_argument("--version", default="linear-2", help="version of the artefact, shown in every decision")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--most-per-source", type=int, default=3_000, help="rows drawn from one source at most")
    options = parser.parse_args(arguments)
    if not (options.data / "routing").is_dir():
        parser.error(f"{str(options.data)!r} holds no folder routing/; name the data folder itself.")
    return options


if __name__ == "__main__":
    main()
