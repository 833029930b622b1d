"""A page's bytes as Markdown: what runs in the child. Reads HTML, plain text, JSON, XML and feeds; opens and fetches nothing.

The article of a large page is found by trafilatura; a small page, and one it makes little of, is rendered whole. What a reader would not see is taken
out before (``hidden.py``). Not covered: whatever JavaScript would have added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

import trafilatura
from trafilatura.settings import Document

from tools.confined.work import Done, Json, WorkRefused
from tools.web.addresses import distinct, plain_url
from tools.web.charset import decoded
from tools.web.feeds import feed_of
from tools.web.hidden import drop_hidden, visible_text
from tools.web.markdown import is_furniture, markdown_of, plain_line, tidied
from tools.web.tree import Element

MAX_TEXT_CHARS: Final = 400_000
MAX_LINKS: Final = 100
_MAX_LABEL_CHARS: Final = 80
_MAX_TITLE_CHARS: Final = 200
_WHOLE_CHARS: Final = 4_000
"""Up to here a page is shown whole: an extractor of articles loses tables and code of what is no article."""
_MOST_FOR_ARTICLE: Final = 250_000
"""Characters of text; beyond, an extractor takes longer than anybody waits, and the text is cut anyway."""
_MOST_ELEMENTS: Final = 20_000
"""The same in elements, each of which costs it 60 microseconds; a long article of an encyclopedia has 10,000."""
_MOST_ANCHORS: Final = 5_000
_LEAST_SHARE: Final = 0.2
"""Of the visible text; an extraction below has missed what the page is about, unless it is long by itself."""
_LEAST_CHARS: Final = 20
_CONTROLS: Final = frozenset(chr(code) for code in (*range(9), 11, *range(14, 32)))
_MOST_CONTROLS: Final = 0.02


@dataclass(frozen=True, slots=True)
class PageText:
    """What is to be read on a page."""

    text: str
    title: str = ""
    author: str = ""
    date: str = ""
    links: Sequence[tuple[str, str]] = ()
    """Label and address, in order."""


def prime() -> None:
    """Read pages of our own, so that what the libraries load at their first use is there before a child is born."""
    words = "<p>Words of a page that is long enough to be taken for an article.</p>" * 100
    pages = (
        ("html", f"<html><head><title>T</title></head><body><article>{words}<a href='/a?utm_source=x'>A</a></article></body></html>".encode()),
        # Without a charset, and in none of the usual ones: the guess is loaded as well.
        ("html", "<title>T</title><h1>T</h1><p>Слова страницы, которая достаточно длинна для чтения.</p>".encode("cp1251")),
        ("xml", b"<rss><channel><item><title>T</title><link>/a</link></item></channel></rss>"),
    )
    for kind, body in pages:
        work({"kind": kind, "charset": None, "url": "https://x.example/"}, [body])


def work(request: Json, parts: Sequence[bytes]) -> Done:
    """``kind`` (html, text, json, xml), ``charset`` and ``url`` of the request, and the body; gives the text as the part."""
    text = decoded(parts[0], cast("str | None", request["charset"]))
    if _is_binary(text):
        raise WorkRefused("unsupported_content", "the server says that this is text, but it is not; look for another page with the same content")
    page = _read(str(request["kind"]), text, str(request["url"]))
    shown = tidied(visible_text(page.text))
    answer = {
        "title": visible_text(plain_line(page.title))[:_MAX_TITLE_CHARS],
        "author": visible_text(plain_line(page.author))[:_MAX_TITLE_CHARS],
        "date": page.date[:40],
        "links": [[visible_text(label), url] for label, url in page.links],
        "is_cut": len(shown) > MAX_TEXT_CHARS,
    }
    return Done(answer, shown[:MAX_TEXT_CHARS].encode("utf-8", "replace"))


def _read(kind: str, text: str, url: str) -> PageText:
    if kind == "html":
        return read_html(text, url)
    if kind == "xml" and (feed := feed_of(text, url)) is not None:
        title, shown, links = feed
        return PageText(shown, title, links=links[:MAX_LINKS])
    if not text.strip():
        raise WorkRefused("empty_page", "the page is empty; look for another one")
    return PageText(text)


def read_html(source: str, url: str) -> PageText:
    """Raises ``WorkRefused`` for a page on which nothing is to be read, saying what it may be."""
    # A lone element is no document for trafilatura.
    loaded = trafilatura.load_html(source)
    if loaded is None and source.strip():
        loaded = trafilatura.load_html(f"<html><body>{source}</body></html>")
    if loaded is None:
        raise WorkRefused("empty_page", "the page holds no HTML that can be read; look for another one")
    tree = cast("Element", loaded)
    suspicion = _suspicion(tree)
    # Before the scripts go, which name author and date.
    is_huge = sum(1 for _ in tree.iter()) > _MOST_ELEMENTS
    facts = None if is_huge else trafilatura.extract_metadata(loaded, url, {"extensive_search": False, "original_date": True}, True)
    drop_hidden(tree)
    text = _main_text(tree, is_huge=is_huge)
    if len(text) < _LEAST_CHARS and (suspicion or not text):
        raise WorkRefused(
            "empty_page", f"there is nothing to read on this page: {suspicion or 'it is empty'}; look for another page with the content"
        )
    links = _links(tree, url)
    return (
        PageText(text, _title(tree, facts), facts.author or "", facts.date or "", links) if facts else PageText(text, _title(tree, None), links=links)
    )


def _main_text(tree: Element, *, is_huge: bool) -> str:
    whole = markdown_of(tree)
    if is_huge or not _WHOLE_CHARS < len(whole) <= _MOST_FOR_ARTICLE:
        return whole
    article = trafilatura.extract(cast("Any", tree), output_format="markdown", fast=True, include_comments=False, include_tables=True) or ""
    return whole if len(article) < min(_WHOLE_CHARS, _LEAST_SHARE * len(whole)) else article


def _suspicion(tree: Element) -> str:
    """Why a page may look empty, for the error."""
    if any((field.get("type") or "").lower() == "password" for field in tree.iter("input")):
        return "it asks for a login, which this tool has not"
    if any(True for _ in tree.iter("script")):
        return "it is probably built by JavaScript, which is not run here"
    if any(True for _ in tree.iter("frame", "iframe")):
        return "it only frames other pages"
    return ""


def _title(tree: Element, facts: Document | None) -> str:
    named = tree.find(".//title")
    return (facts.title if facts else None) or (named.text_content() if named is not None else "")


def _links(tree: Element, url: str) -> list[tuple[str, str]]:
    """Those of the content first, then those of navigation and footer; each page once."""
    base = next((joined for each in tree.iter("base") if (joined := plain_url(each.get("href") or "", url))), url)
    content: dict[str, str] = {}
    furniture: dict[str, str] = {}
    for anchor in islice(tree.iter("a", "area"), _MOST_ANCHORS):
        kept = furniture if any(is_furniture(each) for each in anchor.iterancestors()) else content
        href = (anchor.get("href") or "").strip()
        # Twice as many, for some of them are the same page.
        if len(kept) < 2 * MAX_LINKS and href and not href.startswith("#") and (link := plain_url(href, base)) not in {None, url}:
            kept.setdefault(str(link), plain_line(anchor.text_content())[:_MAX_LABEL_CHARS])
    labels = {**furniture, **content}
    return [(labels[link], link) for link in distinct([*content, *furniture])[:MAX_LINKS]]


def _is_binary(text: str) -> bool:
    sample = text[:20_000]
    return sum(character in _CONTROLS for character in sample) > _MOST_CONTROLS * len(sample)
