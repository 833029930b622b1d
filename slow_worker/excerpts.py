"""The part of a text that is worth its room in a prompt: the paragraphs that share the most telling words with the task. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from tandem.tokens import text_tokens
from tools.documents.index import indexed, ranked

_GAP: Final = "…"
_WHOLE_SHARE: Final = 0.8
"""Of the room, which a paragraph may take to be kept whole."""
_PARAGRAPH: Final = re.compile(r"\n+")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")


def excerpt(text: str, sought: str, tokens: int) -> str:
    """The text if it takes at most so many tokens, else its parts about what is sought, in their order, with gaps marked."""
    if text_tokens(text) <= tokens:
        return text
    parts = [part for paragraph in _PARAGRAPH.split(text) for part in _parts(paragraph, tokens) if part.strip()]
    left, chosen = tokens - 2, set[int]()
    for _, _, number in ranked(sought, [indexed(parts)], len(parts)):
        cost = text_tokens(parts[number]) + 2
        if cost <= left:
            chosen.add(number)
            left -= cost
    return _joined(parts, chosen) if chosen else beginning(text, tokens)


def beginning(text: str, tokens: int) -> str:
    """As much of a text from its start as takes at most so many tokens, marked where it was cut."""
    if text_tokens(text) <= tokens:
        return text
    kept = text
    while kept and (taken := text_tokens(kept)) > max(1, tokens - 2):
        kept = kept[: min(len(kept) - 1, int(len(kept) * max(1, tokens - 2) / taken))]
    return f"{kept} {_GAP}"


def shared_out(sizes: Sequence[int], room: int) -> list[int]:
    """How much of a room each of several sizes gets: small ones whole, the others in equal shares."""
    shares = [0] * len(sizes)
    left = room
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    for place, number in enumerate(order):
        shares[number] = min(sizes[number], max(0, left) // (len(order) - place))
        left -= shares[number]
    return shares


def _parts(paragraph: str, tokens: int) -> list[str]:
    """A paragraph that cannot be shown whole is looked at sentence by sentence."""
    return [paragraph] if text_tokens(paragraph) <= tokens * _WHOLE_SHARE else [part for part in _SENTENCE.split(paragraph) if part]


def _joined(parts: Sequence[str], chosen: set[int]) -> str:
    lines: list[str] = []
    for number, part in enumerate(parts):
        if number in chosen:
            lines.append(part)
        elif not lines or lines[-1] != _GAP:
            lines.append(_GAP)
    return "\n".join(lines)
