import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.evaluation.perturbations import CHANGES
from router.text import read_text
from tandem.schemas.routing import Language

ENGLISH = "What caused the decline of insect populations, and which measures have worked?"
CHINESE = "请比较中德两国职业教育体系的差异，并说明哪些经验可以借鉴。"


def changed(name: str, text: str, language: Language, seed: int = 1) -> str:
    return CHANGES[name](text, language, random.Random(seed))  # noqa: S311 - a reproducible draw, not a secret


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "traditional"])
def test_every_change_changes_an_english_sentence_for_some_seed(name: str) -> None:
    assert any(changed(name, ENGLISH, "en", seed) != ENGLISH for seed in range(5))


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in {"case", "full width"}])
def test_every_change_changes_a_chinese_sentence_for_some_seed(name: str) -> None:
    assert any(changed(name, CHINESE, "zh", seed) != CHINESE for seed in range(5))


@pytest.mark.parametrize("name", list(CHANGES))
@given(text=st.text(max_size=60), seed=st.integers(0, 9))
def test_a_change_takes_any_text_and_repeats_with_its_seed(name: str, text: str, seed: int) -> None:
    for language in ("en", "zh", "other"):
        assert changed(name, text, language, seed) == changed(name, text, language, seed)


@pytest.mark.parametrize("seed", range(20))
def test_a_typing_error_moves_few_characters(seed: int) -> None:
    assert abs(len(changed("typos", ENGLISH, "en", seed)) - len(ENGLISH)) <= 2
    assert abs(len(changed("typos", CHINESE, "zh", seed)) - len(CHINESE)) <= 2


def test_the_words_survive_other_case_and_width() -> None:
    words = read_text(ENGLISH).words
    assert read_text(changed("case", ENGLISH, "en")).words == words
    assert read_text(changed("full width", ENGLISH, "en")).words == words


def test_politeness_and_frames_keep_the_ask_whole() -> None:
    for name in ("politeness", "framing"):
        assert ENGLISH in changed(name, ENGLISH, "en")
        assert CHINESE in changed(name, CHINESE, "zh")


def test_traditional_characters_stand_for_frequent_simplified_ones() -> None:
    assert changed("traditional", "这个问题", "zh") == "這個問題"
    assert changed("traditional", ENGLISH, "en") == ENGLISH
