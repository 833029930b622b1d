"""Parts of a long text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tandem.tokens import text_tokens
from tools.web.windows import Window, passages_about, window

ARTICLE = "\n\n".join(f"Paragraph {n} tells of the weather on day {n}, which was mild and dry." for n in range(100))


def test_a_text_that_fits_is_one_window() -> None:
    assert window("short", 0, 4_000, 1_800) == Window(0, 5)


def test_a_window_ends_between_paragraphs() -> None:
    part = window(ARTICLE, 0, 1_000, 5_000)
    assert ARTICLE[: part.end].endswith("\n\n")
    assert 700 <= part.end <= 1_000


def test_chinese_takes_fewer_characters_of_the_same_budget() -> None:
    chinese = "大熊猫主要栖息在四川。" * 1_000
    part = window(chinese, 0, 4_000, 1_800)
    assert text_tokens(json.dumps(chinese[: part.end], ensure_ascii=False)) <= 1_800
    assert chinese[: part.end].endswith("。")
    assert part.end > 800


@given(st.text(min_size=1, max_size=3_000), st.integers(200, 1_000), st.integers(100, 500))
def test_windows_follow_one_another_to_the_end_without_gaps(text: str, max_chars: int, max_tokens: int) -> None:
    place = 0
    while place < len(text):
        part = window(text, place, max_chars, max_tokens)
        assert part.start == place < part.end <= len(text)
        place = part.end
    assert place == len(text)


def test_passages_are_found_in_the_order_of_the_text_and_letter_by_letter() -> None:
    text = f"{ARTICLE}\n\nThe volcano erupted in 1883.\n\n{ARTICLE}\n\n火山在1883年爆发，造成海啸。\n\n{ARTICLE}"
    english, chinese = passages_about(text, "volcano eruption", 4_000, 1_800), passages_about(text, "火山 海啸", 4_000, 1_800)

    assert any("volcano erupted" in text[each.start : each.end] for each in english)
    assert any("火山在1883年爆发" in text[each.start : each.end] for each in chinese)
    assert passages_about(text, "weather", 4_000, 1_800) == sorted(passages_about(text, "weather", 4_000, 1_800), key=lambda each: each.start)


def test_what_is_not_there_is_not_found() -> None:
    assert passages_about(ARTICLE, "quantum chromodynamics", 4_000, 1_800) == []
    assert passages_about(ARTICLE, "?!", 4_000, 1_800) == []


def test_passages_fit_together_and_a_single_long_one_is_cut() -> None:
    found = passages_about(ARTICLE, "weather", 1_700, 5_000)
    assert sum(each.end - each.start for each in found) <= 1_700
    (cut,) = passages_about(ARTICLE, "weather", 200, 100)
    assert 0 < cut.end - cut.start <= 200
