"""All training rows with their features, targets and weights, and how the heads are fitted on some of them. Knows nothing of files."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.ask import OPTIONS
from router.features import BUCKETS
from router.heads import EXAM_GAIN, FAST_FAILS, FIRST_INTENT, HEADS, INTENTS, KIND, MATH_GAIN, PLACES, SLOW_FIXES, TOOLS, Blend, Heads
from router.text import read_text
from router.training import labels
from router.training.balance import balanced_weights, cell_weights
from router.training.fit import LinearModel, Matrix
from router.training.gains import Sample, StepsHead, blended, fit_blend, fit_exam_gain, fit_math_gain
from router.training.rows import Row

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Report: TypeAlias = Callable[[str], None]

FOLDS: Final = 5
MOST_PER_INTENT: Final = 1_000
"""Rows of one source, language and intent that the intents are learnt from."""


class Problem:
    """Rows with their features, targets, weights and folds; NaN stands for an unknown target."""

    def __init__(self, rows: Sequence[Row], steps: StepsHead) -> None:
        self.rows = rows
        self.steps = steps
        self.matrix = Matrix([row.text for row in rows])
        self.languages = [row.language for row in rows]
        self.sources = np.array([row.source for row in rows])
        self.folds = np.array([_fold(row.group) for row in rows])
        self.is_copy = np.array([row.is_copy for row in rows])
        self.is_exam = np.array([read_text(row.text).options >= OPTIONS for row in rows])
        known = [row.known for row in rows]
        self.labels = _floats([row.label for row in rows])
        self.gains = _floats([one.gain for one in known])
        self.intents = np.array([-1 if one.intent is None else INTENTS.index(one.intent) for one in known])
        self.targets = {
            KIND: self.labels,
            FAST_FAILS: _floats([one.fails for one in known]),
            SLOW_FIXES: _floats([one.fixes for one in known]),
            TOOLS: _floats([one.tools for one in known]),
        }
        fails = np.nan_to_num(self.targets[FAST_FAILS])
        is_scored = ~np.isnan(self.gains) | (self.sources == "mmlu_pro")
        self.weights = {
            KIND: balanced_weights(rows),
            FAST_FAILS: cell_weights(
                rows, [None if one.fails is None else (_script(row), scored) for row, one, scored in zip(rows, known, is_scored, strict=True)]
            ),
            SLOW_FIXES: cell_weights(rows, [None if one.fixes is None else _script(row) for row, one in zip(rows, known, strict=True)]) * fails,
            TOOLS: cell_weights(rows, [None if one.tools is None else (_script(row), one.tools) for row, one in zip(rows, known, strict=True)]),
        }
        self.has_intent = (self.intents >= 0) & ~self.is_copy & _firsts(rows, MOST_PER_INTENT)
        self.intent_weights = cell_weights(
            rows, [None if one.intent is None else (_script(row), one.intent) for row, one in zip(rows, known, strict=True)]
        )
        self.gain_weights = np.where(self.sources == labels.SOURCE, labels.WEIGHT, 1.0)
        is_math = np.array([one.intent == "math" for one in known])
        self.exam_rows = ~np.isnan(self.gains) & self.is_exam
        self.math_rows = ~np.isnan(self.gains) & ~self.is_exam & is_math

    def judged(self, head: str) -> Flags:
        """Rows that a head is judged by: its target is known and they are no copies."""
        return (self.weights[head] > 0) & ~self.is_copy

    def fit_head(self, head: str, seen: Flags) -> LinearModel:
        """One output on the seen rows whose target is known."""
        rows = np.flatnonzero(seen & (self.weights[head] > 0) & ((head == KIND) | ~self.is_copy))
        return self.matrix.fit(rows, np.nan_to_num(self.targets[head]), self.weights[head])

    def fit(self, seen: Flags) -> LinearModel:
        """All outputs on the seen rows, in the order of ``HEADS``."""
        intents_seen = np.flatnonzero(seen & self.has_intent)
        intents = self.matrix.fit_classes(intents_seen, self.intents, self.intent_weights, len(INTENTS))
        models = {head: self.fit_head(head, seen) for head in (KIND, FAST_FAILS, SLOW_FIXES, TOOLS)}
        models[EXAM_GAIN] = self.fit_exam(np.flatnonzero(seen & self.exam_rows))
        models[MATH_GAIN] = fit_math_gain(
            self.matrix, np.flatnonzero(seen & self.math_rows), np.nan_to_num(self.gains), self.steps, self.gain_weights
        )
        weights, intercepts = np.zeros((self.matrix.sparse.shape[1], len(HEADS))), np.zeros(len(HEADS))
        for head, model in models.items():
            weights[:, PLACES[head]], intercepts[PLACES[head]] = model.weights[:, 0], model.intercepts[0]
        weights[:, FIRST_INTENT:], intercepts[FIRST_INTENT:] = intents.weights, intents.intercepts
        return LinearModel(weights, intercepts)

    def fit_exam(self, rows: Ints) -> LinearModel:
        """The gain of exam questions on some rows."""
        return fit_exam_gain(self.matrix, rows, np.nan_to_num(self.gains), [row.known.subject for row in self.rows], self.gain_weights)

    def out_of_fold(self, report: Report) -> Floats:
        """Each row's outputs by heads that saw no row of its group (rows, len(HEADS))."""
        outputs = np.zeros((len(self.rows), len(HEADS)))
        for fold in range(FOLDS):
            unseen = np.flatnonzero(self.folds == fold)
            outputs[unseen] = self.matrix.scores(self.fit(self.folds != fold), unseen)
            report(f"  fold {fold + 1} of {FOLDS}")
        return outputs

    def fit_blend(self, outputs: Floats) -> Blend:
        """From outputs of unseen rows."""
        needs = (np.nan_to_num(self.gains) > 0).astype(np.float64)
        lanes = self.is_exam & self.judged(KIND)
        exam = [PLACES[EXAM_GAIN], PLACES[FAST_FAILS]]
        return fit_blend(
            Sample(outputs[self.exam_rows][:, exam], needs[self.exam_rows], self.gain_weights[self.exam_rows]),
            Sample(outputs[lanes][:, exam], self.labels[lanes], self.weights[KIND][lanes]),
            Sample(outputs[self.math_rows][:, [PLACES[MATH_GAIN]]], needs[self.math_rows], self.gain_weights[self.math_rows]),
        )

    def blended(self, blend: Blend, outputs: Floats) -> Floats:
        """The slow lane's score of all rows (rows,)."""
        exam = self.is_exam.astype(np.float64)
        scores = outputs[:, FIRST_INTENT:]
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        math = odds[:, INTENTS.index("math")] / odds.sum(axis=1) * (1 - exam)
        exam_parts = (outputs[:, PLACES[EXAM_GAIN]], outputs[:, PLACES[FAST_FAILS]])
        return blended(blend, outputs[:, PLACES[KIND]], exam_parts, outputs[:, PLACES[MATH_GAIN]], exam, math)


def heads_of(model: LinearModel) -> Heads:
    """The model as it is served."""
    return Heads(model.weights[:BUCKETS].astype(np.float32), model.weights[BUCKETS:].astype(np.float32), model.intercepts.astype(np.float32))


def _firsts(rows: Sequence[Row], most: int) -> Flags:
    """The first rows of each source, language and intent; sources are shuffled (rows,)."""
    seen: Counter[tuple[str, str, str | None]] = Counter()
    flags: list[bool] = []
    for row in rows:
        cell = (row.source, row.language, row.known.intent)
        seen[cell] += 1
        flags.append(seen[cell] <= most)
    return np.array(flags)


def _script(row: Row) -> str:
    """The few rows in other languages weigh as English ones do."""
    return "zh" if row.language == "zh" else "en"


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else float(value) for value in values])


def _fold(group: str) -> int:
    """The same group falls into the same fold in every run."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % FOLDS
