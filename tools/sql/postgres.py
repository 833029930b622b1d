"""PostgreSQL: describes tables and runs one judged query, read-only, as nobody special.

Covered: a read-only transaction on a connection of its own that is gone afterwards; the server's own limits on time and locks; a superuser is
refused; a role taken first; only tables of the listed schemas; long values are cut by the server, so none of them reaches this process. Not covered:
a view reaches what its owner let it reach, and so does a foreign table, which is read only where the operator lists it by name.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from tools.confined.work import WorkRefused
from tools.naming import close_names
from tools.sql.cells import MAX_CELL_CHARS, MAX_ROWS, Cell, cell
from tools.sql.databases import Database, Source
from tools.sql.judgement import Relations, judged

if TYPE_CHECKING:
    from asyncpg import Connection, Record

_CONNECT_S: Final = 5.0
_SAMPLES: Final = 3
_SAMPLED_TABLES: Final = 12
"""With more tables than this, rows are shown of a table that is asked for by name only."""
_PLAIN_TYPES: Final = frozenset({"int2", "int4", "int8", "float4", "float8", "bool"})
"""Whatever is not among them travels as a text that the server has cut."""
_RELATIONS: Final = """
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind, a.attname::text AS "column",
       format_type(a.atttypid, a.atttypmod) AS type, c.reltuples::bigint AS rows,
       has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT') AS is_granted
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege(c.oid, a.attnum, 'SELECT')
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY n.nspname, c.relname, a.attnum LIMIT 20000
"""
_SPECIAL: Final = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    name: str
    columns: Sequence[tuple[str, str]]
    rows: int
    """As the server last estimated; negative when it never did."""


@dataclass(frozen=True, slots=True)
class _Catalog:
    tables: Sequence[_Table]
    relations: Relations


class Postgres:
    """One database."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def describe(self, table: str | None) -> dict[str, Any]:
        """The tables with their columns, and rows of some. Raises ``WorkRefused``."""
        async with self._reading() as (connection, catalog):
            tables = [each for each in catalog.tables if table in {None, each.name, f"{each.schema}.{each.name}"}]
            if not tables and table is not None:
                raise WorkRefused("unknown_table", f"there is no table {table[:120]!r}; {close_names(table, [each.name for each in catalog.tables])}")
            described = [await self._described(connection, each, with_rows=len(tables) <= _SAMPLED_TABLES) for each in tables[:100]]
            return {"tables": described, "count": len(tables)}

    async def query(self, query: str) -> dict[str, Any]:
        """The rows of a query that passes judgement. Raises ``WorkRefused``."""
        async with self._reading() as (connection, catalog):
            return await _rows(connection, judged(query, "postgres", catalog.relations), MAX_ROWS)

    async def _described(self, connection: "Connection[Record]", table: _Table, *, with_rows: bool) -> dict[str, Any]:
        is_first = table.schema == self._source.entry.schemas[0]
        described: dict[str, Any] = {
            "table": table.name if is_first else f"{table.schema}.{table.name}",
            "columns": [{"name": name, "type": kind} for name, kind in table.columns],
        }
        if table.rows >= 0:
            described["rows_about"] = table.rows
        if with_rows and table.columns:
            names = ", ".join(_quoted(name) for name, _ in table.columns)
            from_table = f"{_quoted(table.schema)}.{_quoted(table.name)}"
            sample = await _rows(connection, f"SELECT {names} FROM {from_table} LIMIT {_SAMPLES}", _SAMPLES)  # noqa: S608 - names of the catalog, quoted
            described["sample"] = sample["rows"]
        return described

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[tuple["Connection[Record]", _Catalog]]:
        # asyncpg is of an extra that a machine without PostgreSQL lacks.
        import asyncpg  # noqa: PLC0415

        try:
            connection = cast("Connection[Record]", await asyncpg.connect(self._source.address.get_secret_value(), **_options(self._source.entry)))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            raise _unavailable(type(error).__name__) from None
        catalog: _Catalog | None = None
        try:
            async with asyncio.timeout(self._source.entry.timeout_s + 2), connection.transaction(readonly=True):
                await self._step_down(connection)
                catalog = await _catalog(connection, self._source.entry)
                yield connection, catalog
            await connection.close(timeout=1)
        except TimeoutError:
            raise _too_slow(self._source.entry) from None
        except asyncpg.PostgresError as error:
            raise _explained(error, catalog, self._source.entry) from None
        except (OSError, asyncpg.InterfaceError) as error:
            raise _unavailable(type(error).__name__) from None
        finally:
            # Without a farewell where something went wrong: it would wait for a query that is still running.
            if not connection.is_closed():
                connection.terminate()

    async def _step_down(self, connection: "Connection[Record]") -> None:
        if self._source.entry.role is not None:
            await connection.execute(f"SET LOCAL ROLE {_quoted(self._source.entry.role)}")
        if not self._source.entry.allow_superuser and await connection.fetchval(_SPECIAL):
            raise WorkRefused(
                "not_allowed", "the database's user is a superuser, as whom nothing is read; its operator must name an ordinary user or role"
            )


async def _catalog(connection: "Connection[Record]", entry: Database) -> _Catalog:
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    rows: dict[tuple[str, str], int] = {}
    others: set[str] = set()
    for record in await connection.fetch(_RELATIONS):
        key = (str(record["schema"]), str(record["name"]))
        if record["is_granted"] and _is_listed(key, str(record["kind"]), entry):
            columns = found.setdefault(key, [])
            rows[key] = int(record["rows"])
            if record["column"] is not None:
                columns.append((str(record["column"]), str(record["type"])))
        else:
            others.add(key[1])
    tables = [_Table(schema, name, columns, rows[schema, name]) for (schema, name), columns in found.items()]
    # The server looks names up where we do, so that both mean the same table.
    await connection.execute("SET LOCAL search_path TO " + ", ".join(_quoted(schema) for schema in entry.schemas))
    return _Catalog(tables, Relations(frozenset(found), tuple(entry.schemas), frozenset(others)))


def _is_listed(key: tuple[str, str], kind: str, entry: Database) -> bool:
    if key[0] not in entry.schemas:
        return False
    if entry.tables is None:
        return kind != "f"
    return ".".join(key) in entry.tables or key[1] in entry.tables


async def _rows(connection: "Connection[Record]", query: str, count: int) -> dict[str, Any]:
    statement = await connection.prepare(query)
    attributes = statement.get_attributes()
    if not attributes:
        raise WorkRefused("not_allowed", "the query gives no columns; select at least one")
    shown = ", ".join(_shown(f"c{number}", attribute.type.name) for number, attribute in enumerate(attributes))
    names = ", ".join(f"c{number}" for number in range(len(attributes)))
    outer = f"SELECT {shown} FROM ({query}) AS q({names}) LIMIT {count + 1}"  # noqa: S608 - the query has been judged, the names are ours
    records = await connection.fetch(outer)
    kinds = [attribute.type.name for attribute in attributes]
    return {
        "columns": [str(attribute.name) for attribute in attributes],
        "rows": [[_cell(value, kind) for value, kind in zip(record.values(), kinds, strict=True)] for record in records[:count]],
        "has_more": len(records) > count,
    }


def _shown(name: str, kind: str) -> str:
    if kind in _PLAIN_TYPES:
        return name
    return f"'<' || octet_length({name}) || ' bytes>'" if kind == "bytea" else f"left({name}::text, {MAX_CELL_CHARS + 1})"


def _cell(value: object, kind: str) -> Cell:
    return cell(Decimal(value)) if kind == "numeric" and isinstance(value, str) and len(value) <= MAX_CELL_CHARS else cell(value)


def _options(entry: Database) -> dict[str, Any]:
    limit = str(int(entry.timeout_s * 1000))
    settings = {
        "default_transaction_read_only": "on",
        "statement_timeout": limit,
        "lock_timeout": "1000",
        "idle_in_transaction_session_timeout": str(int(limit) + 10_000),
        # What a string means must be the same for the one who judges and the one who runs.
        "standard_conforming_strings": "on",
        "application_name": "tandem-sql",
    }
    return {"timeout": _CONNECT_S, "command_timeout": entry.timeout_s + 1, "server_settings": settings, "statement_cache_size": 0}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unavailable(what: str) -> WorkRefused:
    return WorkRefused("database_unavailable", f"the database cannot be reached ({what}); try again later, or its operator must look at it")


def _too_slow(entry: Database) -> WorkRefused:
    return WorkRefused("timeout", f"the query ran longer than {entry.timeout_s:g} s; filter earlier, join on a condition, or aggregate less")


def _explained(error: Exception, catalog: _Catalog | None, entry: Database) -> WorkRefused:
    from asyncpg import exceptions  # noqa: PLC0415 - see above

    message = str(error).partition("\n")[0][:300]
    match error:
        case exceptions.QueryCanceledError() | exceptions.LockNotAvailableError():
            return _too_slow(entry)
        case exceptions.UndefinedColumnError():
            names = list(dict.fromkeys(name for table in (catalog.tables if catalog else ()) for name, _ in table.columns))
            wanted = message.split('"')[1].rpartition(".")[2] if '"' in message else message
            return WorkRefused("unknown_column", f"{message}; {close_names(wanted, names)}")
        case exceptions.InsufficientPrivilegeError() | exceptions.ReadOnlySQLTransactionError():
            return WorkRefused("not_allowed", f"{message}; only the described tables may be read, and nothing can be changed")
        case _:
            return WorkRefused("query_failed", f"{message}; change the query")
