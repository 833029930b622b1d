"""What an answer is, by its header and its first bytes: an allow-list, not a guess. Pure; parses nothing.

The declared type must be one that is read, and the bytes must not contradict it; where nothing is declared, the bytes decide among the same kinds.
"""

import re
from typing import Final, Literal

from tools.confined.work import WorkRefused

Kind = Literal["html", "text", "json", "xml", "pdf"]

_KINDS: Final[dict[str, Kind]] = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/plain": "text",
    "text/markdown": "text",
    "text/x-markdown": "text",
    "text/csv": "text",
    "text/tab-separated-values": "text",
    "text/x-rst": "text",
    "application/json": "json",
    "application/x-ndjson": "json",
    "application/xml": "xml",
    "text/xml": "xml",
    "application/pdf": "pdf",
}
_SUFFIXES: Final[dict[str, Kind]] = {"+json": "json", "+xml": "xml"}
_PDF: Final = b"%PDF-"
_BINARIES: Final = (
    b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x7fELF", b"MZ",
    b"OggS", b"ID3", b"RIFF", b"\x00\x00\x01\x00", b"\xd0\xcf\x11\xe0", b"wOFF", b"wOF2", b"\x28\xb5\x2f\xfd",
)  # fmt: skip
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_HTML: Final = re.compile(rb"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html|head|body|title|h1|p|div)\b", re.IGNORECASE | re.DOTALL)
_XML: Final = re.compile(rb"\s*<\?xml\b", re.IGNORECASE)
_JSON: Final = re.compile(rb"\s*[\[{]")
_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([^\s"';]{1,40})""", re.IGNORECASE)
_SNIFFED_BYTES: Final = 1_024


def kind_of(content_type: str | None, body: bytes) -> Kind:
    """Which reader is to read this. Raises ``WorkRefused`` for anything that is not read."""
    start = body[:_SNIFFED_BYTES]
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if start.startswith(_PDF) and media_type in {"", "application/octet-stream", *_KINDS}:
        return "pdf"
    kind = _declared(media_type) if media_type else _sniffed(start)
    if kind is None or kind == "pdf":
        raise _unread(media_type or "unknown")
    if start.startswith(_BINARIES) or (b"\x00" in start and not start.startswith(_WIDE_MARKS)):
        raise WorkRefused(
            "unsupported_content",
            f"the server says that this is {media_type or 'a page'}, but its bytes are no text; look for a page with the same content",
        )
    return kind


def charset_of(content_type: str | None) -> str | None:
    """The ``charset`` of the header, as written."""
    found = _CHARSET.search(content_type or "")
    return found[1] if found else None


def _declared(media_type: str) -> Kind | None:
    if media_type in _KINDS:
        return _KINDS[media_type]
    # Pictures are XML too, in a way.
    return next((kind for suffix, kind in _SUFFIXES.items() if media_type.endswith(suffix) and not media_type.startswith("image/")), None)


def _sniffed(start: bytes) -> Kind:
    if _HTML.match(start):
        return "html"
    if _XML.match(start):
        return "xml"
    return "json" if _JSON.match(start) else "text"


def _unread(media_type: str) -> WorkRefused:
    return WorkRefused(
        "unsupported_content",
        f"this is {media_type[:80]!r}; only HTML, text, Markdown, JSON, XML, feeds and PDF are read; look for a page with the same content",
    )
