"""What a file is, by its first bytes, then by its name and its declared type. Parses nothing, so it is safe in the worker."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final, Literal

from tools.confined.work import WorkRefused

Kind = Literal["text", "html", "json", "pdf", "word", "sheet", "slides"]
MODULES: Final[Mapping[Kind, str]] = {
    "text": "tools.documents.formats.plain",
    "json": "tools.documents.formats.plain",
    "html": "tools.documents.formats.html",
    "pdf": "tools.documents.formats.pdf",
    "word": "tools.documents.formats.word",
    "sheet": "tools.documents.formats.sheet",
    "slides": "tools.documents.formats.slides",
}
READABLE: Final = "text, Markdown, HTML, CSV, JSON, PDF, docx, xlsx or pptx"

_OFFICE: Final[tuple[tuple[bytes, Kind], ...]] = ((b"word/document", "word"), (b"xl/workbook", "sheet"), (b"ppt/presentation", "slides"))
_SUFFIXES: Final[Mapping[str, Kind]] = {
    **dict.fromkeys((".docx", ".docm", ".dotx"), "word"),
    **dict.fromkeys((".xlsx", ".xlsm", ".xltx"), "sheet"),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx"), "slides"),
}
_BINARY: Final = (
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"RIFF", "an image, sound or film"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"SQLite format 3", "a SQLite database"),
    (b"{\\rtf", "an RTF document"),
)
_PDF_WITHIN: Final = 1024
"""Readers accept the PDF mark a little after the beginning."""


def kind_of(name: str, media_type: str, content: bytes) -> Kind:
    """Which reader a file needs; what the bytes say goes before what the name says.

    Raises:
        WorkRefused: No reader takes it.
    """
    if not content.strip(b"\x00 \t\r\n\xef\xbb\xbf"):
        raise WorkRefused("empty", "the file is empty; ask for one with content")
    suffix = PurePosixPath(name).suffix.lower()
    if b"%PDF-" in content[:_PDF_WITHIN]:
        return "pdf"
    if content.startswith(b"PK\x03\x04"):
        return _office(suffix, content)
    if content.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise _old_office(content)
    for mark, what in _BINARY:
        if content.startswith(mark):
            raise WorkRefused("unsupported", f"it is {what}, from which no text is read; ask for {READABLE}")
    return _text(suffix, media_type, content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower())


def _office(suffix: str, content: bytes) -> Kind:
    for mark, kind in _OFFICE:
        if mark in content:
            return kind
    if (kind := _SUFFIXES.get(suffix)) is not None:
        return kind
    raise WorkRefused("unsupported", f"it is a zip archive; ask for its files one by one, as {READABLE}")


def _old_office(content: bytes) -> WorkRefused:
    if "EncryptedPackage".encode("utf-16-le") in content:
        return WorkRefused("encrypted", "it is protected with a password; ask for a copy without one")
    return WorkRefused("unsupported", "it is in an Office format from before 2007; ask for it as docx, xlsx, pptx or PDF")


def _text(suffix: str, media_type: str, head: bytes) -> Kind:
    if suffix in {".html", ".htm", ".xhtml"} or media_type.startswith(("text/html", "application/xhtml")):
        return "html"
    if head.startswith((b"<!doctype html", b"<html")):
        return "html"
    return "json" if suffix == ".json" or media_type.startswith("application/json") else "text"
