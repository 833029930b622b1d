"""Reads a query before it runs: one statement that only reads, made of what ``allowed`` names, over tables that may be read. Runs nothing.

What is judged is what runs: the database gets the query as written anew from its tree, without comments, never the text that came in. Covered:
further statements, writes anywhere (also inside of a WITH), SELECT INTO, locks, commands, parameters, functions, types and schemas that are not
allowed, names that hide a table. Not covered: what a view or an operator of the database itself does; the connection is read-only for that.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from tools.confined.work import WorkRefused
from tools.naming import close_names
from tools.sql.allowed import FUNCTIONS, NODES, TYPES, UNNAMED, Dialect

MAX_QUERY_CHARS: Final = 10_000
_TOO_DEEP: Final = "the query is nested too deeply; use WITH to name its parts"


@dataclass(frozen=True, slots=True)
class Relations:
    """The tables and views that a query may read, by name, and every name it must not hide."""

    readable: frozenset[tuple[str, str]]
    """Schema and name."""
    schemas: Sequence[str]
    """Where a name without a schema is looked up, in order."""
    others: frozenset[str] = frozenset()
    """Names of tables that may not be read."""


def judged(query: str, dialect: Dialect, relations: Relations | None = None) -> str:
    """The query as it may run.

    Args:
        query: As the model wrote it.
        dialect: Of the database.
        relations: None where the database itself decides which tables are read.

    Raises:
        WorkRefused: It may not run; the message names what is not allowed and what to write instead.
    """
    if len(query) > MAX_QUERY_CHARS:
        raise _refusal(f"the query has {len(query)} characters; at most {MAX_QUERY_CHARS} are allowed")
    if "\x00" in query:
        raise _refusal("the query holds a zero character; leave it out")
    try:
        tree = _only_statement(query, dialect)
        if dialect == "sqlite":
            tree = tree.transform(_with_date_parts)
        for node in tree.walk():
            _check(node, dialect)
        if relations is not None:
            _check_tables(tree, relations)
        return cast("Callable[..., str]", tree.sql)(dialect=dialect, comments=False, unsupported_level=ErrorLevel.RAISE)
    except RecursionError:
        raise _refusal(_TOO_DEEP) from None
    except SqlglotError as error:
        raise WorkRefused("syntax_error", f"the query cannot be read as {dialect}: {_plain(str(error))}") from None


def _only_statement(query: str, dialect: Dialect) -> exp.Expr:
    statements = [statement for statement in sqlglot.parse(query, dialect=dialect) if statement is not None]
    if len(statements) != 1:
        raise _refusal(f"the text holds {len(statements)} statements; send exactly one SELECT")
    statement = statements[0]
    inner = statement.unnest() if isinstance(statement, exp.Subquery) else statement
    if not isinstance(inner, exp.Select | exp.SetOperation):
        raise _refusal(
            f"{type(inner).__name__.upper()} is not allowed; only SELECT (also with WITH, UNION) reads the data, and nothing can be changed"
        )
    return statement


def _with_date_parts(node: exp.Expr) -> exp.Expr:
    """``YEAR(d)``, ``MONTH(d)`` and ``DAY(d)``, which models write for any database, as SQLite has them."""
    form = next((form for kind, form in _DATE_PARTS.items() if isinstance(node, kind)), None)
    if form is None:
        return node
    whole = cast("exp.Cast", sqlglot.parse_one(f"CAST(STRFTIME('{form}', d) AS INTEGER)", dialect="sqlite"))
    for column in list(whole.find_all(exp.Column)):
        column.replace(node.this.copy())
    return whole


_DATE_PARTS: Final[Mapping[type[exp.Expr], str]] = {exp.Year: "%Y", exp.Month: "%m", exp.Day: "%d"}


def _check(node: exp.Expr, dialect: Dialect) -> None:
    kind = type(node).__name__
    if isinstance(node, exp.Anonymous):
        name = node.name.lower()
        if name not in UNNAMED[dialect]:
            raise _refusal(f"the function {name[:60]}() is not allowed; use common functions for numbers, texts, dates, JSON, aggregates and windows")
    elif isinstance(node, exp.Func) and kind not in NODES:
        if kind not in FUNCTIONS:
            raise _refusal(f"the function {node.sql_name().lower()}() is not allowed; use common functions for numbers, texts, dates and aggregates")
    elif kind not in NODES:
        raise _refusal(_INSTEAD.get(kind, f"{kind} is not allowed in a query that only reads; write it in another way"))
    if isinstance(node, exp.Table) and dialect == "sqlite" and node.name.lower().startswith(("sqlite_", "pragma_")):
        raise _refusal(f"{node.name[:60]} is not allowed; action=describe shows the tables and their columns")
    if isinstance(node, exp.DataType) and (not isinstance(node.this, exp.DType) or node.this.name not in TYPES):
        raise _refusal(f"a cast to {node.sql(dialect)[:60]} is not allowed; cast to text, integer, numeric, date or timestamp")


_INSTEAD: Final = {
    "Into": "SELECT INTO writes a table; leave INTO out",
    "Lock": "FOR UPDATE and FOR SHARE lock rows; leave them out",
    "Placeholder": "parameters are not filled in; write the values into the query",
    "Parameter": "parameters are not filled in; write the values into the query",
    "Dot": "names of the form a.b(...) are not allowed; call the function without a schema",
    "Command": "only SELECT is allowed",
}


def _check_tables(tree: exp.Expr, relations: Relations) -> None:
    readable = {name for _, name in relations.readable}
    named = {cte.alias for cte in tree.find_all(exp.CTE)}
    for name in named:
        # A name hides a table only within its scope; a table of the same name outside of it would pass for it.
        if name in readable | relations.others or name.lower().startswith("pg_"):
            raise _refusal(f"WITH {name}: a table has this name; give the WITH another one")
    for table in _tables(tree):
        if not table.db and table.name in named:
            continue
        schemas = [table.db] if table.db else relations.schemas
        if table.catalog or not any((schema, table.name) in relations.readable for schema in schemas):
            raise _no_table(table, relations)


def _tables(tree: exp.Expr) -> Iterator[exp.Table]:
    # A function in FROM is a table without a name; the function has been looked at by itself.
    return (table for table in tree.find_all(exp.Table) if isinstance(table.this, exp.Identifier))


def _no_table(table: exp.Table, relations: Relations) -> WorkRefused:
    wanted = ".".join(part for part in (table.catalog, table.db, table.name) if part)
    names = sorted(name if schema == relations.schemas[0] else f"{schema}.{name}" for schema, name in relations.readable)
    return WorkRefused("unknown_table", f"there is no table {wanted[:120]!r} to read; {close_names(wanted, names)}")


def _refusal(message: str) -> WorkRefused:
    return WorkRefused("not_allowed", message)


def _plain(text: str) -> str:
    """Without the codes of a terminal with which sqlglot underlines the place."""
    return text.replace("\x1b[4m", ">>").replace("\x1b[0m", "<<").replace("\n", " ")[:300]
