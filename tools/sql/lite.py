"""SQLite in the child: opens a file or bytes read-only, describes tables, runs one judged query.

Covered: the connection is opened for reading and told to refuse writes; an authorizer allows reading the listed tables and calling the listed
functions and nothing else (no ATTACH, no PRAGMA, no extension, no schema tables); time, rows, cells and memory are bounded. Not covered: a defect of
SQLite itself is contained by the child only.
"""

import re
import sqlite3
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from tools.confined.work import Done, Json, WorkRefused
from tools.naming import close_names
from tools.sql.allowed import SQLITE_FUNCTIONS
from tools.sql.cells import MAX_ROWS, cell
from tools.sql.statistics import add_statistics

_SAMPLES = 3
_MOST_TABLES = 100
_TICK = 20_000
"""Steps of SQLite's machine between two looks at the clock."""
_LONGEST_VALUE = 64 * 1024 * 1024
_MISSING = re.compile(r"no such (column|table): (.+)")
_SYSTEM = ("sqlite_", "pragma_", "dbstat", "fts")
_TABLE_FUNCTIONS = frozenset({"json_each"})


def work(request: Json, parts: Sequence[bytes]) -> Done:
    """``describe``: the tables; ``query``: the rows of the query in ``sql``, which has been judged."""
    connection = _opened(request, parts)
    tables = _tables(connection, request.get("tables"))
    columns = {name: _columns(connection, name) for name in tables}
    try:
        if request["action"] == "describe":
            return Done(_describe(connection, tables, request.get("table")))
        _lock(connection, frozenset(tables))
        return Done(_rows(connection.execute(request["sql"])))
    except sqlite3.Error as error:
        raise _explained(str(error), {table: [name for name, _ in each] for table, each in columns.items()}, request) from None


def _describe(connection: sqlite3.Connection, tables: Sequence[str], wanted: str | None) -> dict[str, Any]:
    shown = [name for name in tables if wanted is None or name.casefold() == wanted.casefold()]
    if not shown and wanted is not None:
        raise WorkRefused("unknown_table", f"there is no table {wanted[:120]!r}; {close_names(wanted, tables)}")
    return {"tables": [described(connection, name) for name in shown[:_MOST_TABLES]], "count": len(shown)}


def described(connection: sqlite3.Connection, name: str) -> dict[str, Any]:
    """A table with its columns, the number of its rows and the first of them."""
    quoted = f'"{name.replace(chr(34), chr(34) * 2)}"'
    rows = connection.execute(f"SELECT * FROM {quoted} LIMIT {_SAMPLES}").fetchall()  # noqa: S608 - a name the database itself gave, quoted
    count = connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()[0]  # noqa: S608
    columns = [{"name": column, "type": kind} for column, kind in _columns(connection, name)]
    return {"table": name, "columns": columns, "rows": count, "sample": [[cell(value) for value in row] for row in rows]}


def _opened(request: Json, parts: Sequence[bytes]) -> sqlite3.Connection:
    try:
        if parts:
            connection = sqlite3.connect(":memory:")
            connection.deserialize(parts[0])
        else:
            connection = sqlite3.connect(f"file:{quote(request['path'])}?mode=ro", uri=True)
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        raise WorkRefused("database_unavailable", f"the database cannot be opened ({error}); its operator must look at it") from None
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = OFF")
    add_statistics(connection)
    deadline = time.monotonic() + float(request["seconds"])
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _TICK)
    return connection


def _lock(connection: sqlite3.Connection, tables: frozenset[str]) -> None:
    """From here on the connection does nothing but read these tables."""

    def authorize(action: int, one: str | None, two: str | None, _database: str | None, inside: str | None) -> int:
        if action in {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE}:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (one in tables or one in _TABLE_FUNCTIONS or inside in tables or _is_made(one, two, real)):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (two or "").lower() in SQLITE_FUNCTIONS:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    real = {str(name).casefold() for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    # SQLite looks into its schema when it meets this one for the first time, which the authorizer would refuse.
    connection.execute("SELECT 1 FROM json_each('[]')").fetchall()
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(authorize)


def _is_made(table: str | None, column: str | None, real: set[str]) -> bool:
    """Whether the query itself makes the table (WITH, a subquery) and only counts its rows; of no other does SQLite ask."""
    name = (table or "").casefold()
    return column == "" and name not in real and not name.startswith(_SYSTEM)


def _rows(cursor: sqlite3.Cursor) -> dict[str, Any]:
    rows = cursor.fetchmany(MAX_ROWS + 1)
    return {
        "columns": [name for name, *_ in cursor.description or ()],
        "rows": [[cell(value) for value in row] for row in rows[:MAX_ROWS]],
        "has_more": len(rows) > MAX_ROWS,
    }


def _tables(connection: sqlite3.Connection, allowed: Sequence[str] | None) -> list[str]:
    names = [
        str(name)
        for name, kind in connection.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
        if kind and not str(name).lower().startswith("sqlite_")
    ]
    listed = {name.casefold() for name in allowed} if allowed is not None else None
    return [name for name in names if listed is None or name.casefold() in listed]


def _columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    return [(str(name), str(kind)) for name, kind in connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,))]


def _explained(error: str, columns: dict[str, list[str]], request: Json) -> WorkRefused:
    if error == "interrupted":
        return WorkRefused(
            "timeout", f"the query ran longer than {request['seconds']:g} s; filter earlier, join on a condition, or ask for one table"
        )
    if missing := _MISSING.search(error):
        kind, name = missing[1], missing[2].strip('"')
        names = list(columns) if kind == "table" else list(dict.fromkeys(name for each in columns.values() for name in each))
        return WorkRefused(f"unknown_{kind}", f"there is no {kind} {name[:120]!r}; {close_names(name.rpartition('.')[2], names)}")
    if "not authorized" in error or "prohibited" in error:
        return WorkRefused("not_allowed", f"{error}; only the described tables may be read, with common functions")
    return WorkRefused("query_failed", f"{error}; change the query")
