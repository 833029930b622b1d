"""Writes what models that did not see a row say of it, for ``tandem router eval --predictions``. Holds no prompt, only its hash."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.training.dedupe import normalise
from router.training.rows import Row

Floats = NDArray[np.float64]


def prompt_key(prompt: str) -> str:
    """Names a prompt without showing it."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()


def twin_key(prompt: str) -> str:
    """The same for prompts that training takes for one, of which it keeps the first."""
    return prompt_key(normalise(prompt))


def write_predictions(path: Path, rows: Sequence[Row], p: Floats, scores: Floats, weights: Floats) -> None:
    """JSON lines of P(slow) by maps that did not see the row, and of the score before them, which orders rows of different folds.

    A row without a label, or of weight 0, is not judged by it, but its order among the outcomes of two models can be.
    """
    lines = [
        {
            "key": twin_key(row.text),
            "source": row.source,
            "language": row.language,
            "group": row.group,
            "label": row.label,
            "weight": round(float(weight), 6),
            "p": round(float(chance), 9),
            "score": round(float(score), 6),
        }
        for row, chance, score, weight in zip(rows, p, scores, weights, strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
