"""What the router reads of a message: a normalised view of the ask's head and tail, its words, and its language.

Knows nothing of features or lanes. Cost is bounded: only ``HEAD_CHARS + TAIL_CHARS`` characters of the ask are normalised.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.ask import human_ask

Codes: TypeAlias = NDArray[np.uint32]
Language: TypeAlias = Literal["en", "zh", "other"]

HEAD_CHARS: Final = 600
TAIL_CHARS: Final = 300
"""What a long ask wants stands at its start or its end (notes/routing, section 8)."""
VIEW_CHARS: Final = 2_000
"""NFKC can lengthen a text up to eighteenfold; the view is cut again."""
ZH_SHARE: Final = 0.2
"""Share of Chinese among letters from which a text counts as Chinese: one Chinese character says about as much as four Latin ones."""

KEPT: Final = 4
"""The newest texts are kept, because policy, classifier and conversation each read the same message."""

_SPACES: Final = re.compile(r"\s+")
_NOT_WORD: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Text:
    """One message, prepared once for all features."""

    chars: int
    """Length of the ask."""
    lines: int
    """Lines of the ask."""
    carried: int
    """Characters of the message that are not the ask: harness text, quotations, pasted material."""
    code_lines: int
    """Lines of fenced program text."""
    options: int
    """Distinct letters of answer options."""
    view: str
    """Head and tail, NFKC, lower case, line breaks kept."""
    compact: str
    """The view with single spaces, one at either end."""
    words: str
    """The view's letters and digits, everything else a single space, one at either end."""
    codes: Codes
    """Code points of ``compact`` (len(compact),)."""
    zh_chars: int
    """Chinese characters in the view."""
    language: Language


@lru_cache(maxsize=KEPT)
def read_text(message: str) -> Text:
    """Prepare a message; any string is accepted, also one with lone surrogates."""
    ask = human_ask(message)
    view = _view(ask.text)
    compact = f" {_SPACES.sub(' ', view).strip()} "
    codes = code_points(compact)
    zh_chars = int(np.count_nonzero((codes >= 0x3400) & (codes <= 0x9FFF)))
    return Text(
        chars=len(ask.text),
        lines=ask.text.count("\n") + 1,
        carried=ask.carried,
        code_lines=ask.code_lines,
        options=ask.options,
        view=view,
        compact=compact,
        words=f" {_NOT_WORD.sub(' ', compact).strip()} ",
        codes=codes,
        zh_chars=zh_chars,
        language=_language(codes, zh_chars),
    )


def code_points(text: str) -> Codes:
    """The text as an array (len(text),)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _view(ask: str) -> str:
    """Head and tail of the ask, normalised."""
    if len(ask) > HEAD_CHARS + TAIL_CHARS:
        ask = f"{ask[:HEAD_CHARS]}\n{ask[-TAIL_CHARS:]}"
    return unicodedata.normalize("NFKC", ask).lower()[:VIEW_CHARS]


def _language(codes: Codes, zh_chars: int) -> Language:
    """Chinese, English (any text in plain Latin letters), or neither: kana and hangul rule out Chinese."""
    latin = int(np.count_nonzero((codes >= 97) & (codes <= 122)))
    beyond = int(np.count_nonzero(codes >= 0xC0))
    kana_or_hangul = int(np.count_nonzero(((codes >= 0x3040) & (codes <= 0x30FF)) | ((codes >= 0xAC00) & (codes <= 0xD7AF))))
    if kana_or_hangul * 4 > zh_chars + kana_or_hangul:
        return "other"
    if zh_chars and zh_chars >= ZH_SHARE * (latin + zh_chars):
        return "zh"
    if latin and latin >= 4 * (beyond - zh_chars):
        return "en"
    return "other"
