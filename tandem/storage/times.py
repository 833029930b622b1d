"""The database's clock, as SQL; leases, retries and time stamps use it and never a process's own.

Moments are stored as seconds since 1970-01-01 UTC in a double: sub-millisecond, comparable and addable on every database.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class DatabaseNow(FunctionElement[float]):
    """Wall clock of the database at the moment the row is written; not frozen at the start of the transaction."""

    type = Double[float](asdecimal=False)
    name = "database_now"
    inherit_cache = True


def db_now() -> DatabaseNow:
    """SQL expression: the database's time in seconds since 1970-01-01 UTC."""
    return DatabaseNow()


def to_datetime(seconds: float) -> datetime:
    """A stored moment as an aware UTC ``datetime``."""
    return datetime.fromtimestamp(seconds, UTC)


def wire_time(seconds: float) -> str:
    """A stored moment as wire objects write it."""
    return to_datetime(seconds).isoformat().replace("+00:00", "Z")


@compiles(DatabaseNow, "sqlite")
def _sqlite_now(_element: DatabaseNow, _compiler: Any, **_options: Any) -> str:
    # unixepoch('subsec') needs SQLite 3.42; 2440587.5 is the Julian day of 1970-01-01.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(DatabaseNow, "postgresql")
def _postgresql_now(_element: DatabaseNow, _compiler: Any, **_options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"
