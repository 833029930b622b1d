"""Bytes of a page as text: byte order mark, header, what the page says of itself, then a guess. Runs in the child, on bytes of strangers.

Only encodings of text are ever used, whatever a page declares: Python's codecs include decompressors. Labels mean what browsers take them for
(``gb2312`` is read as GB 18030, ``iso-8859-1`` as Windows-1252).
"""

import codecs
import re
from typing import Final

_BOMS: Final = ((codecs.BOM_UTF8, "utf_8"), (codecs.BOM_UTF16_LE, "utf_16_le"), (codecs.BOM_UTF16_BE, "utf_16_be"))
_AS_BROWSERS: Final = {
    "ascii": "cp1252",
    "iso8859_1": "cp1252",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "johab": "cp949",
}
_TEXT: Final = frozenset({
    "utf_8", "utf_16", "utf_16_le", "utf_16_be", "gb18030", "big5hkscs", "cp932", "euc_jp", "iso2022_jp", "cp949", "koi8_r", "koi8_u", "cp866",
    "cp874",    *(f"cp125{digit}" for digit in range(9)), *(f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
})  # fmt: skip
_SELF_DESCRIBED: Final = re.compile(
    rb"""<(?:meta[^>]{0,300}?charset|\?xml[^>]{0,100}?encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE
)
_LABEL: Final = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
_PROLOGUE_BYTES: Final = 4_096
_SAMPLE_BYTES: Final = 65_536


def decoded(body: bytes, declared: str | None) -> str:
    """The text; what no encoding explains becomes replacement characters.

    Args:
        body: Possibly cut in the middle of a character.
        declared: The ``charset`` of the header.
    """
    for mark, codec in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(codec, "replace")
    candidates = _candidates(body, declared)
    # Whole first: a last character that is cut in one encoding is a letter in another.
    for is_whole in (True, False):
        for codec in candidates:
            if (text := _strictly(body, codec, is_whole=is_whole)) is not None:
                return text
    return body.decode(_guess(body) or "utf_8", "replace")


def codec_of(label: str | None) -> str | None:
    """The codec that browsers mean by a label; None for what is no encoding of text."""
    if label is None or not _LABEL.fullmatch(label):
        return None
    try:
        name = codecs.lookup(label).name.replace("-", "_").lower()
    except LookupError:
        return None
    name = _AS_BROWSERS.get(name, name)
    return name if name in _TEXT else None


def _candidates(body: bytes, declared: str | None) -> list[str]:
    header = codec_of(declared)
    found = _SELF_DESCRIBED.search(body[:_PROLOGUE_BYTES])
    itself = codec_of(found[1].decode("ascii")) if found else None
    if itself is not None and itself.startswith("utf_16"):
        # Whoever could read the label in ASCII does not read UTF-16.
        itself = "utf_8"
    # Servers say Latin by default, without looking: what the page says, and what is valid UTF-8, comes before it.
    order = [itself, "utf_8", header] if header == "cp1252" else [header, itself, "utf_8"]
    return list(dict.fromkeys(codec for codec in order if codec is not None))


def _strictly(body: bytes, codec: str, *, is_whole: bool) -> str | None:
    try:
        return codecs.getincrementaldecoder(codec)("strict").decode(body, final=is_whole)
    except UnicodeError:
        return None


def _guess(body: bytes) -> str | None:
    # Brought by trafilatura; needed rarely.
    from charset_normalizer import from_bytes  # noqa: PLC0415

    best = from_bytes(body[:_SAMPLE_BYTES]).best()
    return codec_of(best.encoding) if best is not None else None
