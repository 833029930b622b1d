"""The sources of a job by number, and a text that cites them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slow_worker.sources import MOST_SOURCES, CitedText, Sources
from tandem.schemas.tools import Citation
from tools.authority import Authority, tainted, trusting

THREE = [Citation(source=f"http://a.example/{number}") for number in (1, 2, 3)]


def shown(text: str, sources: list[Citation] = THREE, authority: Authority | None = None) -> tuple[str, list[int], int]:
    cited = CitedText(sources, authority or Authority())
    return cited.add(text) + cited.rest(), cited.cited, cited.invented


def test_a_passage_has_one_number_however_often_it_is_read() -> None:
    sources = Sources(THREE[:1])

    assert sources.add([THREE[1], THREE[0], THREE[1]]) == [2, 1]
    assert sources.add([Citation(source="http://a.example/1", quote="other words")]) == [3]


def test_sources_are_bounded() -> None:
    sources = Sources([])

    assert len(sources.add([Citation(source=str(number)) for number in range(MOST_SOURCES + 50)])) == MOST_SOURCES


CITING: list[tuple[str, tuple[str, list[int], int]]] = [
    ("A [2]. B [1].", ("A [1]. B [2].", [2, 1], 0)),
    ("A [2, 3]. B [2].", ("A [1][2]. B [1].", [2, 3], 0)),
    ("A [9]. B [0].", ("A. B.", [], 2)),
    ("长三百米【1】。", ("长三百米[1]。", [1], 0)),
    ("a[1] = x", ("a[1] = x", [1], 0)),
    ("[1](http://a.example/)", ("[1](http://a.example/)", [], 0)),
    ("no numbers", ("no numbers", [], 0)),
]


@pytest.mark.parametrize(("text", "result"), CITING)
def test_numbers_follow_the_text(text: str, result: tuple[str, list[int], int]) -> None:
    assert shown(text) == result


def test_without_sources_brackets_stay_what_they_are() -> None:
    assert shown("See [1] and [x].", [])[0] == "See [1] and [x]."


def test_after_the_taint_only_known_addresses_stay_links() -> None:
    authority = tainted(trusting(Authority(), ["Read http://a.example/1"]), "page")

    text = shown("[one](http://a.example/1), [two](http://a.example/2) ![x](http://a.example/?d=1)", authority=authority)[0]
    assert text == "[one](http://a.example/1), [two] (`http://a.example/2`) [x] (`http://a.example/?d=1`)"


@given(st.text(alphabet="ab[]1239, .\n`!(", max_size=60), st.lists(st.integers(1, 9), max_size=8))
def test_a_text_in_pieces_is_shown_like_a_whole_one(text: str, cuts: list[int]) -> None:
    authority = tainted(Authority(), "page")
    cited = CitedText(THREE, authority)
    parts: list[str] = []
    at = 0
    for cut in cuts:
        parts.append(cited.add(text[at : at + cut]))
        at += cut
    parts += [cited.add(text[at:]), cited.rest()]

    assert ("".join(parts), cited.cited, cited.invented) == shown(text, authority=authority)
