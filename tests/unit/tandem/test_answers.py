"""Canonical answers."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.answers import as_number, canonical_value, chinese_number, choice_of, final_line, first_number, last_number, same, short_answer, show


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("72", "72"),
        ("$1,234.50", "1234.5"),
        ("3/4", "0.75"),
        ("1 1/2 cups", "1.5"),
        ("50%", "50"),
        ("-5", "-5"),
        ("−5", "-5"),
        ("1.2e3", "1200"),
        (".5 liters", "0.5"),
        ("12元", "12"),
        ("3万", "30000"),
        ("一百零五", "105"),
        ("三万二千", "32000"),
        ("二点五", "2.5"),
        ("一共有72个", "72"),
        ("\\frac{3}{4}", "0.75"),
        ("007", "7"),
        ("no number", None),
        ("1/0", None),
        ("1e999", None),
        ("", None),
    ],
)
def test_a_number_loses_its_dress(text: str, number: str | None) -> None:
    assert first_number(text) == number


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("48 + 24 = 72\nAnswer: 72", "72"),
        ("**Answer:** $72.00", "72"),
        ("Answer: 48 + 24 = 72 clips", "72"),
        ("The answer is 72.", "72"),
        ("#### 72", "72"),
        ("so \\boxed{72}", "72"),
        ("30 - 6 = 24\n答案：24元", "24"),
        ("答：还剩9页。", "9"),
        ("Answer: 1\nWait.\nAnswer: 2", "2"),
        ("Answer: Monday", "monday"),
        ("We get 5 and then 12", "12"),
        ("Answer:", None),
        ("To answer the question, think hard.", None),
        ("", None),
    ],
)
def test_the_answer_of_a_chain_of_thought_is_read(reply: str, answer: str | None) -> None:
    assert short_answer(reply, must_be_number=False) == answer


def test_words_are_no_answer_where_a_number_is_owed() -> None:
    assert short_answer("Answer: Monday", must_be_number=True) is None


@pytest.mark.parametrize(
    ("value", "answer"),
    [(72, "72"), (72.0, "72"), (0.1, "0.1"), (True, "yes"), ("12 apples", "12"), ([7], "7"), ([1, 2], None), (None, None), (float("inf"), None)],
)
def test_what_a_program_returned_is_read(value: object, answer: str | None) -> None:
    assert canonical_value(value) == answer


@pytest.mark.parametrize(
    ("left", "right", "is_same"),
    [
        ("33.33", "33.3333333", True),
        ("33", "33.33", False),
        ("72", "72", True),
        ("0.5", "0.50001", False),
        ("monday", "tuesday", False),
        ("1.005", "1.0050", True),
    ],
)
def test_numbers_are_compared_at_the_coarser_precision(left: str, right: str, is_same: bool) -> None:
    assert same(left, right) is is_same


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("Answer: Snake", "Snake"),
        ("Answer: (B) snake", "Snake"),
        ("Answer: B", "Snake"),
        ("Answer: **snake**.", "Snake"),
        ("It is a dog or a snake", None),
        ("Answer: Z", None),
        ("", None),
    ],
)
def test_a_choice_is_found_by_word_or_letter(reply: str, choice: str | None) -> None:
    assert choice_of(reply, ["Dog", "Snake"]) == choice


def test_a_chinese_choice_is_found_inside_the_line() -> None:
    assert choice_of("答案：是蛇类", ["狗", "蛇"]) == "蛇"


@pytest.mark.parametrize(("text", "value"), [("十二", 12), ("二十", 20), ("两百", 200), ("一亿零三万", 100_030_000), ("万", None)])
def test_chinese_numerals(text: str, value: int | None) -> None:
    assert chinese_number(text) == (None if value is None else Fraction(value))


@given(st.integers(-(10**12), 10**12))
def test_whole_numbers_survive_every_dress(value: int) -> None:
    assert first_number(f"${value:,}") == last_number(f"is {value}.") == canonical_value(value) == str(value)
    assert as_number(str(value)) == value


@given(st.text(max_size=300))
def test_no_text_breaks_the_readers(text: str) -> None:
    short_answer(text, must_be_number=False)
    choice_of(text, ["yes", "no"])
    final_line(text)


@given(st.fractions(min_value=-1000, max_value=1000, max_denominator=50))
def test_shown_numbers_are_plain_decimals(value: Fraction) -> None:
    assert as_number(show(value)) is not None
