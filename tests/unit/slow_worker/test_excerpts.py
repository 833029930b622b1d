"""Which part of a text is worth its room."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slow_worker.excerpts import beginning, excerpt, shared_out
from tandem.tokens import text_tokens

FILLER = "The maker has built computers for twenty years and sells them in forty countries."
PAGE = f"# Alder\n\n{FILLER}\n\nIt weighs 1.2 kg. Its battery lasts 14 hours. It costs 1,099 dollars.\n\n{FILLER}"


def test_a_text_that_fits_is_shown_as_it_is() -> None:
    assert excerpt(PAGE, "battery", 1_000) == PAGE


def test_of_a_longer_text_the_paragraph_about_the_task_is_kept() -> None:
    assert excerpt(PAGE, "Compare the battery life", 60) == "…\nIt weighs 1.2 kg. Its battery lasts 14 hours. It costs 1,099 dollars.\n…"


def test_a_long_paragraph_is_looked_at_by_sentences_and_a_number_is_no_end_of_one() -> None:
    assert excerpt(PAGE.replace("\n\n", " "), "battery hours", 24) == "…\nIts battery lasts 14 hours.\n…"


def test_chinese_is_read_by_its_own_marks() -> None:
    text = "这是一家有二十年历史的公司。它的续航为十四小时。价格是一千元。" + "公司在四十个国家销售产品。" * 5

    assert excerpt(text, "续航多久", 30) == "…\n它的续航为十四小时。\n…"


def test_where_nothing_is_about_the_task_the_beginning_is_shown() -> None:
    assert excerpt(FILLER, "全无关系", 10).startswith("The maker")


@settings(deadline=None)
@given(text=st.text(max_size=600), sought=st.text(max_size=40), tokens=st.integers(4, 200))
def test_an_excerpt_never_takes_more_than_its_room(text: str, sought: str, tokens: int) -> None:
    assert text_tokens(excerpt(text, sought, tokens)) <= tokens + text_tokens("…\n…")
    assert text_tokens(beginning(text, tokens)) <= tokens + text_tokens(" …")


@pytest.mark.parametrize(
    ("sizes", "room", "shares"),
    [([10, 20], 100, [10, 20]), ([90, 10, 90], 100, [45, 10, 45]), ([50, 50], 0, [0, 0]), ([], 10, [])],
)
def test_small_sizes_are_whole_and_the_others_share_alike(sizes: list[int], room: int, shares: list[int]) -> None:
    assert shared_out(sizes, room) == shares
