"""Removes repeated rows and rows that overlap a benchmark that is scored: exact after normalisation, then 13-grams (characters in Chinese)."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from router.training.rows import Row

GRAM: Final = 13
_OPTION_LETTER: Final = re.compile(r"^\s*\(?[a-j][.):]\s*|\banswer:\s*$", re.MULTILINE)
_SPACES: Final = re.compile(r"\s+")
_CHINESE: Final = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Deduped:
    """What is left, and what went."""

    rows: Sequence[Row]
    repeated: int
    overlapping: int


def dedupe(rows: Iterable[Row], scored: Iterable[str], exempt: frozenset[str] = frozenset()) -> Deduped:
    """Keep each prompt once and none that shares a 13-gram with a scored prompt, but for those of the ``exempt`` sources."""
    forbidden: set[str] = set()
    for text in scored:
        plain = normalise(text)
        forbidden.add(plain)
        forbidden.update(_grams(plain))
    seen: set[str] = set()
    kept: list[Row] = []
    repeated = overlapping = 0
    for row in rows:
        plain = normalise(row.text)
        if plain in seen:
            repeated += 1
        elif row.source not in exempt and (plain in forbidden or any(gram in forbidden for gram in _grams(plain))):
            overlapping += 1
        else:
            kept.append(row)
        seen.add(plain)
    return Deduped(kept, repeated, overlapping)


def normalise(text: str) -> str:
    """NFKC, lower case, no option letters, single spaces."""
    return _SPACES.sub(" ", _OPTION_LETTER.sub("", unicodedata.normalize("NFKC", text).lower())).strip()


def _grams(plain: str) -> Iterator[str]:
    """The 13-grams of a normalised text."""
    if _CHINESE.search(plain):
        units: Sequence[str] = plain.replace(" ", "")
        separator = ""
    else:
        units, separator = plain.split(), " "
    return (separator.join(units[start : start + GRAM]) for start in range(len(units) - GRAM + 1))
