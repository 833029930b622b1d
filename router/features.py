"""Text to features: hashed character n-grams and word pairs, and a short vector of named, bilingual dense features in 0..1.

Order and ranges of the dense features are ``DENSE_NAMES``; a change of order, meaning or hashing needs a new ``FEATURES_VERSION`` and a new artefact.
All work per n-gram is vectorised. Knows nothing of weights, lanes or policies.
"""

import re
from dataclasses import dataclass
from math import log10
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.ask import OPTIONS
from router.lexicon import LEXICONS, lexical_features
from router.text import Text, code_points

Buckets: TypeAlias = NDArray[np.uint16]
Dense: TypeAlias = NDArray[np.float32]

FEATURES_VERSION: Final = 2
BUCKETS: Final = 1 << 16
NGRAM_SIZES: Final = (2, 3, 4, 5)

_SHAPE_NAMES: Final = (
    "length",  # log10(1 + characters of the ask) / 5
    "lines",  # log10(lines of the ask) / 2
    "carried",  # log10(1 + characters that came along with the ask) / 5
    "fenced_code",  # log10(1 + lines of fenced program text) / 2
    "chinese",  # share of Chinese among the view's characters
    "digits",  # share of digits, times 4
    "operators",  # arithmetic and comparison signs, 8 is 1
    "numbers",  # separate numbers, 8 is 1
    "word_problem",  # numbers (6 is 1) if the text also asks for a quantity
    "question_marks",  # 4 is 1
    "ends_with_question",  # 0 or 1
    "code",  # signs of program text: fences, indented blocks, brackets; 3 is 1
    "formulas",  # LaTeX and equations; 2 is 1
    "enumeration",  # lines that are list items, 5 is 1
    "choices",  # options A to D, 4 is 1
    "exam",  # three options or more: 0 or 1
    "addresses",  # URLs and file names, 2 is 1
    "output_size",  # a requested number of words, pages, paragraphs: 0 or 1
    "date_range",  # two years, or a year and "until today": 0 or 1
    "clauses",  # commas, semicolons and their kin, 12 is 1
    "sentences",  # 8 is 1
    "brief",  # 1 for an empty text, falling to 0 at 40 characters (20 in Chinese)
    "long_words",  # mean length of the words above 3 letters, 6 more is 1
)
DENSE_NAMES: Final = (*_SHAPE_NAMES, *LEXICONS)
"""Names of the dense features, in order; each in 0..1. The lexicons' are hits over their cap."""

# Every pattern is linear in the text: repetitions are bounded or cannot start again inside themselves.
_NUMBER: Final = re.compile(r"\d+(?:[.,:/]\d+)*")
_OPERATOR: Final = re.compile(r"[+*/=^<>×÷√∑∫≤≥≠%±]|(?<=\d)\s?-\s?(?=\d)")
_CODE: Final = re.compile(
    r"```|\bdef \w+\(|\bclass \w+[:(]|\bimport \w+|\breturn\b|[{};]\n|(?<=\w)\(\w{0,40}\)|=>|->|</\w+>|#include|\bselect\b.{1,80}\bfrom\b"
)
_FORMULA: Final = re.compile(r"\\[a-z]+|\$[^$\n]{1,80}\$|[a-z]\^|\b[a-z]\([a-z]\)|\b[a-z]\s?=\s?[\d(a-z]")
_ITEM: Final = re.compile(r"^[ \t]{0,12}(?:[-*•]|\(?\d{1,2}[.)、]|[一二三四五六七八九十]、)[ \t]*\S", re.MULTILINE)
_ADDRESS: Final = re.compile(r"https?://|www\.|\b\w+\.(?:pdf|csv|txt|py|js|json|xlsx?|docx?|md|html?|png|jpg)\b")
_OUTPUT_SIZE: Final = re.compile(r"\d[ -]?(?:words?|pages?|paragraphs?|sections?|slides|字|页|段|章)|[一二三四五六七八九十百千万][字页]")
_YEAR: Final = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_CLAUSE: Final = re.compile(r"[,;:，；：、]")
_SENTENCE_END: Final = re.compile(r"[.!?。！？]+(?:\s|$|(?<=[。！？]))")

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: spreads neighbouring values
_STEP: Final = np.uint64(0x100000001B3)  # FNV's prime
_SHIFT: Final = np.uint64(48)  # keeps the top 16 bits
_WORD_CHARS: Final = 32
"""A longer word is hashed modulo the positions, which is good enough."""
_PLACE_VALUES: Final = np.power(_STEP, np.arange(_WORD_CHARS, dtype=np.uint64))  # wraps around modulo 2**64, as hashes do


@dataclass(frozen=True, slots=True)
class Features:
    """One message as the classifier sees it."""

    buckets: Buckets
    """Distinct hash buckets that are set, ascending (n,)."""
    dense: Dense
    """(len(DENSE_NAMES),)"""


def extract(text: Text) -> Features:
    """All features of a prepared text."""
    return Features(buckets=hashed_features(text), dense=dense_features(text))


def hashed_features(text: Text) -> Buckets:
    """Buckets of the character n-grams that do not span words, and of the pairs of words; digits count as one digit."""
    codes = _fold_digits(text.codes)
    hashes = [*_ngram_hashes(codes), _word_pair_hashes(_fold_digits(code_points(text.words)))]
    mixed = np.concatenate(hashes) * _MULTIPLIER
    return np.unique((mixed >> _SHIFT).astype(np.uint16))


def dense_features(text: Text) -> Dense:
    """The named features, in the order of ``DENSE_NAMES``."""
    tokens = frozenset(text.words.split())
    lexical = lexical_features(text.words, text.compact, has_chinese=text.zh_chars > 0)
    asks_quantity = lexical[_QUANTITY_QUESTION]
    values = [*_size_features(text, tokens), *_content_features(text, asks_quantity)]
    ordered = dict(values)
    return np.array([*(ordered[name] for name in _SHAPE_NAMES), *lexical], dtype=np.float32)


_QUANTITY_QUESTION: Final = tuple(LEXICONS).index("quantity_question")


def _size_features(text: Text, tokens: frozenset[str]) -> list[tuple[str, float]]:
    """How long, in which script, how broken up."""
    brief_chars = 20 if text.language == "zh" else 40
    size = max(len(text.compact) - 2, 1)
    digits = int(np.count_nonzero((text.codes >= 48) & (text.codes <= 57)))
    long_words = [len(token) for token in tokens if len(token) > 3 and token.isascii()]
    return [
        ("length", min(log10(1 + text.chars) / 5, 1.0)),
        ("lines", min(log10(text.lines) / 2, 1.0)),
        ("carried", min(log10(1 + text.carried) / 5, 1.0)),
        ("fenced_code", min(log10(1 + text.code_lines) / 2, 1.0)),
        ("chinese", min(text.zh_chars / size, 1.0)),
        ("digits", min(4 * digits / size, 1.0)),
        ("question_marks", _capped(text.view.count("?"), 4)),
        ("ends_with_question", float(text.compact.endswith("? "))),
        ("clauses", _capped(len(_CLAUSE.findall(text.view)), 12)),
        ("sentences", _capped(len(_SENTENCE_END.findall(text.view)), 8)),
        ("brief", max(0.0, 1 - text.chars / brief_chars)),
        ("long_words", min((sum(long_words) / len(long_words) - 3) / 6, 1.0) if long_words else 0.0),
    ]


def _content_features(text: Text, asks_quantity: float) -> list[tuple[str, float]]:
    """What stands in it: numbers, code, formulas, lists."""
    view = text.view
    numbers = len(_NUMBER.findall(view))
    years = len(set(_YEAR.findall(view)))
    until_today = "至今" in view or "to date" in view or "present" in view
    return [
        ("operators", _capped(len(_OPERATOR.findall(view)), 8)),
        ("numbers", _capped(numbers, 8)),
        ("word_problem", _capped(numbers, 6) * asks_quantity),
        ("code", _capped(len(_CODE.findall(view)), 3)),
        ("formulas", _capped(len(_FORMULA.findall(view)), 2)),
        ("enumeration", _capped(len(_ITEM.findall(view)), 5)),
        ("choices", _capped(text.options, 4)),
        ("exam", float(text.options >= OPTIONS)),
        ("addresses", _capped(len(_ADDRESS.findall(view)), 2)),
        ("output_size", float(_OUTPUT_SIZE.search(view) is not None)),
        ("date_range", float(years >= 2 or (years == 1 and until_today))),
    ]


def _capped(count: int, cap: int) -> float:
    return min(count / cap, 1.0)


def _fold_digits(codes: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Every digit becomes 0: which number it is says nothing about difficulty."""
    return np.where((codes >= 48) & (codes <= 57), 48, codes).astype(np.uint64)


def _ngram_hashes(codes: NDArray[np.uint64]) -> list[NDArray[np.uint64]]:
    """Rolling hashes of the windows of each size that hold no space inside. One (windows,) array per size."""
    spaces = np.cumsum(codes == 32)  # (chars,)
    hashes = codes
    found: list[NDArray[np.uint64]] = []
    for size in range(2, max(NGRAM_SIZES) + 1):
        windows = len(codes) - size + 1
        if windows <= 0:
            break
        hashes = hashes[:windows] * _STEP + codes[size - 1 :]
        is_inside = spaces[size - 2 : size - 2 + windows] == spaces[:windows]
        found.append(hashes[is_inside] + np.uint64(size))
    return found


def _word_pair_hashes(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hashes of neighbouring words; the text starts and ends with a space (max(words - 1, 0),)."""
    is_space = codes == 32
    starts: NDArray[np.int64] = np.flatnonzero(is_space[:-1] & ~is_space[1:]) + 1  # (words,)
    if len(starts) < 2:
        return np.zeros(0, dtype=np.uint64)
    word_of_char = np.cumsum(is_space)[starts[0] :] - 1
    start_of_char = starts[np.minimum(word_of_char, len(starts) - 1)]
    place: NDArray[np.int64] = np.arange(starts[0], len(codes), dtype=np.int64) - start_of_char
    values = np.where(is_space, 0, codes)[starts[0] :] * _PLACE_VALUES[place % _WORD_CHARS]
    words = np.add.reduceat(values, starts - starts[0])
    return words[:-1] * _MULTIPLIER + words[1:]
