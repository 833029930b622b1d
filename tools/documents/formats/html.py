"""HTML with the standard library's parser: all visible text in its order, headings, lists and tables marked; nothing is fetched or run."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Final

from tools.confined.work import Done, Json
from tools.documents.formats.decoding import decoded
from tools.documents.formats.pages import Pages

_SKIPPED: Final = frozenset({"script", "style", "noscript", "template", "svg", "iframe", "object", "head"})
_VOID: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
_BLOCKS: Final = frozenset(
    {"p", "div", "section", "article", "header", "footer", "main", "nav", "aside", "ul", "ol", "table", "tr", "pre", "blockquote", "br", "hr"}
    | {"figure", "figcaption", "dl", "dt", "dd", "form", "fieldset"}
)
_HEADING: Final = re.compile(r"h[1-6]")
_HIDING: Final = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|(?:font-size|opacity)\s*:\s*0(?![.\d]*[1-9])", re.IGNORECASE)


def work(request: Json, parts: Sequence[bytes]) -> Done:
    """The visible text as one page."""
    text, encoding = decoded(parts[0])
    reader = VisibleText()
    reader.feed(text)
    reader.close()
    pages = Pages(request)
    if encoding not in {"utf-8", "utf-8-sig"}:
        pages.note(f"decoded as {encoding}")
    pages.add(reader.text())
    return pages.done("html", "the page has no visible text; it may be filled by JavaScript, so ask for a saved copy or a PDF")


class VisibleText(HTMLParser):
    """Collects what a reader would see; what is hidden from readers is hidden from the model too."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._open: list[str] = []
        self._hidden_from: int | None = None
        """Depth of the outermost hidden element."""

    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._parts).split("\n"))
        return "\n".join(lines)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self._open.append(tag)
        if self._hidden_from is not None:
            return
        if tag in _SKIPPED or (tag not in _VOID and _is_hidden(dict(attrs))):
            self._hidden_from = len(self._open)
        else:
            self._parts.append(_before(tag))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._open[-64:]:
            return
        while self._open.pop() != tag:
            pass
        if self._hidden_from is not None and len(self._open) < self._hidden_from:
            self._hidden_from = None
        elif self._hidden_from is None and (tag in _BLOCKS or _HEADING.fullmatch(tag)):
            self._parts.append("\n\n" if tag in {"p", "table", "ul", "ol"} or _HEADING.fullmatch(tag) else "\n")

    def handle_data(self, data: str) -> None:
        if self._hidden_from is None:
            self._parts.append(data if self._open[-1:] == ["pre"] else re.sub(r"\s+", " ", data))


def _before(tag: str) -> str:
    if _HEADING.fullmatch(tag):
        return f"\n\n{'#' * int(tag[1])} "
    if tag in {"td", "th"}:
        return " | "
    return "\n- " if tag == "li" else "\n" if tag in _BLOCKS else ""


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    return "hidden" in attributes or attributes.get("aria-hidden") == "true" or bool(_HIDING.search(attributes.get("style") or ""))
