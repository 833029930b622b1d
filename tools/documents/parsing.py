"""A file's bytes to text with pages, in a child process.

Covered: nothing that has a structure is parsed in the worker. Not covered: a short plain text is decoded there, for decoding follows no structure.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tools.confined.process import Confinement
from tools.confined.work import Json, Limits
from tools.documents.formats.kinds import MODULES, kind_of
from tools.documents.formats.plain import work as decode

MAX_CHARS: Final = 4_000_000
"""Text of one document; about 1,500 pages."""
PARSING: Final = Limits(seconds=20.0)
_SHORT: Final = 1024 * 1024
"""Bytes of a text that is decoded without a child: a millisecond of work against a tenth of a second of starting."""
_SOFT: Final = 0.7
"""Share of the time after which a reader stops at the next page and gives what it has."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page stands in the text: ``text[start:end]``."""

    start: int
    end: int
    label: str = ""
    """A sheet's name; empty where pages have numbers only."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a document."""

    kind: str
    text: str
    pages: tuple[Page, ...]
    """At least one, in order. A format without pages has one."""
    notes: tuple[str, ...] = ()
    """What a reader of the text should know."""
    is_truncated: bool = False

    def page_at(self, position: int) -> int | None:
        """Number, from 1, of the page that holds a character; None where the format has no pages."""
        if len(self.pages) < 2:
            return None
        return next((number for number, page in enumerate(self.pages, 1) if position < page.end), len(self.pages))


async def extract(name: str, media_type: str, content: bytes, confinement: Confinement, limits: Limits = PARSING) -> Extracted:
    """Parse a file.

    Raises:
        WorkRefused: Its kind is not read, it is damaged, protected, empty or too large; the message says what to ask for.
    """
    kind = kind_of(name, media_type, content)
    request = {"kind": kind, "max_chars": MAX_CHARS, "seconds": limits.seconds * _SOFT}
    if kind == "text" and len(content) <= _SHORT:
        done = await asyncio.to_thread(decode, request, [content])
    else:
        done = await confinement.run(MODULES[kind], request, [content], limits)
    return _extracted(dict(done.answer))


def _extracted(answer: Json) -> Extracted:
    pages: Sequence[tuple[int, int, str]] = answer["pages"]
    return Extracted(answer["kind"], answer["text"], tuple(Page(*page) for page in pages), tuple(answer["notes"]), answer["is_truncated"])
