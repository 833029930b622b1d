from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.features import BUCKETS, DENSE_NAMES, dense_features, extract, hashed_features
from router.text import HEAD_CHARS, TAIL_CHARS, code_points, read_text

ANY_TEXT = st.text(st.characters(), max_size=2_000)


def dense(message: str) -> dict[str, float]:
    return dict(zip(DENSE_NAMES, dense_features(read_text(message)).tolist(), strict=True))


@settings(max_examples=50, deadline=None)
@given(ANY_TEXT)
def test_any_text_gives_finite_features_in_their_range(message: str) -> None:
    features = extract(read_text(message))
    assert features.dense.shape == (len(DENSE_NAMES),)
    assert np.isfinite(features.dense).all()
    assert features.dense.min() >= 0
    assert features.dense.max() <= 1
    assert len(features.buckets) == len(np.unique(features.buckets))
    assert len(features.buckets) == 0 or int(features.buckets.max()) < BUCKETS


@pytest.mark.parametrize(
    "message", ["", " ", "\n\n", "\x00", "👩‍👩‍👧 👍🏽", "\ud800 lone", "ﷺ" * 1_000, "x" * 200_000, "你" * 200_000, "\n" * 200_000, "1," * 100_000]
)
def test_odd_texts_do_not_raise(message: str) -> None:
    assert np.isfinite(extract(read_text(message)).dense).all()


@settings(max_examples=30, deadline=None)
@given(ANY_TEXT)
def test_equal_texts_give_equal_features(message: str) -> None:
    first, second = extract(read_text(message)), extract(read_text(message))
    assert np.array_equal(first.buckets, second.buckets)
    assert np.array_equal(first.dense, second.dense)


@settings(max_examples=50, deadline=None)
@given(st.text("abc xyz", min_size=1, max_size=60))
def test_each_ngram_of_each_word_is_hashed_once(message: str) -> None:
    """Against a plain loop: distinct n-grams and word pairs are as many as buckets, but for rare collisions."""
    text = read_text(message)
    grams = {text.compact[i : i + n] for n in (2, 3, 4, 5) for i in range(len(text.compact) - n + 1)}
    inside = {gram for gram in grams if " " not in gram[1:-1]}
    words = text.words.split()
    expected = len(inside) + len(set(pairwise(words)))
    assert expected - 2 <= len(hashed_features(text)) <= expected


def test_the_middle_of_a_long_text_is_not_read() -> None:
    head, tail = "a" * HEAD_CHARS, "b" * TAIL_CHARS
    first = hashed_features(read_text(head + "secret plans " * 100 + tail))
    second = hashed_features(read_text(head + "other words " * 100 + tail))
    assert np.array_equal(first, second)


def test_digits_do_not_change_the_hashed_features() -> None:
    assert np.array_equal(hashed_features(read_text("I have 17 apples")), hashed_features(read_text("I have 42 apples")))


def test_the_order_of_words_changes_the_hashed_features() -> None:
    assert not np.array_equal(hashed_features(read_text("dog bites man")), hashed_features(read_text("man bites dog")))


@pytest.mark.parametrize(
    ("message", "feature"),
    [
        ("Tom has 3 apples and buys 4 more. How many apples has he?", "word_problem"),
        ("小明有3个苹果，又买了4个，一共多少个？", "word_problem"),
        ("Prove it.", "proof"),
        ("证明它", "proof"),
        ("fix it\n```python\nprint(1)\n```", "code"),
        ("fix it\n```python\nprint(1)\n```", "fenced_code"),
        ("Which one?\nA. red\nB. green\nC. blue", "exam"),
        ("Summarise this:\n" + "The cat sat on the mat. " * 20, "carried"),
        ("帮我选一款手机", "deciding"),
        ("继续", "continuation"),
        ("see https://example.org", "addresses"),
        ("1. one\n2. two\n3. three", "enumeration"),
        ("at least 500 words", "output_size"),
        ("不少于500字", "output_size"),
        ("from 2010 to 2020", "date_range"),
        ("2010年至今", "date_range"),
        ("hello", "greeting"),
        ("你好", "greeting"),
        ("$x^2$ and \\frac{1}{2}", "formulas"),
    ],
)
def test_a_dense_feature_sees_what_it_is_named_for(message: str, feature: str) -> None:
    assert dense(message)[feature] > 0


def test_an_english_word_is_not_found_inside_another() -> None:
    assert dense("the planetarium provides chips")["planning"] == 0
    assert dense("this is a chip")["greeting"] == 0


@pytest.mark.parametrize(
    ("message", "language"),
    [
        ("hello there", "en"),
        ("你好", "zh"),
        ("用Python写一个函数", "zh"),
        ("Translate 你好 into English for me please", "en"),
        ("こんにちは、元気ですか", "other"),
        ("안녕하세요", "other"),
        ("привет", "other"),
        ("", "other"),
        ("123 + 456", "other"),
    ],
)
def test_the_language_is_detected(message: str, language: str) -> None:
    assert read_text(message).language == language


def test_full_width_letters_count_as_plain_ones() -> None:
    assert read_text("ＨＥＬＬＯ").compact == " hello "


def test_code_points_keep_every_character() -> None:
    assert code_points("a你😀").tolist() == [ord("a"), ord("你"), ord("😀")]
