"""When to stop sampling: the probability that the leading answer really is the majority's.

With a uniform prior over the share of the leader against the runner-up, ``P(share > 1/2)`` after votes v1 >= v2 is ``1 - I_{1/2}(v1 + 1, v2 + 1)``
(Adaptive-Consistency, arXiv 2305.11860). Votes may be weighted, so the regularised incomplete beta function is evaluated by its continued fraction.
"""

import math
from typing import Final

_TINY: Final = 1e-300
_PRECISION: Final = 1e-12
_MOST_TERMS: Final = 300


def lead_probability(first: float, second: float) -> float:
    """P(the leader has more than half), 0..1, from the vote weights of the two leading answers."""
    return 1.0 - incomplete_beta(first + 1.0, second + 1.0, 0.5)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), for a, b > 0 and 0 < x < 1."""
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _continued_fraction(a, b, x) / a
    return 1.0 - front * _continued_fraction(b, a, 1.0 - x) / b


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Lentz's method for the continued fraction of the incomplete beta function (Numerical Recipes, 6.4)."""
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for coefficient in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + coefficient * d)
            c = _away_from_zero(1.0 + coefficient / c)
            value *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return _TINY if abs(value) < _TINY else value
