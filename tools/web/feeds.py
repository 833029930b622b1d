"""RSS and Atom as Markdown, other XML as it is. Runs in the child.

Entities are not resolved, no document type is loaded and nothing is fetched; libxml2 itself bounds depth and growth.
"""

import html
import re
from collections.abc import Iterator
from typing import Final, cast

from lxml.etree import XMLParser, fromstring  # pyright: ignore[reportUnknownVariableType] - lxml has no types

from tools.web.addresses import plain_url
from tools.web.markdown import plain_line
from tools.web.tree import Element

_MOST_ITEMS: Final = 100
_SUMMARY_CHARS: Final = 400
_MARKUP: Final = re.compile(r"<[^<>]{0,1000}>")


def feed_of(text: str, url: str) -> tuple[str, str, list[tuple[str, str]]] | None:
    """Title, Markdown and links of a feed; None for other XML, whole or broken."""
    parser = cast("object", XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=True))
    root = cast("Element | None", fromstring(text.encode(), parser))
    if root is None or _name(root) not in {"rss", "feed", "RDF"}:
        return None
    title = next((_words(child) for each in (root, *root) for child in each if _name(child) == "title"), "")
    items = [item for item in root.iter() if _name(item) in {"item", "entry"}][:_MOST_ITEMS]
    links: list[tuple[str, str]] = []
    parts: list[str] = []
    for item in items:
        name, link = _child(item, "title"), _link(item, url)
        date = _child(item, "pubDate", "published", "updated", "date")
        summary = _child(item, "description", "summary", "content", "encoded")[:_SUMMARY_CHARS]
        parts.append("\n".join(line for line in (f"## {name or link or '?'}", link, date, summary) if line))
        if link:
            links.append((name, link))
    return title, "\n\n".join(parts), links


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _children(item: Element, name: str) -> Iterator[Element]:
    return (child for child in item if _name(child) == name)


def _child(item: Element, *names: str) -> str:
    return next((words for name in names for child in _children(item, name) if (words := _words(child))), "")


def _words(element: Element) -> str:
    # Of an entity, which is not resolved, the text would be its name.
    inner = "".join(
        part for each in element.iter() for part in (each.text if isinstance(each.tag, str) else "", "" if each is element else each.tail) if part
    )
    return plain_line(html.unescape(_MARKUP.sub(" ", html.unescape(inner))))


def _link(item: Element, url: str) -> str:
    for child in _children(item, "link"):
        if child.get("rel") in {None, "alternate"} and (link := plain_url((child.get("href") or child.text or "").strip(), url)):
            return link
    return ""
