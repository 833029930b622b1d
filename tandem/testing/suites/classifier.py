"""The conformance suite of ``Classifier``: subclass it where the fixture ``classifier`` is."""
# ruff: noqa: S101 - a conformance suite asserts

import math

import pytest

from tandem.ports import Classifier, Turns

AWKWARD_TEXTS = ("", " ", "你好", "🚲" * 50, "a" * 200_000, "\u202e\u0301\ufeff", "1/0 \\n {}[]<>", "0" * 5_000)


class ClassifierConformance:
    """Everything a ``Classifier`` promises."""

    def test_it_has_a_version(self, classifier: Classifier) -> None:
        assert classifier.version

    @pytest.mark.parametrize("text", AWKWARD_TEXTS, ids=range(len(AWKWARD_TEXTS)))
    def test_any_text_gets_a_probability(self, classifier: Classifier, text: str) -> None:
        assert 0.0 <= classifier.score(Turns(text=text)).p_slow <= 1.0

    def test_the_same_conversation_gets_the_same_score(self, classifier: Classifier) -> None:
        turns = Turns(text="Compare three laptops under 900 euros.", history=("hi",))
        assert classifier.score(turns) == classifier.score(turns)

    def test_contributions_are_few_finite_and_largest_first(self, classifier: Classifier) -> None:
        contributions = classifier.score(Turns(text="Prove that the square root of 2 is irrational, step by step.")).contributions
        weights = [abs(weight) for _, weight in contributions]
        assert len(weights) <= 5
        assert all(math.isfinite(weight) for weight in weights)
        assert weights == sorted(weights, reverse=True)
