"""Documents that were read lately, with their indexes, in memory and within a bound; and the search over them. Knows no model and no schema.

A document belongs to a tenant: the same bytes of two tenants are read twice, so that nobody learns by the clock what another one has.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tandem.ids import TenantId
from tandem.ports import ShelfFile, ToolContext
from tools.confined.process import Confinement
from tools.documents.chunks import Chunk, chunks_of
from tools.documents.index import WordIndex, indexed, ranked
from tools.documents.meaning import Meaning, MeaningUnavailable, Vector, likeness
from tools.documents.parsing import Extracted, extract

_MOST_CHARS: Final = 16_000_000
"""Of all documents kept."""
_MOST_VECTORS: Final = 1_024
"""Of one document; longer ones are searched by words only."""
_AT_ONCE: Final = 4
"""Files whose bytes are in memory at the same time."""
_POOL: Final = 50
"""How deep each ranking goes before they are fused."""
_FUSION: Final = 60
"""Constant of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009)."""


@dataclass(slots=True)
class Book:
    """A document with what the search needs."""

    name: str
    document: Extracted
    chunks: tuple[Chunk, ...]
    index: WordIndex
    vectors: list[Vector] | None = field(default=None)
    """Of the passages, once somebody searched by meaning."""

    def passage(self, number: int) -> str:
        chunk = self.chunks[number]
        return self.document.text[chunk.start : chunk.end]


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found."""

    book: Book
    chunk: Chunk
    quote: str
    score: float
    """Comparable within one search only."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gave, best first, and how it was searched."""

    hits: Sequence[Hit]
    method: str
    note: str = ""


class Library:
    """Reads documents and searches in them.

    Args:
        confinement: Runs the parsers.
        meaning: Gives vectors; None searches by words alone.
    """

    def __init__(self, confinement: Confinement, meaning: Meaning | None = None) -> None:
        self._confinement = confinement
        self._opening = asyncio.Semaphore(_AT_ONCE)
        self._meaning = meaning
        self._books: OrderedDict[tuple[TenantId, str, str], Book] = OrderedDict()
        self._seen: OrderedDict[tuple[object, ...], tuple[TenantId, str, str]] = OrderedDict()
        """Which book a job's file is: within a job a name never changes its content."""

    async def open(self, file: ShelfFile, context: ToolContext) -> Book:
        """The document, read anew or from memory.

        Raises:
            WorkRefused: It cannot be read as text.
            ToolFailed: The shelf does not have it.
        """
        seen = (context.tenant, context.job_id, file.name, file.size)
        if (key := self._seen.get(seen)) is not None and (book := self._books.get(key)) is not None:
            self._books.move_to_end(key)
            return book
        async with self._opening:
            return await self._read(file, context, seen)

    async def _read(self, file: ShelfFile, context: ToolContext, seen: tuple[object, ...]) -> Book:
        content = await context.shelf.read(file.name)
        key = (context.tenant, await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest()), file.name)
        if (book := self._books.get(key)) is None:
            document = await extract(file.name, file.media_type, content, self._confinement)
            book = await asyncio.to_thread(_bound, file.name, document)
            self._books[key] = book
        self._seen[seen] = key
        self._forget()
        return book

    async def search(self, query: str, books: Sequence[Book], count: int) -> Found:
        """The passages that fit a query best, by words and, where there is a server for it, by meaning."""
        by_words = [(document, passage) for _, document, passage in ranked(query, [book.index for book in books], _POOL)]
        if self._meaning is None:
            return Found(_hits(_fused([by_words]), books, count), "words")
        try:
            by_meaning = await self._nearest(query, books, self._meaning)
        except MeaningUnavailable as error:
            return Found(_hits(_fused([by_words]), books, count), "words", f"searched by words only: {error}")
        return Found(_hits(_fused([by_words, by_meaning]), books, count), "words and meaning")

    async def _nearest(self, query: str, books: Sequence[Book], meaning: Meaning) -> list[tuple[int, int]]:
        wanted = (await meaning.vectors([query]))[0]
        for book in books:
            if book.vectors is None and len(book.chunks) <= _MOST_VECTORS:
                book.vectors = await meaning.vectors([book.passage(number) for number in range(len(book.chunks))])
        scored = [
            (likeness(wanted, vector), document, passage)
            for document, book in enumerate(books)
            for passage, vector in enumerate(book.vectors or ())
            if len(vector) == len(wanted)
        ]
        return [(document, passage) for _, document, passage in sorted(scored, key=lambda each: -each[0])[:_POOL]]

    def _forget(self) -> None:
        total = sum(len(book.document.text) for book in self._books.values())
        while total > _MOST_CHARS and len(self._books) > 1:
            _, book = self._books.popitem(last=False)
            total -= len(book.document.text)
        while len(self._seen) > 1_000:
            self._seen.popitem(last=False)


def _bound(name: str, document: Extracted) -> Book:
    chunks = chunks_of(document)
    return Book(name, document, chunks, indexed(document.text[chunk.start : chunk.end] for chunk in chunks))


def _fused(rankings: Sequence[Sequence[tuple[int, int]]]) -> list[tuple[float, tuple[int, int]]]:
    scores: dict[tuple[int, int], float] = {}
    for ranking in rankings:
        for rank, place in enumerate(ranking, 1):
            scores[place] = scores.get(place, 0.0) + 1 / (_FUSION + rank)
    return sorted(((score, place) for place, score in scores.items()), key=lambda each: (-each[0], each[1]))


def _hits(places: Sequence[tuple[float, tuple[int, int]]], books: Sequence[Book], count: int) -> list[Hit]:
    return [
        Hit(books[document], books[document].chunks[passage], books[document].passage(passage), round(score, 4))
        for score, (document, passage) in places[:count]
    ]
