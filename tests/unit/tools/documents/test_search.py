"""Passages and their ranking, by words in two languages and by meaning."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.documents.chunks import chunks_of
from tools.documents.formats.pages import clean
from tools.documents.index import indexed, ranked
from tools.documents.parsing import Extracted, Page

TEXTS = st.text(st.sampled_from("ab .!?\n。，中文字#\t3") | st.characters(), max_size=3_000)


def document_of(*pages: str) -> Extracted:
    text, spans = "", list[Page]()
    for page in map(clean, pages):
        text += "\n\n" if spans else ""
        spans.append(Page(len(text), len(text) + len(page)))
        text += page
    return Extracted("text", text, tuple(spans))


@given(st.lists(TEXTS, min_size=1, max_size=4))
@settings(deadline=None)
def test_every_passage_is_a_piece_of_its_page_and_together_they_are_all_of_it(pages: list[str]) -> None:
    document = document_of(*pages)
    chunks = chunks_of(document)

    for chunk in chunks:
        page = document.pages[(chunk.page or 1) - 1]
        assert page.start <= chunk.start < chunk.end <= page.end
        assert document.text[chunk.start : chunk.end].strip()
        assert chunk.page == document.page_at(chunk.start)
    assert "".join("".join(document.text[c.start : c.end] for c in chunks).split()) == "".join(document.text.split())


def test_passages_are_about_as_long_as_a_paragraph_in_both_languages() -> None:
    english = chunks_of(document_of("This sentence has ten words and it stands here alone. " * 200))
    chinese = chunks_of(document_of("这句话一共有十五个字，它重复很多次。" * 200))

    assert all(300 < chunk.end - chunk.start <= 800 for chunk in english[:-1])
    assert all(150 < chunk.end - chunk.start <= 400 for chunk in chinese[:-1])


def test_a_number_is_not_torn_at_its_point() -> None:
    document = document_of("The value is 3.14159 and no other. " * 100)

    assert all(document.text[chunk.start : chunk.end].endswith("other.") for chunk in chunks_of(document))


def test_a_text_without_any_break_is_cut_all_the_same() -> None:
    assert len(chunks_of(document_of("x" * 5_000))) >= 5


PASSAGES = [
    "Refunds are paid within thirty days of a return.",
    "Shipping takes five days; tracking numbers are sent by mail.",
    "客户可以在收货后三十天内申请退款。",
    "发货需要五个工作日，物流单号会通过短信发送。",
    "猫",
]


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("when is a refund paid", 0),
        ("REFUNDED", 0),
        ("track my package", 1),
        ("怎样申请退款", 2),
        ("物流单号", 3),
        ("ｒｅｆｕｎｄ", 0),
        ("猫", 4),
    ],
)
def test_the_passage_that_shares_the_rarest_words_comes_first(query: str, best: int) -> None:
    assert ranked(query, [indexed(PASSAGES)], 3)[0][2] == best


def test_several_documents_are_ranked_as_one_collection() -> None:
    split, whole = [indexed(PASSAGES[:2]), indexed(PASSAGES[2:])], [indexed(PASSAGES)]

    assert [score for score, *_ in ranked("refund 退款 days", split, 5)] == pytest.approx([
        score for score, *_ in ranked("refund 退款 days", whole, 5)
    ])


@pytest.mark.parametrize("query", ["zebra", "!!!", "", "的了"])
def test_a_query_without_a_shared_word_finds_nothing(query: str) -> None:
    assert ranked(query, [indexed(PASSAGES)], 3) == []
    assert ranked(query, [], 3) == []
