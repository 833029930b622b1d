"""Whether a probability means what it says: ECE, AUROC, Brier per language and source, and the points of a reliability plot.

Judged on predictions for rows that the predicting model did not see. Weights are the training's, which make languages and labels weigh alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from router.evaluation.outcomes import read_lines
from router.training.metrics import ECE_BINS, auroc, brier, calibration_error
from router.training.protocol import Floats
from tandem.errors import InvalidRequest

Mask = NDArray[np.bool_]


class _PredictionRow(BaseModel):
    source: str
    language: str
    label: float | None = Field(default=None, ge=0, le=1)
    weight: float = Field(default=1.0, ge=0)
    p: float = Field(ge=0, le=1)
    score: float | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Probabilities with what came true."""

    p: Floats
    """P(slow) (rows,)."""
    labels: Floats
    """1 slow, 0 fast (rows,)."""
    weights: Floats
    """(rows,)"""
    languages: NDArray[np.str_]
    sources: NDArray[np.str_]
    by_key: Mapping[str, float]
    """Per ``twin_key`` the score that orders the rows, or the probability where none is given; also of rows without a label."""


class Bin(TypedDict):
    """One of the equal-mass bins, by ascending probability."""

    predicted: float
    """Mean probability."""
    observed: float
    """Share of slow rows."""
    rows: int


class Quality(TypedDict):
    """How good the probabilities of some rows are."""

    rows: int
    slow: float
    """Share of slow rows, weighted."""
    mean: float
    """Mean probability, weighted."""
    ece: float
    brier: float
    auroc: float | None
    """None where all rows have one label."""


class Reliability(TypedDict):
    """All that is said of the probabilities."""

    by_language: dict[str, Quality]
    by_source: dict[str, Quality]
    bins: dict[str, list[Bin]]
    """Per language."""


def read_predictions(path: Path) -> Predictions:
    """JSON lines of ``source``, ``language``, ``label``, ``p``, ``weight`` and ``key``, as training writes them.

    Rows without a label or weight are kept for their keys alone.
    """
    rows: list[_PredictionRow] = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            rows.append(_PredictionRow.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            raise InvalidRequest(f"{str(path)!r} line {number}: {'.'.join(map(str, problem['loc']))} {problem['msg']}") from error
    labelled = [row for row in rows if row.label is not None and row.weight > 0]
    if len(labelled) < ECE_BINS:
        raise InvalidRequest(f"{str(path)!r} holds {len(labelled)} labelled predictions; {ECE_BINS} bins need at least as many.")
    return Predictions(
        p=np.array([row.p for row in labelled]),
        labels=np.array([float(row.label or 0) for row in labelled]),
        weights=np.array([row.weight for row in labelled]),
        languages=np.array([row.language for row in labelled]),
        sources=np.array([row.source for row in labelled]),
        by_key={row.key: row.p if row.score is None else row.score for row in rows if row.key},
    )


def judge_reliability(predictions: Predictions) -> Reliability:
    """Figures and plot."""
    everything = np.ones(len(predictions.p), dtype=np.bool_)
    languages = {"en": predictions.languages == "en", "zh": predictions.languages == "zh", "all": everything}
    present = {name: rows for name, rows in languages.items() if rows.any()}
    names = [f"{source}/{language}" for source, language in zip(predictions.sources, predictions.languages, strict=True)]
    keys = np.array(names)
    return Reliability(
        by_language={name: _quality(predictions, rows) for name, rows in present.items()},
        by_source={name: _quality(predictions, keys == name) for name in sorted(set(names))},
        bins={name: _bins(predictions, rows) for name, rows in present.items()},
    )


def _quality(predictions: Predictions, rows: Mask) -> Quality:
    p, labels, weights = predictions.p[rows], predictions.labels[rows], predictions.weights[rows]
    return Quality(
        rows=len(p),
        slow=round(float(np.average(labels, weights=weights)), 4),
        mean=round(float(np.average(p, weights=weights)), 4),
        ece=round(calibration_error(p, labels, weights), 4),
        brier=round(brier(p, labels, weights), 4),
        auroc=round(auroc(p, labels, weights), 4) if 0 < labels.mean() < 1 else None,
    )


def _bins(predictions: Predictions, rows: Mask) -> list[Bin]:
    """Bins of equal weight, as the ECE has them."""
    p, labels, weights = predictions.p[rows], predictions.labels[rows], predictions.weights[rows]
    order = np.argsort(p, kind="stable")
    p, labels, weights = p[order], labels[order], weights[order]
    place = np.minimum((np.cumsum(weights) - weights / 2) / weights.sum() * ECE_BINS, ECE_BINS - 1).astype(np.int64)
    found: list[Bin] = []
    for index in np.unique(place):
        inside = place == index
        means = [float(np.average(values[inside], weights=weights[inside])) for values in (p, labels)]
        found.append(Bin(predicted=round(means[0], 4), observed=round(means[1], 4), rows=int(inside.sum())))
    return found
