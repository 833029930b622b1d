"""Ranking of passages by their words: Okapi BM25 over any number of documents, each indexed once. Pure; knows no file and no tool.

English words are cut to a rough stem; Chinese, Japanese and Korean have no spaces, so their pairs of neighbouring characters stand for words.
Own code, for the libraries bring NumPy or a tokeniser that knows no Chinese, and this is all there is to it.
"""

import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_K1: Final = 1.2
_B: Final = 0.75
"""The usual values (Robertson and Zaragoza 2009)."""
_WIDE: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD: Final = re.compile(f"[0-9a-z]+|[{_WIDE}]+|[^\\W_0-9a-z{_WIDE}]+")
_ENDINGS: Final = (("ies", "y", 4), ("sses", "ss", 5), ("ing", "", 6), ("edly", "", 7), ("ed", "", 5), ("ly", "", 5), ("s", "", 4), ("e", "", 4))
"""Ending, what stands for it, and the shortest word that loses it."""


@dataclass(frozen=True, slots=True)
class WordIndex:
    """The words of one document's passages."""

    lengths: Sequence[int]
    """Words per passage."""
    postings: dict[str, "array[int]"]
    """Word to passage, count, passage, count, ..."""


def indexed(passages: Iterable[str]) -> WordIndex:
    """Index the passages of a document."""
    lengths: list[int] = []
    postings: dict[str, array[int]] = {}
    known: dict[str, Sequence[str]] = {}
    for number, passage in enumerate(passages):
        counts = Counter(_terms(passage, known))
        # A character that stands in a pair counts with the pair.
        lengths.append(sum(count for term, count in counts.items() if len(term) > 1 or term.isascii()))
        for term, count in counts.items():
            postings.setdefault(term, array("I")).extend((number, count))
    return WordIndex(lengths, postings)


def ranked(query: str, indexes: Sequence[WordIndex], count: int) -> list[tuple[float, int, int]]:
    """The best passages: score, number of the document, number of the passage; only those that share a word with the query."""
    passages = sum(len(index.lengths) for index in indexes)
    mean = sum(sum(index.lengths) for index in indexes) / passages if passages else 1.0
    scores: Counter[tuple[int, int]] = Counter()
    for term in dict.fromkeys(_query_terms(query)):
        held = [(document, index.postings[term]) for document, index in enumerate(indexes) if term in index.postings]
        frequency = sum(len(postings) // 2 for _, postings in held)
        weight = math.log(1 + (passages - frequency + 0.5) / (frequency + 0.5))
        for document, postings in held:
            lengths = indexes[document].lengths
            for passage, times in zip(postings[::2], postings[1::2], strict=True):
                norm = _K1 * (1 - _B + _B * lengths[passage] / max(mean, 1.0))
                scores[document, passage] += weight * times * (_K1 + 1) / (times + norm)  # pyright: ignore[reportArgumentType] - a counter of floats
    best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:count]
    return [(float(score), document, passage) for (document, passage), score in best]


def _terms(text: str, known: dict[str, Sequence[str]]) -> Iterator[str]:
    """The words of a passage as they are indexed; ``known`` spares the same word a second look."""
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        terms = known.get(word)
        if terms is None:
            terms = known[word] = (*word, *_pairs(word)) if _is_wide(word) else (_stem(word),)
        yield from terms


def _query_terms(text: str) -> Iterator[str]:
    """Of a query, single characters count only where they stand alone: "的" of a phrase would find everything."""
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        if _is_wide(word) and len(word) > 1:
            yield from _pairs(word)
        else:
            yield word if _is_wide(word) else _stem(word)


def _is_wide(word: str) -> bool:
    return "\u3040" <= word[0] <= "\ud7af"


def _pairs(word: str) -> Iterator[str]:
    return (word[at : at + 2] for at in range(len(word) - 1))


def _stem(word: str) -> str:
    if not word.isascii() or not word.isalpha():
        return word
    for ending, instead, shortest in _ENDINGS:
        if len(word) >= shortest and word.endswith(ending) and not word.endswith(("ss", "us", "is")):
            return _stem(word[: -len(ending)] + instead) if ending == "s" else word[: -len(ending)] + instead
    return word
