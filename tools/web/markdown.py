"""A page's visible body as Markdown, whole: headings, paragraphs, lists, tables and code. Runs in the child.

For pages too small, or built too unusually, for an extractor of articles. Knows nothing of what matters on a page.
"""

import re
from collections.abc import Iterator
from typing import Final

from tools.web.tree import Element

_HEADINGS: Final = {f"h{level}": "#" * level for level in range(1, 7)}
_BLOCKS: Final = frozenset({
    "address", "article", "aside", "body", "blockquote", "caption", "center", "dd", "details", "dialog", "div", "dl", "dt", "fieldset", "figcaption",
    "figure", "footer", "form", "header", "hgroup", "hr", "legend", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "ul",
    *_HEADINGS,
})  # fmt: skip
_FURNITURE: Final = frozenset({"nav", "footer"})
_SKIPPED: Final = frozenset({"head", "title", "button"})
_MAX_DEPTH: Final = 200
_BLANK_LINES: Final = re.compile(r"\n{3,}")
_SPACES: Final = re.compile(r"[ \t\r\f\v\n\u00a0]+")


def markdown_of(tree: Element) -> str:
    """All visible text in reading order, but for navigation and footers; with them where nothing else is there."""
    body = tree.find(".//body")
    root = tree if body is None else body
    return _joined(_blocks(root, 0, is_whole=False)) or _joined(_blocks(root, 0, is_whole=True))


def is_furniture(element: Element) -> bool:
    """Whether it is navigation or a footer."""
    return element.tag in _FURNITURE or element.get("role") in {"navigation", "contentinfo"}


def tidied(text: str) -> str:
    """No trailing spaces, at most one blank line in a row."""
    return _BLANK_LINES.sub("\n\n", "\n".join(line.rstrip() for line in text.splitlines())).strip()


def plain_line(text: str) -> str:
    """White space joined to single spaces."""
    return _SPACES.sub(" ", text).strip()


def _joined(blocks: Iterator[str]) -> str:
    return tidied("\n\n".join(blocks))


def _blocks(element: Element, depth: int, *, is_whole: bool) -> Iterator[str]:
    """The element's blocks; text between block elements is a block of its own."""
    line: list[str] = [element.text or ""]
    for child in element:
        if _is_block(child, depth):
            yield from _flushed(line)
            yield from _block(child, depth + 1, is_whole=is_whole)
        elif isinstance(child.tag, str) and child.tag not in _SKIPPED:
            line.append(_inline(child))
        line.append(child.tail or "")
    yield from _flushed(line)


def _is_block(element: Element, depth: int) -> bool:
    """Also an inline element that holds blocks, such as a link around a card."""
    if not isinstance(element.tag, str) or depth >= _MAX_DEPTH:
        return False
    return element.tag in _BLOCKS or any(isinstance(inner.tag, str) and inner.tag in _BLOCKS for inner in element)


def _flushed(line: list[str]) -> Iterator[str]:
    lines = [plain_line(part) for part in "".join(line).split("\v")]
    line.clear()
    if text := "\n".join(part for part in lines if part):
        yield text


def _inline(element: Element) -> str:
    if element.tag == "br":
        # Kept apart from the line feeds of the source, which mean nothing.
        return "\v"
    text = element.text_content()
    return f"`{text.strip()}`" if element.tag in {"code", "kbd", "samp"} and text.strip() else text


def _block(element: Element, depth: int, *, is_whole: bool) -> Iterator[str]:
    tag = str(element.tag)
    if tag == "hr" or (not is_whole and is_furniture(element)):
        return
    if tag in {"ul", "ol"}:
        yield from _list(element, depth, is_whole=is_whole)
    elif tag == "table":
        yield from _table(element, depth, is_whole=is_whole)
    elif tag in _HEADINGS or tag == "pre":
        yield from _verbatim(element, tag)
    elif tag == "blockquote":
        if text := _joined(_blocks(element, depth, is_whole=is_whole)):
            yield _indented(text, "> ", "> ")
    else:
        yield from _blocks(element, depth, is_whole=is_whole)


def _verbatim(element: Element, tag: str) -> Iterator[str]:
    text = element.text_content()
    if tag == "pre" and text.strip():
        code = text.strip("\n")
        yield f"```\n{code}\n```"
    elif tag != "pre" and (heading := plain_line(text)):
        yield f"{_HEADINGS[tag]} {heading}"


def _list(element: Element, depth: int, *, is_whole: bool) -> Iterator[str]:
    items: list[str] = []
    for child in element:
        if isinstance(child.tag, str) and (text := _joined(_blocks(child, depth + 1, is_whole=is_whole))):
            mark = f"{len(items) + 1}. " if element.tag == "ol" else "- "
            items.append(_indented(text.replace("\n\n", "\n"), mark, " " * len(mark)))
    if items:
        yield "\n".join(items)


def _table(element: Element, depth: int, *, is_whole: bool) -> Iterator[str]:
    """Rows between pipes; a table that holds another one lays a page out, and is read through instead."""
    if sum(1 for _ in element.iter("table")) > 1:
        for cell in element.iter("td", "th"):
            if not any(True for _ in cell.iter("table")):
                yield from _blocks(cell, depth + 1, is_whole=is_whole)
        return
    caption = element.find("caption")
    if caption is not None and (text := plain_line(caption.text_content())):
        yield text
    rows = [[_cell(cell) for cell in row if cell.tag in {"td", "th"}] for row in element.iter("tr")]
    rows = [row for row in rows if any(row)]
    if not rows:
        return
    width = max(len(row) for row in rows)
    lines = [f"| {' | '.join(row + [''] * (width - len(row)))} |" for row in rows]
    yield "\n".join([lines[0], f"|{'---|' * width}", *lines[1:]])


def _cell(cell: Element) -> str:
    return plain_line(" ".join(_blocks(cell, 0, is_whole=True))).replace("|", "\\|")


def _indented(text: str, first: str, others: str) -> str:
    return "\n".join(f"{others if number else first}{line}" for number, line in enumerate(text.split("\n")))
