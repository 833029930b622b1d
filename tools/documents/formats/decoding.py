"""Bytes of a text file to characters: by its byte order mark, else as UTF-8, else as the likeliest of a few."""

import re
from typing import Final

from tools.confined.work import WorkRefused

_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_DECLARED: Final = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([A-Za-z0-9_-]{2,40})""")
_COMMON_HAN: Final = re.compile("[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]")
_WIDE: Final = re.compile("[^\x00-\x7f]")
_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SAMPLE: Final = 65_536


def decoded(content: bytes) -> tuple[str, str]:
    """The characters, and the encoding that was taken.

    Raises:
        WorkRefused: These bytes are no text.
    """
    for encoding in _candidates(content):
        try:
            text = content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if len(_CONTROL.findall(text[:_SAMPLE])) * 50 <= min(len(text), _SAMPLE):
            return text, encoding
    raise WorkRefused("unsupported", "it holds binary data and no text; ask for text, Markdown, HTML, CSV, JSON, PDF, docx, xlsx or pptx")


def _candidates(content: bytes) -> list[str]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            # A cut file may end within a character: what is whole is still text.
            return [encoding]
    declared = [match[1].decode("ascii") for match in _DECLARED.finditer(content[:2_048])][:1]
    return [*_wide_guess(content), "utf-8", *[name for name in declared if name.lower() not in {"utf-16", "utf-8"}], *_han_guess(content), "cp1252"]


def _wide_guess(content: bytes) -> list[str]:
    """UTF-16 without its mark: in Latin text every second byte is zero, in Chinese text hardly any, but it holds zero bytes in its line ends."""
    sample = content[:_SAMPLE]
    if len(sample) % 2 == 0 and 0 in sample:
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        return ["utf-16-le", "utf-16-be"] if odd > even else ["utf-16-be", "utf-16-le"]
    return []


def _han_guess(content: bytes) -> list[str]:
    """The Chinese encoding whose reading has the most everyday characters; none when neither reads like Chinese."""
    guesses: list[tuple[float, str]] = []
    for encoding in ("gb18030", "big5"):
        # The sample may end within a character.
        text = content[:_SAMPLE].decode(encoding, "replace")
        wide = len(_WIDE.findall(text))
        share = len(_COMMON_HAN.findall(text)) / wide if wide else 0.0
        if share > 0.8:
            guesses.append((share, encoding))
    return [encoding for _, encoding in sorted(guesses, key=lambda guess: -guess[0])]
