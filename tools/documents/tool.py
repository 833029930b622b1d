"""The ``documents`` tool: lists, reads and searches the files that a job's caller attached or its tools made.

Covered: only files of the job's own shelf; parsers in a child process with limits; every passage comes with its exact place. Not covered: whether
what a document says is true or meant well: its words are strangers' words, so the job's authority is cut after them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from tandem.errors import ToolFailed
from tandem.ports import ShelfFile, ToolContext
from tandem.schemas.tools import Citation, ToolExample, ToolResult, ToolSpec
from tandem.tokens import text_tokens
from tools.base import INVALID_ARGUMENTS, refused
from tools.confined.process import Confinement
from tools.confined.work import WorkRefused
from tools.documents.library import Book, Hit, Library
from tools.documents.meaning import Meaning
from tools.offers import Offer, Supplies

_READ_CHARS: Final = 6_000
_READ_TOKENS: Final = 4_500
"""A text in Chinese has more tokens than one in English of the same length; the rest of a page is a further call."""
_QUOTED: Final = 400
_MOST_FILES: Final = 50

SPEC: Final = ToolSpec(
    name="documents",
    description=(
        "The files attached to this job or made by its tools: text, Markdown, HTML, CSV, JSON, PDF, docx, xlsx, pptx. "
        "action=list names them; action=search finds the passages about a query, in all files or in one; "
        "action=read gives the text of one file from `page` or from character `start`, and next_start to read on. "
        "Passages come with file, page and characters: quote them exactly."
    ),
    parameters={
        "type": "object",
        "properties": {
            "action": {"type": "string", "enum": ["list", "search", "read"]},
            "file": {"type": "string", "minLength": 1, "maxLength": 300, "description": "Name of a file as action=list gives it."},
            "query": {"type": "string", "minLength": 1, "maxLength": 1_000, "description": "What to search for, in the documents' language."},
            "count": {"type": "integer", "minimum": 1, "maximum": 10, "description": "Passages wanted of a search; 5 when left out."},
            "page": {"type": "integer", "minimum": 1, "description": "Page, sheet or slide to read from."},
            "start": {"type": "integer", "minimum": 0, "description": "Character to read from."},
            "max_chars": {"type": "integer", "minimum": 100, "maximum": 20_000},
        },
        "required": ["action"],
        "additionalProperties": False,
    },
    side_effect="read_internal",
    taints=True,
    timeout_s=60.0,
    max_output_bytes=64_000,
    max_output_tokens=8_000,
    needs=["files"],
    examples=[
        ToolExample(arguments={"action": "list"}),
        ToolExample(arguments={"action": "search", "query": "refund period", "count": 3}, note="passages of all files"),
        ToolExample(arguments={"action": "read", "file": "report.pdf", "page": 2}, note="from the second page on"),
    ],
)


async def offer(supplies: Supplies) -> Sequence[Offer]:
    """The tool; searches by meaning too where the operator named a server for it."""
    settings = supplies.settings.tools
    meaning = Meaning(settings.embeddings_url, settings, supplies.egress) if settings.embeddings_url else None
    return [Offer(SPEC, DocumentsTool(Library(Confinement(), meaning)))]


class DocumentsTool:
    """Three actions over one library."""

    def __init__(self, library: Library) -> None:
        self._library = library

    @property
    def spec(self) -> ToolSpec:
        return SPEC

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        try:
            match arguments["action"]:
                case "list":
                    return await _list(context)
                case "search":
                    return await self._search(arguments, context)
                case _:
                    return await self._read(arguments, context)
        except ToolFailed as error:
            return refused(error.message, error.code)

    async def _search(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        query = str(arguments.get("query") or "").strip()
        if not query:
            return refused("action=search needs `query`: say what to look for", INVALID_ARGUMENTS)
        files = [await _named(arguments, context)] if "file" in arguments else list(await context.shelf.files())[:_MOST_FILES]
        books, unread = await self._opened(files, context)
        if not books:
            why = "; ".join(f"{name}: {fault}" for name, fault in unread.items()) or "this job has no files; ask the user to attach them"
            return refused(f"there is nothing to search: {why}", "no_documents")
        found = await self._library.search(query, books, _whole(arguments, "count", 5))
        output: dict[str, JsonValue] = {
            "passages": [_shown(hit) for hit in found.hits],
            "searched": [book.name for book in books],
            "method": found.method,
        }
        if unread:
            output["not_searched"] = dict(unread)
        if notes := [note for note in (found.note, "" if found.hits else _NOTHING) if note]:
            output["note"] = "; ".join(notes)
        return ToolResult(ok=True, output=output, citations=[_citation(hit) for hit in found.hits])

    async def _opened(self, files: Sequence[ShelfFile], context: ToolContext) -> tuple[list[Book], dict[str, str]]:
        async def attempt(file: ShelfFile) -> Book | str:
            try:
                return await self._library.open(file, context)
            except (WorkRefused, ToolFailed) as error:
                return error.message

        opened = await asyncio.gather(*(attempt(file) for file in files))
        books = [book for book in opened if isinstance(book, Book)]
        return books, {file.name: why for file, why in zip(files, opened, strict=True) if isinstance(why, str)}

    async def _read(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        file = await _named(arguments, context)
        try:
            book = await self._library.open(file, context)
        except WorkRefused as error:
            return refused(f"{file.name}: {error.message}", error.code, retryable=error.code == "timeout")
        pages, text = book.document.pages, book.document.text
        page = _whole(arguments, "page", 0)
        if page > len(pages):
            return refused(f"{file.name} has {len(pages)} pages, so there is no page {page}", INVALID_ARGUMENTS)
        start = _whole(arguments, "start", pages[page - 1].start if page else 0)
        if start >= len(text):
            return refused(f"{file.name} has {len(text)} characters, so nothing starts at {start}", INVALID_ARGUMENTS)
        return _reading(book, start, _fitting(text[start : start + _whole(arguments, "max_chars", _READ_CHARS)]))


_NOTHING: Final = "no passage shares a word with the query; try other words, synonyms or the documents' own language"


async def _list(context: ToolContext) -> ToolResult:
    files = list(await context.shelf.files())
    shown: list[JsonValue] = [
        {"file": file.name, "media_type": file.media_type, "bytes": file.size, "made_by_this_job": file.is_made} for file in files[:_MOST_FILES]
    ]
    return ToolResult(ok=True, output={"files": shown, "count": len(files)})


async def _named(arguments: Mapping[str, JsonValue], context: ToolContext) -> ShelfFile:
    files = {file.name: file for file in await context.shelf.files()}
    name = str(arguments.get("file") or "")
    if name in files:
        return files[name]
    there = ", ".join(list(files)[:_MOST_FILES]) or "none; ask the user to attach it"
    raise ToolFailed(f"there is no file {name[:200]!r}; there are: {there}" if name else f"name the `file` to read; there are: {there}")


def _reading(book: Book, start: int, text: str) -> ToolResult:
    document = book.document
    end = start + len(text)
    output: dict[str, JsonValue] = {
        "file": book.name,
        "kind": document.kind,
        "text": text,
        "start": start,
        "end": end,
        "total_chars": len(document.text),
    }
    page = document.page_at(start)
    if page is not None:
        output |= {"page": page, "last_page": document.page_at(end - 1), "pages": len(document.pages)}
        if label := document.pages[page - 1].label:
            output["label"] = label
    if end < len(document.text):
        output["next_start"] = end
    if document.notes:
        output["note"] = "; ".join(document.notes)
    quote = text[:_QUOTED]
    cited = Citation(source=book.name, quote=quote, start=start, end=start + len(quote), page=page)
    return ToolResult(ok=True, output=output, citations=[cited], is_truncated=document.is_truncated)


def _fitting(text: str) -> str:
    while (tokens := text_tokens(text)) > _READ_TOKENS:
        text = text[: min(len(text) - 1, int(len(text) * _READ_TOKENS / tokens))]
    return text


def _shown(hit: Hit) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = {"file": hit.book.name, "quote": hit.quote, "start": hit.chunk.start, "end": hit.chunk.end, "score": hit.score}
    return shown if hit.chunk.page is None else {**shown, "page": hit.chunk.page}


def _citation(hit: Hit) -> Citation:
    return Citation(source=hit.book.name, quote=hit.quote, start=hit.chunk.start, end=hit.chunk.end, page=hit.chunk.page)


def _whole(arguments: Mapping[str, JsonValue], name: str, default: int) -> int:
    value = arguments.get(name)
    # JSON Schema counts 3.0 as an integer.
    return int(value) if isinstance(value, int | float) else default
