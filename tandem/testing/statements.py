"""What the stores ask of a database: the reading statements as they are run, and how SQLite means to answer them."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

Statement = tuple[str, Any]
"""SQL with its parameters."""


@contextmanager
def watched_selects() -> Generator[list[Statement]]:
    """Every SELECT of any engine in this process, as long as the context lasts."""
    seen: list[Statement] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def plans_of(path: Path, statements: Sequence[Statement]) -> dict[str, str]:
    """SQLite's plan of each statement, on one line."""
    connection = sqlite3.connect(path)
    try:
        return {sql: " / ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)) for sql, parameters in statements}
    finally:
        connection.close()
