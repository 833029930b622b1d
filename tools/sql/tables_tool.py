"""The ``table_query`` tool: SQL over the tables among a job's own files (CSV, TSV, Excel, JSON), without any configured database.

Covered: files are read and queries run in a child process that holds nothing but these tables; see ``lite`` for what a query may do. Not covered: a
table that is laid out for people (several headings, merged cells) loads as it stands.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, cast

from pydantic import JsonValue

from tandem.errors import ToolFailed
from tandem.ports import ShelfFile, ToolContext
from tandem.schemas.tools import ToolExample, ToolResult, ToolSpec
from tools.base import INVALID_ARGUMENTS, refused
from tools.confined.process import Confinement
from tools.confined.work import Limits, WorkRefused
from tools.documents.formats.kinds import kind_of
from tools.offers import Offer, Supplies
from tools.sql.answers import MENDABLE, rows_result, tables_result, with_outline
from tools.sql.judgement import MAX_QUERY_CHARS, judged

LITE: Final = "tools.sql.lite"
LOADING: Final = "tools.sql.loading"
_TABULAR: Final = frozenset({".csv", ".tsv", ".tab", ".xlsx", ".xlsm", ".json", ".jsonl", ".ndjson"})
_MOST_FILES: Final = 10
_MOST_BYTES: Final = 64 * 1024 * 1024
_KEPT_BYTES: Final = 64 * 1024 * 1024
"""Of all loaded tables that are kept for the next question."""

SPEC: Final = ToolSpec(
    name="table_query",
    description=(
        "Answers questions about the tables among this job's files (CSV, TSV, xlsx, JSON lists) with SQL in SQLite's dialect. action=describe shows "
        "the tables, their columns and first rows; action=query runs one SELECT (WITH, joins of files, window functions, median, stddev and corr "
        "allowed) and gives up to 200 rows. Describe first: the tables' and columns' names are the files' made fit for SQL."
    ),
    parameters={
        "type": "object",
        "properties": {
            "action": {"type": "string", "enum": ["describe", "query"]},
            "files": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 300},
                "minItems": 1,
                "maxItems": _MOST_FILES,
                "description": "Files to load; all tables among the job's files when left out.",
            },
            "query": {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARS, "description": "One SELECT."},
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
        ToolExample(arguments={"action": "describe"}),
        ToolExample(arguments={"action": "query", "query": "SELECT region, SUM(amount) AS total FROM sales GROUP BY region ORDER BY total DESC"}),
    ],
)


async def offer(supplies: Supplies) -> Sequence[Offer]:  # noqa: ARG001 - needs nothing of the machine
    """The tool; it works everywhere."""
    return [Offer(SPEC, TableQueryTool(Confinement()))]


@dataclass(frozen=True, slots=True)
class _Loaded:
    content: bytes
    """An SQLite database."""
    described: Mapping[str, Any]


class TableQueryTool:
    """Loads the files once and asks them as often as wanted.

    Args:
        confinement: Runs what reads the files and what asks them.
        query_s: Seconds one query may run.
    """

    def __init__(self, confinement: Confinement, query_s: float = 5.0) -> None:
        self._confinement = confinement
        self._query_s = query_s
        self._kept: OrderedDict[tuple[str, ...], _Loaded] = OrderedDict()

    @property
    def spec(self) -> ToolSpec:
        return SPEC

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        query = str(arguments.get("query") or "").strip()
        if arguments["action"] == "query" and not query:
            return refused("action=query needs `query`: one SELECT", INVALID_ARGUMENTS)
        try:
            loaded = await self._load(await _wanted(arguments.get("files"), context), context)
            notes = list(loaded.described["notes"])
            if arguments["action"] == "describe":
                return tables_result(loaded.described, notes, dialect="sqlite")
            return rows_result(await self._rows(loaded, query), notes)
        except WorkRefused as error:
            return refused(error.message, error.code)
        except ToolFailed as error:
            return refused(error.message, error.code)

    async def _rows(self, loaded: _Loaded, query: str) -> Mapping[str, Any]:
        try:
            request = {"action": "query", "sql": judged(query, "sqlite"), "seconds": self._query_s}
            return (await self._confinement.run(LITE, request, [loaded.content], Limits(seconds=self._query_s + 3))).answer
        except WorkRefused as error:
            if error.code not in MENDABLE:
                raise
            raise WorkRefused(error.code, with_outline(error, loaded.described)) from None

    async def _load(self, files: Sequence[ShelfFile], context: ToolContext) -> _Loaded:
        parts = [await context.shelf.read(file.name) for file in files]
        names = [file.name for file in files]
        key = (context.tenant, *names, await asyncio.to_thread(_digest, parts))
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return kept
        request = {"files": [{"name": file.name, "kind": _kind(file, content)} for file, content in zip(files, parts, strict=True)]}
        limits = Limits(seconds=30, output_bytes=192 * 1024 * 1024)
        done = await self._confinement.run(LOADING, request, parts, limits)
        loaded = self._kept[key] = _Loaded(done.part, done.answer)
        while sum(len(each.content) for each in self._kept.values()) > _KEPT_BYTES and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return loaded


async def _wanted(names: JsonValue, context: ToolContext) -> Sequence[ShelfFile]:
    files = {file.name: file for file in await context.shelf.files()}
    if names is None:
        wanted = [file for file in files.values() if PurePosixPath(file.name).suffix.lower() in _TABULAR][:_MOST_FILES]
    else:
        asked = [str(name) for name in cast("list[JsonValue]", names)]
        if missing := [name for name in asked if name not in files]:
            raise ToolFailed(f"there is no file {missing[0][:200]!r}; there are: {', '.join(list(files)[:50]) or 'none'}")
        wanted = [files[name] for name in dict.fromkeys(asked)]
    if not wanted:
        there = ", ".join(list(files)[:50]) or "none; ask the user to attach one"
        raise ToolFailed(f"there is no table (CSV, TSV, xlsx, JSON) among this job's files; there are: {there}")
    if sum(file.size for file in wanted) > _MOST_BYTES:
        raise ToolFailed(f"these files are larger than {_MOST_BYTES // 1024 // 1024} MiB together; name fewer in `files`")
    return wanted


def _kind(file: ShelfFile, content: bytes) -> str:
    kind = kind_of(file.name, file.media_type, content)
    if PurePosixPath(file.name).suffix.lower() in {".jsonl", ".ndjson"}:
        return "json"
    if kind not in {"sheet", "json", "text"}:
        raise WorkRefused("no_table", f"{file.name} is no table; use CSV, TSV, xlsx or a JSON list, or the documents tool to read it")
    return kind


def _digest(parts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
