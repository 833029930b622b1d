"""What the router reads of a message: a normalised view of its head and tail, its words, and its language.

Knows nothing of features or lanes. Cost is bounded: only ``HEAD_CHARS + TAIL_CHARS`` characters are normalised, whatever the length of the message.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Codes: TypeAlias = NDArray[np.uint32]
Language: TypeAlias = Literal["en", "zh", "other"]

HEAD_CHARS: Final = 600
TAIL_CHARS: Final = 300
"""The ask stands at the start or the end of a message; what is between is mostly pasted material (notes/routing, section 8)."""
VIEW_CHARS: Final = 2_000
"""NFKC can lengthen a text up to eighteenfold; the view is cut again."""
ZH_SHARE: Final = 0.2
"""Share of Chinese among letters from which a text counts as Chinese: one Chinese character says about as much as four Latin ones."""

_SPACES: Final = re.compile(r"\s+")
_NOT_WORD: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Text:
    """One message, prepared once for all features."""

    chars: int
    """Length of the whole message."""
    lines: int
    """Lines of the whole message."""
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


def read_text(message: str) -> Text:
    """Prepare a message; any string is accepted, also one with lone surrogates."""
    view = _view(message)
    compact = f" {_SPACES.sub(' ', view).strip()} "
    codes = code_points(compact)
    zh_chars = int(np.count_nonzero((codes >= 0x3400) & (codes <= 0x9FFF)))
    return Text(
        chars=len(message),
        lines=message.count("\n") + 1,
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


def _view(message: str) -> str:
    """Head and tail of the message, normalised."""
    if len(message) > HEAD_CHARS + TAIL_CHARS:
        message = f"{message[:HEAD_CHARS]}\n{message[-TAIL_CHARS:]}"
    return unicodedata.normalize("NFKC", message).lower()[:VIEW_CHARS]


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
