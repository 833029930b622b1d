"""``python -m router.training --data DIR --out router/artifacts``: train, calibrate, evaluate, write artefact, metrics and card."""

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from router.artifacts import save_artifact
from router.features import DENSE_NAMES
from router.training.balance import balanced_weights
from router.training.card import render_card
from router.training.dedupe import Deduped, dedupe
from router.training.evaluation import THRESHOLD, Problem, Report, baselines, by_language, by_source, leave_one_source_out
from router.training.fit import Matrix, fit_calibration, probabilities
from router.training.metrics import share_of
from router.training.rows import Row
from router.training.sources import read_rows, scored_texts, unseen_word_problems
from router.training.summary import RowCounts, Summary

ARTIFACT = "linear.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the public sets of a data folder; the same data, seed and libraries give the same artefact."""
    options = _options(arguments)
    started = time.monotonic()

    def report(message: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {message}", flush=True)

    summary = train(options.data, options.out, version=options.version, seed=options.seed, most_per_source=options.most_per_source, report=report)
    report(f"wrote {options.out / ARTIFACT}, metrics.json and CARD.md")
    print(json.dumps(summary["unseen_groups"], indent=2))


def train(data: Path, out: Path, *, version: str, seed: int, most_per_source: int, report: Report) -> Summary:
    """Train on ``data``, write everything into ``out``."""
    counts, problem = _prepare(data, seed, most_per_source, report)
    report("scoring each row by models that did not see its group")
    scores = problem.out_of_fold_scores(report)
    calibration = fit_calibration(scores, problem.labels, problem.weights, problem.languages)
    p = problem.cross_calibrated(scores)
    report("leaving out one source at a time")
    left_out = leave_one_source_out(problem, calibration, report)
    report("fitting on all rows")
    model = problem.matrix.fit(np.arange(len(problem.rows)), problem.labels, problem.weights)
    unseen = unseen_word_problems(data)
    unseen_matrix = Matrix([row.text for row in unseen])
    unseen_p = probabilities(calibration, unseen_matrix.scores(model, np.arange(len(unseen))), [row.language for row in unseen])
    summary = Summary(
        version=version,
        seed=seed,
        threshold=THRESHOLD,
        dense_features=len(DENSE_NAMES),
        rows=counts,
        unseen_groups=by_language(problem, p),
        baselines=baselines(problem, np.random.default_rng(seed)),
        sources_in_folds=by_source(problem, p),
        sources_left_out=left_out,
        unseen_word_problems=share_of(unseen_p >= THRESHOLD),
    )
    save_artifact(
        out / ARTIFACT,
        version=version,
        bucket_weights=model.buckets.astype(np.float32),
        dense_weights=model.dense.astype(np.float32),
        intercept=model.intercept,
        calibration=calibration,
    )
    (out / "metrics.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (out / "CARD.md").write_text(render_card(summary), encoding="utf-8")
    return summary


def _prepare(data: Path, seed: int, most_per_source: int, report: Report) -> tuple[RowCounts, Problem]:
    """Read, clean, weigh and featurise the rows."""
    rows: list[Row] = []
    for source, some in read_rows(data, random.Random(seed), most_per_source=most_per_source):  # noqa: S311 - a reproducible draw, not a secret
        report(f"read {len(some):5d} rows of {source}")
        rows.extend(some)
    clean: Deduped = dedupe(rows, scored_texts(data))
    counts = RowCounts(read=len(rows), repeated=clean.repeated, overlapping=clean.overlapping, kept=len(clean.rows))
    report(f"removed {clean.repeated} repeated rows and {clean.overlapping} that overlap a scored benchmark")
    matrix = Matrix([row.text for row in clean.rows])
    report(f"features of {len(clean.rows)} rows")
    return counts, Problem(clean.rows, matrix, balanced_weights(clean.rows))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m router.training", description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with routing/ and reasoning/")
    parser.add_argument("--out", type=Path, default=Path("router/artifacts"), help="folder to write to")
    parser.add_argument("--version", default="linear-1", help="version of the artefact, shown in every decision")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--most-per-source", type=int, default=3_000, help="rows drawn from one source at most")
    options = parser.parse_args(arguments)
    if not (options.data / "routing").is_dir():
        parser.error(f"{str(options.data)!r} holds no folder routing/; name the data folder itself.")
    return options


if __name__ == "__main__":
    main()
