"""The embedded scoring backend: linear heads over ``router/features.py``, calibrated per language.

Knows nothing of thresholds, overrides or files. Immutable after construction, so one instance serves every thread.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from router.calibration import Calibrations, PlattMap, sigmoid
from router.conversation import signs_of
from router.effort import demand_of
from router.features import DENSE_NAMES, Dense, extract
from router.heads import EXAM_GAIN, FAST_FAILS, INTENTS, KIND, MATH_GAIN, PLACES, SLOW_FIXES, TOOLS, Blend, Heads, dense_column, intent_chances
from router.text import Language, read_text
from tandem.ports import Score, Turns
from tandem.schemas.routing import Intent, Signs

MAX_CONTRIBUTIONS: Final = 5
WORDING: Final = "wording"
"""Name under which the hashed n-grams' contributions are summed: single ones are small, and naming them would copy the user's words."""
EXAM: Final = DENSE_NAMES.index("exam")
MATH: Final = INTENTS.index("math")


@dataclass(frozen=True, slots=True)
class ConversationWeights:
    """What signs of the conversation add to the log-odds of the slow lane, unless the answer before came from there.

    Set, not fitted: no public set tells what became of a re-ask. They are of the size that moves a probability of .3 beyond .7.
    """

    reask: float
    """At full likeness; from ``REASK_FROM`` on, in proportion."""
    negative: float


REASK_FROM: Final = 0.6
"""Likeness below it is chance: messages of one topic share n-grams."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """One text, before the conversation is looked at."""

    log_odds: float
    language: Language
    contributions: list[tuple[str, float]]
    fast_fails: float
    slow_fixes: float
    tools: float
    intent: Intent
    demand: float


class LinearClassifier:
    """P(needs the slow lane) and its kin from hashed n-grams, dense features and signs of the conversation.

    Args:
        version: Version of the artefact.
        heads: Weights.
        blend: Kind and gain to one score.
        calibrations: Scores to probabilities.
        conversation: Weights of the signs.
    """

    def __init__(self, version: str, heads: Heads, blend: Blend, calibrations: Calibrations, conversation: ConversationWeights) -> None:
        self._version = version
        self._heads = heads
        self._blend = blend
        self._calibrations = calibrations
        self._conversation = conversation

    @property
    def version(self) -> str:
        return self._version

    def score(self, turns: Turns) -> Score:
        """Calibrated probabilities, and what contributed most to the slow lane's log-odds."""
        judged = self._judge(turns.text)
        added = self._of_conversation(judged, turns, signs_of(turns)) if turns.history else []
        log_odds = judged.log_odds + sum(weight for _, weight in added)
        named = sorted([*judged.contributions, *added], key=lambda item: -abs(item[1]))
        return Score(
            p_slow=sigmoid(log_odds),
            contributions=tuple(item for item in named[:MAX_CONTRIBUTIONS] if item[1] != 0),
            p_fast_fails=judged.fast_fails,
            p_slow_fixes=judged.slow_fixes,
            p_tools=judged.tools,
            intent=judged.intent,
            demand=judged.demand,
        )

    def _judge(self, message: str) -> _Judged:
        text = read_text(message)
        features = extract(text)
        heads, blend = self._heads, self._blend
        wording = heads.wording(features.buckets)
        outputs = heads.outputs(features, wording)
        chances = intent_chances(outputs)
        exam = float(features.dense[EXAM])
        math = float(chances[MATH]) * (1 - exam)
        kind = float(outputs[PLACES[KIND]])
        share = blend.kind_share(kind, exam)
        gains = [
            (EXAM_GAIN, blend.exam_part(float(outputs[PLACES[EXAM_GAIN]]), float(outputs[PLACES[FAST_FAILS]]), exam)),
            (MATH_GAIN, blend.math_part(float(outputs[PLACES[MATH_GAIN]]), math)),
        ]
        slow = self._calibrations.slow.map_for(text.language)
        dense = dense_column(features.dense, heads.dense, KIND)
        return _Judged(
            log_odds=slow.log_odds(share * kind + gains[0][1] + gains[1][1]),
            language=text.language,
            contributions=[
                (WORDING, slow.slope * share * float(wording[PLACES[KIND]])),
                *((name, slow.slope * part) for name, part in gains),
                *_largest(dense, slow.slope * share),
            ],
            fast_fails=_probability(self._calibrations.fast_fails.map_for(text.language), float(outputs[PLACES[FAST_FAILS]])),
            slow_fixes=_probability(self._calibrations.slow_fixes.map_for(text.language), float(outputs[PLACES[SLOW_FIXES]])),
            tools=_probability(self._calibrations.tools.map_for(text.language), float(outputs[PLACES[TOOLS]])),
            intent=INTENTS[int(chances.argmax())],
            demand=demand_of(features.dense),
        )

    def _of_conversation(self, judged: _Judged, turns: Turns, signs: Signs) -> list[tuple[str, float]]:
        """What the signs add; "that's wrong" is about the ask before it, so it is at least as slow as that one."""
        if signs.previous_lane == "slow":
            return []
        added: list[tuple[str, float]] = []
        if signs.reask > REASK_FROM:
            added.append(("reask", self._conversation.reask * (signs.reask - REASK_FROM) / (1 - REASK_FROM)))
        if signs.is_negative:
            before = self._judge(turns.history[-1]).log_odds
            added += [("negative_feedback", self._conversation.negative), ("ask_before", max(before - judged.log_odds, 0.0))]
        return added


def _probability(platt: PlattMap, score: float) -> float:
    return sigmoid(platt.log_odds(score))


def _largest(dense: Dense, factor: float) -> list[tuple[str, float]]:
    """The dense contributions of largest size, with their names."""
    order = np.argsort(-np.abs(dense), kind="stable")[:MAX_CONTRIBUTIONS]
    return [(DENSE_NAMES[index], factor * float(dense[index])) for index in order]
