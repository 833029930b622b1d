"""The RouteLLM table: the artefact as it is, the same features fitted on outcomes, baselines, peers and oracles, on the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np

from router.evaluation.in_domain import GOLD_ROWS, GOLD_SEEDS, FeatureRidge, cross_validated, from_gold
from router.evaluation.outcomes import OutcomeSet, Peers, peer_scores, quality_gain
from router.training.metrics import auroc
from router.training.predictions import twin_key
from router.training.protocol import Floats, Interval, Judged, Outcomes, ProtocolFigures, apgr_difference, best_constant, figures_of, judge
from tandem.ports import Classifier, Turns

AS_IS: Final = "router, as shipped"
UNSEEN: Final = "router, each row by a model that did not see it"
IN_DOMAIN: Final = "features, cross-validated on this set"
TRANSFER: Final = "features, fitted on the other set"
LENGTH: Final = "length only"
RANDOM: Final = "random"
SUBJECT_ORACLE: Final = "subject oracle"
QUERY_ORACLE: Final = "per-query oracle"
RANDOM_DRAWS: Final = 100
MIN_GOLD_REST: Final = 1_000
"""Rows that must be left to judge what ``GOLD_ROWS`` labels give."""


class RouterFigures(ProtocolFigures):
    """One line of the table."""

    weak_wrong: float
    """AUROC of "the weak model is wrong"."""
    need_strong: float
    """AUROC of "only the strong model is right"."""
    ahead: Interval | None
    """APGR of the router as shipped minus this one's, paired; None for itself."""


class GoldFigures(TypedDict):
    """APGR from a few gold labels, on the rows that were not among them."""

    labels: int
    rows: int
    seeds: list[float]
    mean: float
    first: ProtocolFigures
    """Of the first seed, with intervals."""


class SetFigures(TypedDict):
    """All that is said of one set."""

    rows: int
    weak: float
    """Accuracy of the weak model."""
    strong: float
    best_constant: float
    """Accuracy of always asking the better model."""
    query_oracle: float
    """Accuracy of asking for each question whoever is right."""
    routers: dict[str, RouterFigures]
    random_apgr: list[float]
    """Mean, 2.5th and 97.5th percentile over seeds."""
    gold: GoldFigures | None


@dataclass(frozen=True, slots=True)
class Contenders:
    """Whose order of the prompts is judged."""

    classifier: Classifier
    peers: Peers
    unseen: Mapping[str, float]
    """Per ``twin_key``, the score by a model that did not see the prompt; may be empty."""


def judge_sets(sets: Sequence[OutcomeSet], contenders: Contenders, *, seed: int, resamples: int) -> dict[str, SetFigures]:
    """The table of each set."""
    return {one.name: _judge_set(one, sets, contenders, seed, resamples) for one in sets}


def _judge_set(one: OutcomeSet, sets: Sequence[OutcomeSet], contenders: Contenders, seed: int, resamples: int) -> SetFigures:
    outcomes, ridge = one.outcomes, FeatureRidge(one.prompts)
    scores = {AS_IS: as_is(contenders.classifier, one.prompts)} | _of_unseen(one, contenders.unseen)
    scores |= {IN_DOMAIN: cross_validated(ridge, one, seed)}
    scores |= {TRANSFER: _transferred(one, sets)} if len(sets) > 1 else {}
    scores |= baselines(one, contenders.peers)
    judged = {name: judge(values, outcomes, seed=seed, resamples=resamples) for name, values in scores.items()}
    return SetFigures(
        rows=len(one.prompts),
        weak=round(float(outcomes.weak.mean()), 4),
        strong=round(float(outcomes.strong.mean()), 4),
        best_constant=round(best_constant(outcomes), 4),
        query_oracle=round(float(np.maximum(outcomes.weak, outcomes.strong).mean()), 4),
        routers={name: _line(name, judged, scores[name], outcomes) for name in scores},
        random_apgr=_random(outcomes, seed),
        gold=_gold(ridge, one, seed, resamples) if len(one.prompts) >= GOLD_ROWS + MIN_GOLD_REST else None,
    )


def as_is(classifier: Classifier, prompts: Sequence[str]) -> Floats:
    """P(slow) of every prompt."""
    return np.array([classifier.score(Turns(text=prompt)).p_slow for prompt in prompts])


def baselines(one: OutcomeSet, peers: Peers) -> dict[str, Floats]:
    """What a router must beat, and the oracles that say how much is to be had."""
    scores: dict[str, Floats] = {LENGTH: np.array([float(len(prompt)) for prompt in one.prompts])}
    for name, words in peer_scores(peers, one.prompts).items():
        scores[name] = np.array([word.score for word in words])
    gains = quality_gain(one.outcomes)
    if one.subjects is not None:
        names = np.array(one.subjects)
        scores[SUBJECT_ORACLE] = np.array([gains[names == name].mean() for name in one.subjects])
    return scores | {QUERY_ORACLE: gains}


def _of_unseen(one: OutcomeSet, unseen: Mapping[str, float]) -> dict[str, Floats]:
    """Nothing where a prompt is missing: a table on fewer rows could not be compared."""
    found = [unseen.get(twin_key(prompt)) for prompt in one.prompts]
    known = [p for p in found if p is not None]
    return {UNSEEN: np.array(known)} if len(known) == len(found) else {}


def _transferred(one: OutcomeSet, sets: Sequence[OutcomeSet]) -> Floats:
    """Gains as the outcomes of the other sets predict them."""
    others = [other for other in sets if other.name != one.name]
    prompts = [*one.prompts, *(prompt for other in others for prompt in other.prompts)]
    targets = np.concatenate([np.zeros(len(one.prompts)), *(quality_gain(other.outcomes) for other in others)])
    own = np.arange(len(one.prompts))
    return FeatureRidge(prompts).predict(targets, np.arange(len(own), len(prompts)), own)


def _line(name: str, judged: Mapping[str, Judged], scores: Floats, outcomes: Outcomes) -> RouterFigures:
    ones = np.ones(len(scores))
    return RouterFigures(
        **figures_of(judged[name]),
        weak_wrong=round(auroc(scores, 1 - outcomes.weak, ones), 4),
        need_strong=round(auroc(scores, (quality_gain(outcomes) > 0).astype(np.float64), ones), 4),
        ahead=None if name == AS_IS else apgr_difference(judged[AS_IS], judged[name]),
    )


def _random(outcomes: Outcomes, seed: int) -> list[float]:
    randomness = np.random.default_rng(seed)
    drawn = [judge(randomness.random(len(outcomes.weak)), outcomes, seed=seed, resamples=1).own[0] for _ in range(RANDOM_DRAWS)]
    return [round(float(value), 4) for value in (np.mean(drawn), *np.percentile(drawn, (2.5, 97.5)))]


def _gold(ridge: FeatureRidge, one: OutcomeSet, seed: int, resamples: int) -> GoldFigures:
    judged: list[Judged] = []
    for place in range(GOLD_SEEDS):
        rows, scores = from_gold(ridge, one, seed + place)
        judged.append(judge(scores, one.outcomes.take(rows), seed=seed, resamples=resamples if place == 0 else 1))
    seeds = [round(float(each.own[0]), 4) for each in judged]
    return GoldFigures(labels=GOLD_ROWS, rows=judged[0].rows, seeds=seeds, mean=round(float(np.mean(seeds)), 4), first=figures_of(judged[0]))
