"""Row weights that keep language, source and length from becoming the label."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.training import labels
from router.training.rows import Row

Floats: TypeAlias = NDArray[np.float64]

LENGTH_BINS: Final = 6
MOST_LENGTH_FACTOR: Final = 4.0
"""A length bin that holds one label almost alone is corrected at most this much: the rest is real."""


def balanced_weights(rows: Sequence[Row]) -> Floats:
    """Mean 1 over public rows with a lane, 0 for rows without (rows,).

    Each language and lane weighs the same, sources by the root of their rows, lanes alike within a bin of lengths. Labels of the deployed pair stand
    outside of the balance.
    """
    weights = np.zeros(len(rows))
    public = [index for index, row in enumerate(rows) if row.label is not None and row.source != labels.SOURCE]
    weights[public] = _balanced([rows[index] for index in public])
    own = [index for index, row in enumerate(rows) if row.label is not None and row.source == labels.SOURCE]
    weights[own] = labels.WEIGHT
    return weights


def cell_weights(rows: Sequence[Row], cells: Sequence[Hashable | None]) -> Floats:
    """Mean 1 over rows with a cell, 0 for others; each cell weighs the same, and within it a source of n rows weighs sqrt(n) (rows,)."""
    sizes = Counter((cell, row.source) for cell, row in zip(cells, rows, strict=True))
    weights = np.array([0.0 if cell is None else sizes[cell, row.source] ** -0.5 for cell, row in zip(cells, rows, strict=True)])
    mass: dict[Hashable, float] = defaultdict(float)
    for cell, weight in zip(cells, weights, strict=True):
        if cell is not None:
            mass[cell] += float(weight)
    weights /= np.array([1.0 if cell is None else mass[cell] for cell in cells])
    is_own = np.array([row.source == labels.SOURCE for row in rows])
    known = weights > 0
    if known.any():
        weights /= weights[known].mean()
    return np.where(known & is_own, labels.WEIGHT, weights)


def _balanced(rows: Sequence[Row]) -> Floats:
    weights = _source_weights(rows)
    for language in sorted({row.language for row in rows}):
        members = [index for index, row in enumerate(rows) if row.language == language]
        weights[members] *= _length_factors([rows[index] for index in members], weights[members])
    return _equal_cells(rows, weights)


def _source_weights(rows: Sequence[Row]) -> Floats:
    """Within language and label, a source of n rows weighs sqrt(n)."""
    sizes = Counter((row.language, row.label, row.source) for row in rows)
    return np.array([sizes[row.language, row.label, row.source] ** -0.5 for row in rows])


def _length_factors(rows: Sequence[Row], weights: Floats) -> Floats:
    """What evens out the labels within each bin of lengths."""
    lengths = np.array([len(row.text) for row in rows])
    lanes = np.array([row.label for row in rows])
    bins = np.searchsorted(np.quantile(lengths, np.linspace(0, 1, LENGTH_BINS + 1)[1:-1]), lengths, side="right")
    factors = np.ones(len(rows))
    for place in range(LENGTH_BINS):
        mass = [float(weights[(bins == place) & (lanes == lane)].sum()) for lane in (0, 1)]
        for lane in (0, 1):
            wanted = (mass[0] + mass[1]) / 2 / mass[lane] if mass[lane] else 1.0
            factors[(bins == place) & (lanes == lane)] = min(max(wanted, 1 / MOST_LENGTH_FACTOR), MOST_LENGTH_FACTOR)
    return factors


def _equal_cells(rows: Sequence[Row], weights: Floats) -> Floats:
    """Scale so that each pair of language and label weighs the same; other languages than English and Chinese keep their rows' mean."""
    mass: dict[tuple[str, int | None], float] = defaultdict(float)
    for row, weight in zip(rows, weights, strict=True):
        mass[row.language, row.label] += float(weight)
    counts = Counter(row.language for row in rows)
    shares = {cell: 1.0 if cell[0] in {"en", "zh"} else counts[cell[0]] / len(rows) for cell in mass}
    scaled = np.array([weight * shares[row.language, row.label] / mass[row.language, row.label] for row, weight in zip(rows, weights, strict=True)])
    return scaled / scaled.mean()
