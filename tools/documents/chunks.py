"""A document cut into passages of about a paragraph, each with its place, so that a hit can be quoted letter by letter. Knows no query."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tools.documents.parsing import Extracted

_TARGET: Final = 800.0
"""Weight of a passage: a letter weighs one; a Chinese character says as much as two and a half letters."""
_WIDE: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_WIDE_WEIGHT: Final = 2.5
_UNIT: Final = re.compile(r"(?:[^\n.!?。！？；]|[.!?](?!\s)){0,400}(?:\n+|[.!?]\s+|[。！？；]+[”’」』）]*|$|(?<=.))", re.DOTALL)
"""A sentence or a line with what follows it; what has neither is cut after 400 characters."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """``text[start:end]`` of a document, without blanks at its ends."""

    start: int
    end: int
    page: int | None


def chunks_of(document: Extracted) -> tuple[Chunk, ...]:
    """The passages, in order; none crosses a page."""
    has_pages = len(document.pages) > 1
    return tuple(
        Chunk(start, end, number if has_pages else None)
        for number, page in enumerate(document.pages, 1)
        for start, end in _passages(document.text, page.start, page.end)
    )


def _passages(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begun, weight, position = start, 0.0, start
    while position < end:
        match = _UNIT.match(text, position, end)
        stop = match.end() if match and match.end() > position else position + 1
        unit = _weight(text[position:stop])
        is_heading = text.startswith("#", position) and weight > _TARGET / 4
        if weight and (weight + unit > _TARGET or is_heading):
            yield from _trimmed(text, begun, position)
            begun, weight = position, 0.0
        weight += unit
        position = stop
    yield from _trimmed(text, begun, end)


def _weight(text: str) -> float:
    return len(text) + (_WIDE_WEIGHT - 1) * len(_WIDE.findall(text))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    passage = text[start:end]
    if body := passage.strip():
        offset = start + len(passage) - len(passage.lstrip())
        yield offset, offset + len(body)
