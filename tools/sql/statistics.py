"""Aggregates that SQLite lacks and questions about data need: median and percentiles, deviation, correlation. Run in the child only."""

import math
import sqlite3
from statistics import StatisticsError, correlation, pstdev, pvariance, stdev, variance

_Number = int | float


def add_statistics(connection: sqlite3.Connection) -> None:
    """Teach a connection the aggregates, under the names that ``tools/sql/allowed`` knows."""
    for name, aggregate in _ONE_VALUE.items():
        connection.create_aggregate(name, 1, aggregate)  # pyright: ignore[reportArgumentType] - the stub has whole numbers for all results
    connection.create_aggregate("percentile_cont", 2, PercentileCont)  # pyright: ignore[reportArgumentType]
    connection.create_aggregate("corr", 2, Correlation)  # pyright: ignore[reportArgumentType]


class Values:
    """Collects the numbers of a group; other values do not count."""

    def __init__(self) -> None:
        self.values: list[_Number] = []

    def step(self, value: object) -> None:
        if isinstance(value, int | float):
            self.values.append(value)


class Stddev(Values):
    """Of a sample."""

    def finalize(self) -> float | None:
        return float(stdev(self.values)) if len(self.values) > 1 else None


class StddevPop(Values):
    """Of all there is."""

    def finalize(self) -> float | None:
        return float(pstdev(self.values)) if self.values else None


class Variance(Values):
    """Of a sample."""

    def finalize(self) -> float | None:
        return float(variance(self.values)) if len(self.values) > 1 else None


class VariancePop(Values):
    """Of all there is."""

    def finalize(self) -> float | None:
        return float(pvariance(self.values)) if self.values else None


class PercentileCont:
    """``percentile_cont(value, share)``, between values as SQL has it; ``median(value)`` arrives as a share of a half."""

    def __init__(self) -> None:
        self._values: list[_Number] = []
        self._share = 0.5

    def step(self, value: object, share: object) -> None:
        if isinstance(value, int | float):
            self._values.append(value)
        if isinstance(share, int | float):
            self._share = min(max(float(share), 0.0), 1.0)

    def finalize(self) -> float | None:
        values = sorted(self._values)
        if not values:
            return None
        place = self._share * (len(values) - 1)
        low, high = values[math.floor(place)], values[math.ceil(place)]
        return low + (high - low) * (place - math.floor(place))


class Correlation:
    """Pearson's, of the pairs that are whole."""

    def __init__(self) -> None:
        self._pairs: list[tuple[_Number, _Number]] = []

    def step(self, one: object, other: object) -> None:
        if isinstance(one, int | float) and isinstance(other, int | float):
            self._pairs.append((one, other))

    def finalize(self) -> float | None:
        try:
            return correlation(*(list(each) for each in zip(*self._pairs, strict=True)))
        except (StatisticsError, TypeError):
            return None


_ONE_VALUE = {"stddev": Stddev, "stddev_samp": Stddev, "stddev_pop": StddevPop, "variance": Variance, "variance_pop": VariancePop}
