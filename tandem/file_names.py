"""What a file may be called here, and what it is: for whatever callers upload and tools make. Knows nothing of where files are kept.

Covered: a name that is a path, that hides its ending (bidi, zero-width and tag characters), that breaks a header or a terminal (controls), that looks
like another one (Unicode's composed and decomposed forms), or that is too long; a type that the sender made up. Not covered: look-alike letters of
different alphabets; a file that is valid as two types at once.
"""

import re
import unicodedata
from collections.abc import Container, Iterator
from itertools import count
from typing import Final

MAX_NAME: Final = 200
"""Characters of a file's name."""
ANY_BYTES: Final = "application/octet-stream"
_UNNAMED: Final = "file"
_MAX_ENDING: Final = 20
_SNIFFED: Final = 8_192
"""Bytes that are looked at to tell text from anything else."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what no name needs: controls, formats (bidi, zero-width, tags), half characters, unknown ones, line separators."""
_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"PAR1", "application/vnd.apache.parquet"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
)
_ZIP: Final = "application/zip"
_OFFICE: Final = {
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "epub": "application/epub+zip",
}
"""What is a zip archive with contents of its own: here the name decides."""
_TEXTS: Final = {
    "txt": "text/plain",
    "log": "text/plain",
    "md": "text/markdown",
    "markdown": "text/markdown",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "html": "text/html",
    "htm": "text/html",
    "xml": "application/xml",
    "svg": "image/svg+xml",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "ndjson": "application/jsonl",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "toml": "application/toml",
    "py": "text/x-python",
    "js": "text/javascript",
    "css": "text/css",
    "sql": "application/sql",
    "tex": "application/x-tex",
    "rtf": "application/rtf",
}
_TEXT_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""Byte order marks."""
_RARE: Final = bytes(set(range(32)) - set(b"\t\n\r\f\x1b"))
"""Control characters that no text has."""


def clean_name(name: str) -> str:
    """The name a file gets: its last part only, composed, without what cannot be seen, at most ``MAX_NAME`` characters with its ending kept."""
    base = re.split(r"[/\\]", name)[-1]
    seen = "".join(" " if character.isspace() else character for character in base if character.isspace() or not _is_unseen(character))
    return _cut(unicodedata.normalize("NFC", " ".join(seen.split())).strip(" .")) or _UNNAMED


def distinct_name(name: str, taken: Container[str]) -> str:
    """``name``, or ``name-2``, ``name-3``, … before the ending: the first that is not taken."""
    return next(other for other in names_like(name) if other not in taken)


def names_like(name: str) -> Iterator[str]:
    """``name``, ``name-2``, ``name-3``, … without an end."""
    yield name
    stem, ending = _parts(name)
    for number in count(2):
        yield f"{stem[: MAX_NAME - len(ending) - 12]}-{number}{ending}"


def has_text_ending(name: str) -> bool:
    """Whether the name ends like that of a kind of text known here."""
    return _parts(name)[1].lstrip(".").lower() in _TEXTS


def media_type_of(name: str, content: bytes) -> str:
    """What a file is by its first bytes; the name only decides between kinds of text, and between kinds of zip archive."""
    ending = _parts(name)[1].lstrip(".").lower()
    for magic, media_type in _MAGIC:
        if content.startswith(magic):
            return media_type
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _OFFICE.get(ending, _ZIP)
    return _TEXTS.get(ending, "text/plain") if _is_text(content[:_SNIFFED]) else ANY_BYTES


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN


def _is_text(start: bytes) -> bool:
    """In any encoding: with a byte order mark, or without a character that no text has."""
    return start.startswith(_TEXT_MARKS) or not start.translate(None, bytes(set(range(256)) - set(_RARE)))


def _cut(name: str) -> str:
    if len(name) <= MAX_NAME:
        return name
    stem, ending = _parts(name)
    return stem[: MAX_NAME - len(ending)].rstrip(" .") + ending


def _parts(name: str) -> tuple[str, str]:
    """Stem, and ending with its dot; a dot at the start begins no ending, and a long ending is none."""
    stem, dot, ending = name.rpartition(".")
    if not stem or not ending or len(ending) > _MAX_ENDING:
        return name, ""
    return stem, dot + ending
