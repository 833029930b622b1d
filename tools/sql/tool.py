"""The ``sql`` tool: reads the databases an operator named. What it reads is the tenant's own, so a tainted job needs approval for it.

Covered: see ``judgement``, ``lite`` and ``postgres``; a database of another tenant does not exist. Not covered: whether the answer is what was meant.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue

from tandem.ids import TenantId
from tandem.ports import ToolContext
from tandem.schemas.tools import ToolExample, ToolResult, ToolSpec
from tools.base import INVALID_ARGUMENTS, refused
from tools.confined.process import Confinement
from tools.confined.work import Limits, WorkRefused
from tools.offers import Offer, Supplies
from tools.sql.answers import MENDABLE, rows_result, tables_result, with_outline
from tools.sql.databases import Source, read_databases
from tools.sql.judgement import MAX_QUERY_CHARS, judged
from tools.sql.postgres import Postgres

SQL_FILE: Final = "sql.json"
LITE: Final = "tools.sql.lite"
_JOURNAL_BYTES: Final = 8 * 1024 * 1024
"""SQLite shares the index of a write-ahead log through a small file, also to read."""

SPEC: Final = ToolSpec(
    name="sql",
    description=(
        "Reads the databases of this platform with SQL. action=describe shows a database's tables, columns and first rows (name one `table` for "
        "more); action=query runs one SELECT (WITH, UNION, window functions allowed) in the database's own dialect and gives up to 200 rows. "
        "Nothing can be changed. Describe first; aggregate in SQL instead of reading many rows."
    ),
    parameters={
        "type": "object",
        "properties": {
            "action": {"type": "string", "enum": ["describe", "query"]},
            "database": {"type": "string", "maxLength": 100, "description": "Its name; may be left out when there is only one."},
            "table": {"type": "string", "minLength": 1, "maxLength": 200},
            "query": {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARS, "description": "One SELECT."},
        },
        "required": ["action"],
        "additionalProperties": False,
    },
    side_effect="read_internal",
    reads_private=True,
    timeout_s=70.0,
    max_output_bytes=64_000,
    max_output_tokens=8_000,
    needs=["database", "configuration"],
    examples=[
        ToolExample(arguments={"action": "describe"}),
        ToolExample(
            arguments={"action": "query", "database": "sales", "query": "SELECT region, SUM(amount) FROM orders GROUP BY region ORDER BY 2 DESC"}
        ),
    ],
)


async def offer(supplies: Supplies) -> Sequence[Offer]:
    """The tool, where the operator named a database.

    Raises:
        SettingsInvalid: The file is there and wrong.
    """
    named = supplies.settings.tools.sql_file
    path = named or supplies.settings.home / SQL_FILE
    if named is None and not path.exists():
        return [Offer(SPEC, None, f"no database is named; write them into {path} or set TANDEM_TOOLS_SQL_FILE")]
    sources = read_databases(path, os.environ)
    if not sources:
        return [Offer(SPEC, None, f"{path} names no database")]
    return [Offer(_with_databases(sources), SqlTool(sources, Confinement()))]


class SqlTool:
    """Two actions over the databases of the file."""

    def __init__(self, sources: Sequence[Source], confinement: Confinement) -> None:
        self._sources = tuple(sources)
        self._confinement = confinement
        self._spec = _with_databases(self._sources)

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        try:
            source = self._named(arguments.get("database"), context.tenant)
            if arguments["action"] == "describe":
                table = arguments.get("table")
                found = await self._describe(source, str(table) if table is not None else None)
                return tables_result(found, [], is_tainted=source.entry.taints, database=source.name, dialect=source.kind)
            query = str(arguments.get("query") or "").strip()
            if not query:
                return refused("action=query needs `query`: one SELECT", INVALID_ARGUMENTS)
            return await self._answered(source, query)
        except WorkRefused as error:
            return refused(error.message, error.code, retryable=error.code == "database_unavailable")

    async def _answered(self, source: Source, query: str) -> ToolResult:
        try:
            return rows_result(await self._query(source, query), [], is_tainted=source.entry.taints)
        except WorkRefused as error:
            if error.code not in MENDABLE:
                raise
            return refused(with_outline(error, await self._describe(source, None)), error.code)

    def _named(self, name: JsonValue, tenant: TenantId) -> Source:
        known = {source.name: source for source in self._sources if source.entry.tenants is None or tenant in source.entry.tenants}
        if name is None and len(known) == 1:
            return next(iter(known.values()))
        if name not in known:
            there = ", ".join(f"{each.name} ({each.entry.description})" if each.entry.description else each.name for each in known.values()) or "none"
            raise WorkRefused(
                "unknown_database", f"there is no database {str(name)[:100]!r}; there are: {there}" if name else f"name the `database`: {there}"
            )
        return known[str(name)]

    async def _describe(self, source: Source, table: str | None) -> dict[str, Any]:
        if source.kind == "postgres":
            return await Postgres(source).describe(table)
        return dict(await self._lite(source, {"action": "describe", "table": table}))

    async def _query(self, source: Source, query: str) -> dict[str, Any]:
        if source.kind == "postgres":
            return await Postgres(source).query(query)
        return dict(await self._lite(source, {"action": "query", "sql": judged(query, "sqlite")}))

    async def _lite(self, source: Source, request: Mapping[str, object]) -> Mapping[str, Any]:
        seconds = source.entry.timeout_s
        limits = Limits(seconds=seconds + 5, memory_bytes=512 * 1024 * 1024, file_bytes=_JOURNAL_BYTES)
        where = {"path": source.address.get_secret_value(), "tables": source.entry.tables, "seconds": seconds}
        return (await self._confinement.run(LITE, {**where, **request}, [], limits)).answer


def _with_databases(sources: Sequence[Source]) -> ToolSpec:
    """The declaration, which names the databases that every tenant may know of."""
    shown = [
        f"{each.name} ({each.kind}{': ' + each.entry.description if each.entry.description else ''})"
        for each in sources
        if each.entry.tenants is None
    ]
    return SPEC.model_copy(update={"description": f"{SPEC.description} Databases: {'; '.join(shown)[:1_000]}."}) if shown else SPEC
