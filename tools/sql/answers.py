"""What the two tools say of rows and tables: as many rows as a model can read, and a mark where some were left out."""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import JsonValue

from tandem.schemas.tools import ToolResult
from tandem.tokens import text_tokens
from tools.confined.work import WorkRefused

MENDABLE: Final = frozenset({"unknown_table", "unknown_column", "not_allowed", "query_failed", "syntax_error"})
"""Faults of a query that is better written with the tables before one's eyes."""
_OUTLINE_CHARS: Final = 900
TOKENS: Final = 5_000
"""Of rows or tables; what is cut by the tool's cap afterwards would no longer be JSON."""


def rows_result(found: Mapping[str, Any], notes: list[str], *, is_tainted: bool = False) -> ToolResult:
    """Rows of a query."""
    rows, left = _fitting(found["rows"])
    is_cut = bool(found["has_more"] or left)
    output: dict[str, JsonValue] = {"columns": found["columns"], "rows": rows, "row_count": len(rows), "is_truncated": is_cut}
    if is_cut:
        notes = [*notes, f"only the first {len(rows)} rows are shown; aggregate, filter, or use ORDER BY with LIMIT and OFFSET"]
    return ToolResult(ok=True, output=output | _noted(notes), is_truncated=is_cut, is_tainted=is_tainted)


def tables_result(found: Mapping[str, Any], notes: list[str], *, is_tainted: bool = False, **more: str) -> ToolResult:
    """Tables of a database; rows are left out before tables are."""
    tables: list[dict[str, Any]] = found["tables"]
    shown, left = _fitting(tables)
    if left:
        shown, left = _fitting([{key: value for key, value in table.items() if key != "sample"} for table in tables])
        notes = [*notes, "name one `table` to see rows of it"]
    if left:
        notes = [*notes, f"{left} more tables are not shown: {', '.join(str(table['table']) for table in tables[len(shown) :][:60])}"]
    output: dict[str, JsonValue] = {**more, "tables": shown}
    return ToolResult(ok=True, output=output | _noted(notes), is_truncated=left > 0, is_tainted=is_tainted)


def with_outline(error: WorkRefused, found: Mapping[str, Any]) -> str:
    """What went wrong with a query, and what there is to ask: models write the next query from that."""
    tables = [f"{table['table']}({', '.join(_column(column) for column in table['columns'])})" for table in found["tables"]]
    shown = "; ".join(tables)
    return f"{error.message}. The tables are: {shown if len(shown) <= _OUTLINE_CHARS else shown[:_OUTLINE_CHARS] + ' …'}"


def _column(column: Mapping[str, str]) -> str:
    return f"{column['name']} {column['type']}".strip()


def _fitting(items: list[Any]) -> tuple[list[Any], int]:
    total = 0
    for number, item in enumerate(items):
        total += text_tokens(json.dumps(item, ensure_ascii=False))
        if total > TOKENS:
            return items[:number], len(items) - number
    return items, 0


def _noted(notes: list[str]) -> dict[str, JsonValue]:
    return {"note": "; ".join(notes)} if notes else {}
