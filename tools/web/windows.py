"""A part of a page's text that a model can take: from a place on, or the passages about something. Pure; knows no page and no network."""

import json
from dataclasses import dataclass
from typing import Final

from tandem.tokens import text_tokens
from tools.documents.chunks import Chunk, chunks_of
from tools.documents.index import indexed, ranked
from tools.documents.parsing import Extracted, Page

_SEAMS: Final = ("\n\n", "\n", "。", ". ", " ")
_LEAST_SHARE: Final = 0.7
"""Of a window, which a seam must leave."""
MOST_PASSAGES: Final = 6


@dataclass(frozen=True, slots=True)
class Window:
    """``text[start:end]``."""

    start: int
    end: int


def window(text: str, start: int, max_chars: int, max_tokens: int) -> Window:
    """What fits from ``start`` on, ended between paragraphs, lines, sentences or words where one of them ends late enough."""
    end = start + _fitting(text[start : start + max_chars], max_tokens)
    if end < len(text):
        least = start + int((end - start) * _LEAST_SHARE)
        end = next((place + len(seam) for seam in _SEAMS if (place := text.rfind(seam, least, end)) >= 0), end)
    return Window(start, end)


def passages_about(text: str, sought: str, max_chars: int, max_tokens: int) -> list[Window]:
    """The passages that share the most telling words with what is sought and fit together, in the order of the text."""
    chunks = chunks_of(Extracted("text", text, (Page(0, len(text)),)))
    best = ranked(sought, [indexed(text[chunk.start : chunk.end] for chunk in chunks)], MOST_PASSAGES)
    chosen: list[Chunk] = []
    for _, _, number in best:
        together = [*chosen, chunks[number]]
        shown = "\n".join(text[chunk.start : chunk.end] for chunk in together)
        if len(shown) <= max_chars and _tokens(shown) <= max_tokens:
            chosen = together
    if best and not chosen:
        # One passage that is longer than the window.
        first = chunks[best[0][2]]
        return [window(text[: first.end], first.start, max_chars, max_tokens)]
    return [Window(chunk.start, chunk.end) for chunk in sorted(chosen, key=lambda chunk: chunk.start)]


def _fitting(text: str, max_tokens: int) -> int:
    """How many characters from the beginning fit."""
    length = len(text)
    while length and (tokens := _tokens(text[:length])) > max_tokens:
        length = min(length - 1, int(length * max_tokens / tokens))
    return length


def _tokens(text: str) -> int:
    """As the text is sent: line feeds and quotes are escaped there."""
    return text_tokens(json.dumps(text, ensure_ascii=False))
