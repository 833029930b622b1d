"""The text of a document as it grows: cleaned, page by page, up to a number of characters and a point in time."""

import re
import time
import zipfile
from io import BytesIO
from typing import Final

from tools.confined.work import Done, Json, WorkRefused

_DROPPED: Final = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)
"""Control, direction and tag characters: a reader does not see them, so a quotation must not hold them."""
_BREAKS: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_BLANKS: Final = re.compile(r"[ \t]+\n")
_GAPS: Final = re.compile(r"\n{3,}")
_LARGEST_ARCHIVE: Final = 160 * 1024 * 1024
"""Bytes an Office file may unpack to; zipfile reads no more of an entry than its directory declares."""
_MOST_ENTRIES: Final = 10_000


class Pages:
    """Collects the text of one document.

    Args:
        request: Holds ``max_chars`` and ``seconds``, which the document may take.
    """

    def __init__(self, request: Json) -> None:
        self._left = int(request["max_chars"])
        self._deadline = time.monotonic() + float(request["seconds"])
        self._parts: list[str] = []
        self._length = 0
        self._spans: list[tuple[int, int, str]] = []
        self._notes: list[str] = []
        self._is_truncated = False

    def add(self, text: str, label: str = "") -> bool:
        """Add a page; False when no further one is wanted. An empty page counts, so that numbers stay right."""
        text = clean(text)
        if len(text) > self._left:
            text = text[: self._left]
            self._stop("only the beginning was read: the document is very long")
        self._left -= len(text)
        if self._parts:
            self._parts.append("\n\n")
            self._length += 2
        self._parts.append(text)
        self._spans.append((self._length, self._length + len(text), label))
        self._length += len(text)
        if time.monotonic() > self._deadline and not self._is_truncated:
            self._stop(f"only the first {len(self._spans)} pages were read in the time there is")
        return not self._is_truncated

    def note(self, note: str) -> None:
        """Something the reader of the text should know."""
        self._notes.append(note)

    def done(self, kind: str, nothing: str) -> Done:
        """The document.

        Raises:
            WorkRefused: There is no text in it; ``nothing`` says why that may be.
        """
        text = "".join(self._parts)
        if not text.strip():
            raise WorkRefused("no_text", nothing)
        return Done({"kind": kind, "text": text, "pages": self._spans, "notes": self._notes, "is_truncated": self._is_truncated})

    def _stop(self, why: str) -> None:
        self._is_truncated = True
        self._notes.append(why)


def clean(text: str) -> str:
    """The text as a reader sees it: one kind of line break, no invisible characters, no wide gaps."""
    text = _DROPPED.sub("", _BREAKS.sub("\n", text))
    return _GAPS.sub("\n\n", _BLANKS.sub("\n", text)).strip("\n")


def row(cells: list[str]) -> str:
    """A row of a table on one line."""
    return " | ".join(" ".join(cell.split()) for cell in cells)


def check_archive(content: bytes) -> None:
    """Look at the directory of an Office file before anything is unpacked.

    Raises:
        WorkRefused: It would unpack to too much, or is no archive.
    """
    try:
        entries = zipfile.ZipFile(BytesIO(content)).infolist()
    except zipfile.BadZipFile:
        raise WorkRefused("unreadable", "it is damaged or cut off; ask for a whole copy") from None
    if len(entries) > _MOST_ENTRIES or sum(entry.file_size for entry in entries) > _LARGEST_ARCHIVE:
        raise WorkRefused("too_large", f"it unpacks to more than {_LARGEST_ARCHIVE // 1024 // 1024} MiB and was not opened; use a smaller file")
