"""Does the slow share land where it was set? A cut is chosen on one week of traffic and judged on the next.

There is no public log of such traffic, so weeks are synthetic: each day draws its number of requests (Poisson) and their kinds by the mix of
weekdays or weekends, each kind its prompts. The two weeks of a pair have no prompt in common. Three kinds of pairs: the ``same`` mix in both; a mix
that ``varies`` around it from day to day (Dirichlet); and a second week that is ``shifted``, with twice the research and hard questions, which shows
what a change of the traffic does before anybody recalibrates.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

import numpy as np

from router.evaluation.material import halves
from router.training.protocol import Floats
from tandem.ports import Classifier, Turns

WEEKDAY: Final = {
    "assistant (en)": 0.26, "support (en)": 0.13, "task dialogue (zh)": 0.20, "instructions (zh)": 0.09, "knowledge (en)": 0.10,
    "word problems (en)": 0.04, "word problems (zh)": 0.04, "tools (en)": 0.05, "hard questions": 0.07, "research briefs": 0.02,
}  # fmt: skip
WEEKEND: Final = {
    "assistant (en)": 0.34, "support (en)": 0.08, "task dialogue (zh)": 0.28, "instructions (zh)": 0.09, "knowledge (en)": 0.08,
    "word problems (en)": 0.02, "word problems (zh)": 0.03, "tools (en)": 0.03, "hard questions": 0.04, "research briefs": 0.01,
}  # fmt: skip
SHIFTED: Final = ("hard questions", "research briefs")
CONCENTRATION: Final = 150.0
"""Of the Dirichlet: a kind with a tenth of the traffic varies by 2.4 points from day to day."""
REQUESTS: Final = (1_000, 600)
"""On a weekday, on a day of the weekend, on average."""
TARGETS: Final = (0.10, 0.15, 0.20, 0.30, 0.40)
PAIRS: Final = 200
"""Pairs of weeks."""
TOLERANCE: Final = 0.02


class Landing(TypedDict):
    """How one target was met over all pairs of weeks."""

    target: float
    mean: float
    """Slow share of the second weeks."""
    mean_error: float
    """Mean distance from the target."""
    worst_error: float
    """95th percentile of the distance."""
    within: float
    """Share of pairs that landed within ``TOLERANCE``."""


class Weeks(TypedDict):
    """All of this chapter."""

    pairs: int
    requests: int
    """In a second week, on average."""
    same: list[Landing]
    varies: list[Landing]
    shifted: list[Landing]


def judge_weeks(classifier: Classifier, material: Mapping[str, Sequence[str]], *, seed: int, pairs: int = PAIRS) -> Weeks:
    """Draw pairs of weeks and set the cut by the first of each."""
    scores = {kind: tuple(_p_slow(classifier, half) for half in halves(texts)) for kind, texts in material.items()}
    randomness = np.random.default_rng(seed)
    seen, unseen = ({kind: some[half] for kind, some in scores.items()} for half in (0, 1))
    shares: dict[str, list[list[float]]] = {"same": [], "varies": [], "shifted": []}
    sizes: list[int] = []
    for _ in range(pairs):
        for name, does_vary, shift in (("same", False, 1.0), ("varies", True, 1.0), ("shifted", True, 2.0)):
            first = _week(seen, randomness, 1.0, does_vary=does_vary)
            second = _week(unseen, randomness, shift, does_vary=does_vary)
            shares[name].append([float((second >= slow_at(first, target)).mean()) for target in TARGETS])
            sizes.append(len(second))
    same, varies, shifted = (_landings(np.array(shares[name])) for name in ("same", "varies", "shifted"))
    return Weeks(pairs=pairs, requests=round(float(np.mean(sizes))), same=same, varies=varies, shifted=shifted)


def slow_at(p_slow: Floats, target: float) -> float:
    """The cut that would have sent this share of the requests slow."""
    return float(np.quantile(p_slow, 1 - target))


def _week(scores: Mapping[str, Floats], randomness: np.random.Generator, shift: float, *, does_vary: bool) -> Floats:
    """P(slow) of a week's requests; ``shift`` multiplies the kinds of ``SHIFTED``."""
    drawn: list[Floats] = []
    for day in range(7):
        mix = WEEKEND if day >= 5 else WEEKDAY
        weights = np.array([mix[kind] * (shift if kind in SHIFTED else 1.0) for kind in mix])
        shares = randomness.dirichlet(CONCENTRATION * weights / weights.sum()) if does_vary else weights / weights.sum()
        counts = randomness.multinomial(randomness.poisson(REQUESTS[day >= 5]), shares)
        drawn.extend(randomness.choice(scores[kind], count) for kind, count in zip(mix, counts, strict=True))
    return np.concatenate(drawn)


def _landings(shares: Floats) -> list[Landing]:
    """Of the slow shares (pairs, targets)."""
    errors = np.abs(shares - np.array(TARGETS))
    return [
        Landing(
            target=target,
            mean=round(float(shares[:, place].mean()), 4),
            mean_error=round(float(errors[:, place].mean()), 4),
            worst_error=round(float(np.percentile(errors[:, place], 95)), 4),
            within=round(float((errors[:, place] <= TOLERANCE).mean()), 4),
        )
        for place, target in enumerate(TARGETS)
    ]


def _p_slow(classifier: Classifier, texts: Sequence[str]) -> Floats:
    return np.array([classifier.score(Turns(text=text)).p_slow for text in texts])
