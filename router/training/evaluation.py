"""Judges the recipe on rows it did not see: grouped folds, whole sources left out, RouteLLM's protocol in folds, and word problems without lanes.

Knows nothing of files. "Slow share" is the share of rows sent slow at the default threshold: recall where the rows are slow, false slows where fast.
"""

import math
from collections.abc import Mapping
from typing import Final, TypedDict

import numpy as np

from router.heads import EXAM_GAIN, FAST_FAILS, FIRST_INTENT, INTENTS, KIND, PLACES, SLOW_FIXES, TOOLS, Blend
from router.training.fit import Calibration, Floats, fit_calibration, probabilities
from router.training.metrics import Share, auroc, brier, calibration_error, share_of
from router.training.problem import FOLDS, Flags, Problem, Report
from router.training.protocol import Outcomes, ProtocolFigures, figures_of, judge

THRESHOLD: Final = 0.5
GOLD_ROWS: Final = 1_500
"""Labels that RouteLLM's routers had of MMLU."""
GOLD_SEEDS: Final = 5
FEWEST_PAIRS: Final = 20
"""Of fewer rows a resample may show no gap at all."""
PAIR_SETS: Final = {"mmlu": "routellm_mmlu", "gsm8k": "routellm_gsm8k"}


class Figures(TypedDict):
    """One router on the rows of one language; AUROC, ECE and Brier under the balancing weights, shares per row."""

    auroc: float
    ece: float
    brier: float
    recall: Share
    false_slow: Share


class HeadFigures(TypedDict):
    """One probability on the rows of one language."""

    auroc: float
    ece: float
    brier: float
    rows: int


class GainFigures(TypedDict):
    """APGR and CPT of P(slow) on one of RouteLLM's halves."""

    in_folds: ProtocolFigures
    """Gain and kind by models that did not see the row's group."""
    no_pair_labels: ProtocolFigures
    """The kind alone, which never saw the set."""
    length_only: ProtocolFigures
    gold_labels: list[float]
    """APGR on the other rows after ``GOLD_ROWS`` labels, one per seed; empty where the set is smaller."""


def cross_calibrated(problem: Problem, head: str, scores: Floats) -> Floats:
    """Each row's probability by a calibration fitted on the other folds (rows,)."""
    p = np.zeros(len(problem.rows))
    for fold in range(FOLDS):
        unseen = np.flatnonzero(problem.folds == fold)
        calibration = calibrated(problem, head, scores, problem.folds != fold)
        p[unseen] = probabilities(calibration, scores[unseen], [problem.languages[index] for index in unseen])
    return p


def calibrated(problem: Problem, head: str, scores: Floats, seen: Flags) -> Calibration:
    """The calibration of a head from scores of unseen rows."""
    rows = np.flatnonzero(problem.judged(head) & seen)
    return fit_calibration(scores[rows], problem.targets[head][rows], problem.weights[head][rows], [problem.languages[index] for index in rows])


def by_language(problem: Problem, p: Floats) -> dict[str, Figures]:
    """Figures of the lane for English, Chinese and all rows."""
    return {name: _figures(problem, p, rows) for name, rows in _languages(problem, KIND).items()}


def heads_by_language(problem: Problem, probabilities_of: Mapping[str, Floats]) -> dict[str, dict[str, HeadFigures]]:
    """Figures of the other probabilities."""
    return {
        head: {name: _head_figures(problem, head, p, rows) for name, rows in _languages(problem, head).items() if rows.any()}
        for head, p in probabilities_of.items()
    }


def intent_figures(problem: Problem, outputs: Floats) -> dict[str, Share]:
    """Of each intent's rows, how many are recognised in folds."""
    found = outputs[:, FIRST_INTENT:].argmax(axis=1)
    is_judged = (problem.intents >= 0) & ~problem.is_copy
    shares = {name: is_judged & (problem.intents == place) for place, name in enumerate(INTENTS)}
    return {name: share_of(found[rows] == problem.intents[rows]) for name, rows in shares.items() if rows.any()}


def baselines(problem: Problem, randomness: np.random.Generator) -> dict[str, dict[str, Figures]]:
    """What the router must beat: chance, the length of the prompt alone (calibrated the same way), and never going slow."""
    lengths = np.array([math.log1p(len(row.text)) for row in problem.rows])
    return {
        "random": by_language(problem, randomness.random(len(problem.rows))),
        "length_only": by_language(problem, cross_calibrated(problem, KIND, lengths)),
        "always_fast": by_language(problem, np.zeros(len(problem.rows))),
    }


def by_source(problem: Problem, p: Floats) -> dict[str, Share]:
    """Slow share of each source, language and label."""
    return _shares(problem, p, problem.judged(KIND))


def leave_one_source_out(problem: Problem, blend: Blend, outputs: Floats, calibration: Calibration, report: Report) -> dict[str, Share]:
    """Slow share of each source by a kind of ask learnt without it, with the blend and the calibration of the whole."""
    shares: dict[str, Share] = {}
    is_judged = problem.judged(KIND)
    for source in sorted(set(problem.sources[is_judged].tolist())):
        is_left_out = problem.sources == source
        without = outputs.copy()
        unseen = np.flatnonzero(is_left_out & is_judged)
        without[unseen, PLACES[KIND]] = problem.matrix.scores(problem.fit_head(KIND, ~is_left_out), unseen)[:, 0]
        p = probabilities(calibration, problem.blended(blend, without), problem.languages)
        shares |= _shares(problem, p, is_left_out & is_judged)
        report(f"  without {source}")
    return shares


def gains(problem: Problem, blend: Blend, outputs: Floats, scores: Floats, seed: int) -> dict[str, GainFigures]:
    """RouteLLM's protocol on its two halves, from scores of unseen rows."""
    figures: dict[str, GainFigures] = {}
    for name, source in PAIR_SETS.items():
        rows = np.flatnonzero((problem.sources == source) & ~problem.is_copy)
        outcomes = _outcomes(problem, rows)
        if outcomes is None:
            continue
        lengths = np.array([float(len(problem.rows[int(index)].text)) for index in rows])
        figures[name] = GainFigures(
            in_folds=figures_of(judge(scores[rows], outcomes, seed=seed)),
            no_pair_labels=figures_of(judge(outputs[rows, PLACES[KIND]], outcomes, seed=seed)),
            length_only=figures_of(judge(lengths, outcomes, seed=seed)),
            gold_labels=[_from_gold(problem, blend, outputs, rows, seed) for seed in range(GOLD_SEEDS)] if len(rows) > 2 * GOLD_ROWS else [],
        )
    return figures


def _from_gold(problem: Problem, blend: Blend, outputs: Floats, rows: np.ndarray, seed: int) -> float:
    """APGR on the rows that were not drawn, by outcomes of the drawn ones and of no other row of the set."""
    order = np.random.default_rng(seed).permutation(rows)
    gold, unseen = order[:GOLD_ROWS], order[GOLD_ROWS:]
    relearnt = outputs.copy()
    is_seen = np.ones(len(problem.rows), dtype=np.bool_)
    is_seen[unseen] = False
    relearnt[unseen, PLACES[EXAM_GAIN]] = problem.matrix.scores(problem.fit_exam(gold), unseen)[:, 0]
    relearnt[unseen, PLACES[FAST_FAILS]] = problem.matrix.scores(problem.fit_head(FAST_FAILS, is_seen), unseen)[:, 0]
    outcomes = _outcomes(problem, unseen)
    if outcomes is None:
        return 0.5
    scores = problem.blended(blend, relearnt)[unseen]
    return figures_of(judge(scores, outcomes, seed=seed, resamples=1))["apgr"]["value"]


def _outcomes(problem: Problem, rows: np.ndarray) -> Outcomes | None:
    """What both models made of the rows; None where they are too few, or there is no gap to recover."""
    if len(rows) < FEWEST_PAIRS:
        return None
    weak, strong = 1 - problem.targets[FAST_FAILS][rows], problem.targets[SLOW_FIXES][rows]
    return Outcomes(weak, strong) if strong.mean() > weak.mean() else None


def _languages(problem: Problem, head: str) -> dict[str, Flags]:
    names = np.array(problem.languages)
    judged = problem.judged(head)
    return {"en": judged & (names == "en"), "zh": judged & (names == "zh"), "all": judged}


def _figures(problem: Problem, p: Floats, rows: Flags) -> Figures:
    lanes, weights = problem.labels[rows], problem.weights[KIND][rows]
    is_slow = p[rows] >= THRESHOLD
    return Figures(
        auroc=round(auroc(p[rows], lanes, weights), 4),
        ece=round(calibration_error(p[rows], lanes, weights), 4),
        brier=round(brier(p[rows], lanes, weights), 4),
        recall=share_of(is_slow[lanes == 1]),
        false_slow=share_of(is_slow[lanes == 0]),
    )


def _head_figures(problem: Problem, head: str, p: Floats, rows: Flags) -> HeadFigures:
    chances, weights = problem.targets[head][rows], problem.weights[head][rows]
    is_both = 0 < float((weights * chances).sum()) < float(weights.sum())
    return HeadFigures(
        auroc=round(auroc(p[rows], chances, weights), 4) if is_both else 0.5,
        ece=round(calibration_error(p[rows], chances, weights), 4),
        brier=round(brier(p[rows], chances, weights), 4),
        rows=int(rows.sum()),
    )


def _shares(problem: Problem, p: Floats, rows: Flags) -> dict[str, Share]:
    keys = np.array([f"{row.source}/{row.language}/{'slow' if row.label else 'fast'}" for row in problem.rows])
    is_slow = p >= THRESHOLD
    return {str(key): share_of(is_slow[rows & (keys == key)]) for key in np.unique(keys[rows])}


JUDGED_HEADS: Final = (FAST_FAILS, SLOW_FIXES, TOOLS)
