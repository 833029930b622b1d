"""How often a decision flips when a prompt is changed but not what it asks."""

import random
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

import numpy as np

from router.evaluation.perturbations import CHANGES, Change
from router.policy import Policy, decide
from router.text import read_text
from router.training.metrics import Share, share_of
from tandem.ports import Classifier, Turns
from tandem.schemas.routing import Band, Lane, Language

MOST_PER_KIND: Final = 100
"""Prompts of each kind of traffic."""
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")


class Flips(TypedDict):
    """Of one kind of change in one language."""

    lanes: Share
    """Decisions whose lane changed, among prompts that the change alters."""
    bands: Share
    """Those whose band changed: also between answered and checked."""


def judge_robustness(classifier: Classifier, policy: Policy, material: Mapping[str, Sequence[str]], *, seed: int) -> dict[str, dict[str, Flips]]:
    """Per language and kind of change, ``any`` together."""
    texts = [text for some in material.values() for text in some[:MOST_PER_KIND]]
    return {language: _of_language(classifier, policy, texts, language, seed) for language in LANGUAGES}


def _of_language(classifier: Classifier, policy: Policy, texts: Sequence[str], language: Language, seed: int) -> dict[str, Flips]:
    own = [text for text in texts if read_text(text).language == language]
    before = [_decided(classifier, policy, text) for text in own]
    pairs: dict[str, list[tuple[tuple[Lane, Band], tuple[Lane, Band]]]] = {}
    for name, change in CHANGES.items():
        altered = [_altered(change, text, language, seed, place) for place, text in enumerate(own)]
        pairs[name] = [(old, _decided(classifier, policy, new)) for text, old, new in zip(own, before, altered, strict=True) if new != text]
    known = {name: some for name, some in pairs.items() if some}
    return {name: _flips(some) for name, some in (known | {"any": [pair for some in known.values() for pair in some]}).items() if some}


def _altered(change: Change, text: str, language: Language, seed: int, place: int) -> str:
    return change(text, language, random.Random(f"{seed}:{place}"))  # noqa: S311 - a reproducible draw, not a secret


def _decided(classifier: Classifier, policy: Policy, text: str) -> tuple[Lane, Band]:
    decision = decide(Turns(text=text), classifier, policy)
    return decision.lane, decision.band


def _flips(pairs: Sequence[tuple[tuple[Lane, Band], tuple[Lane, Band]]]) -> Flips:
    return Flips(
        lanes=share_of(np.array([old[0] != new[0] for old, new in pairs])),
        bands=share_of(np.array([old[1] != new[1] for old, new in pairs])),
    )
