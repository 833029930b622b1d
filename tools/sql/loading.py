"""CSV, spreadsheets and JSON of a job to an SQLite database in memory, in the child; gives back its bytes and what is in it.

The first row names the columns. A column is a number where every value is one; a number with leading zeros is a name (a postcode) and stays a text; a
date in a usual spelling becomes ISO, so that it sorts. Formulas are not run.
"""

import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from importlib import import_module
from itertools import islice
from typing import Any, cast

from tools.confined.work import Done, Json, WorkRefused
from tools.documents.formats.decoding import decoded
from tools.documents.formats.pages import check_archive, clean
from tools.sql.lite import described

_MOST_ROWS = 200_000
_MOST_CELLS = 4_000_000
_MOST_COLUMNS = 500
_SNIFFED = 8_192
_LARGEST = 2**63 - 1
_EMPTY = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "—", "#n/a"})
_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_REAL = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)?\.\d+|(?:0|[1-9]\d{0,14})\.?)(?:[eE][+-]?\d{1,3})?")
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?")
_Table = tuple[str, Iterable[Sequence[object]]]


def work(request: Json, parts: Sequence[bytes]) -> Done:
    """One table per file, per sheet of a workbook, or per list of a JSON object."""
    connection = sqlite3.connect(":memory:")
    notes: list[str] = []
    taken: set[str] = set()
    for file, content in zip(request["files"], parts, strict=True):
        tables = list(_tables(file["name"], file["kind"], content))
        for name, rows in tables:
            table = _fresh(_identifier(file["name"].rpartition(".")[0] or file["name"]) + (f"_{_identifier(name)}" if len(tables) > 1 else ""), taken)
            _fill(connection, table, rows, notes)
    names = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")]
    if not names:
        raise WorkRefused("no_table", "there is no row of data; the first row must name the columns")
    connection.commit()
    return Done({"tables": [described(connection, name) for name in names], "notes": notes}, connection.serialize())


def _tables(name: str, kind: str, content: bytes) -> Iterator[_Table]:
    if kind == "sheet":
        check_archive(content)
        # Late, for it loads openpyxl, which a CSV does not need.
        sheets = import_module("tools.documents.formats.sheet").sheets
        yield from ((title, list(rows)) for title, rows in cast("Iterable[_Table]", sheets(content)))
    elif kind == "json":
        yield from _lists(decoded(content)[0])
    else:
        yield name, _csv_rows(decoded(content)[0], name)


def _csv_rows(text: str, name: str) -> Iterator[Sequence[object]]:
    text = clean(text)
    sample = text[:_SNIFFED].partition("\n")[0]
    delimiter = "\t" if name.lower().endswith(".tsv") else max((",", ";", "\t", "|", "，"), key=sample.count)
    csv.field_size_limit(1024 * 1024)
    return (cells for cells in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in cells))


def _lists(text: str) -> Iterator[_Table]:
    try:
        value: object = json.loads(text)
    except ValueError:
        # JSON Lines: an object per line.
        value = [json.loads(line) for line in text.splitlines() if line.strip()]
    lists = cast("dict[str, object]", value) if isinstance(value, dict) else {"rows": value}
    for name, items in lists.items():
        if isinstance(items, list) and items and all(isinstance(item, dict) for item in cast("list[object]", items)):
            records = cast("list[dict[str, Any]]", items)
            columns = list(dict.fromkeys(key for record in records[:_MOST_ROWS] for key in record))
            yield name, [columns, *([_flat(record.get(column)) for column in columns] for record in records)]


def _flat(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _fill(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]], notes: list[str]) -> None:
    remaining = iter(rows)
    header = next(remaining, None)
    if header is None:
        return
    columns = _column_names(header)
    most = min(_MOST_ROWS, _MOST_CELLS // len(columns))
    data = [_padded(row, len(columns)) for row in islice(remaining, most)]
    if next(remaining, None) is not None:
        notes.append(f"{table}: only the first {most} rows were loaded")
    typed = [_typed([row[index] for row in data]) for index in range(len(columns))]
    definition = ", ".join(f'"{name}" {kind}' for name, (kind, _) in zip(columns, typed, strict=True))
    connection.execute(f'CREATE TABLE "{table}" ({definition})')
    slots = ", ".join("?" * len(columns))
    connection.executemany(f'INSERT INTO "{table}" VALUES ({slots})', zip(*(values for _, values in typed), strict=True))  # noqa: S608 - our own names


def _column_names(header: Sequence[object]) -> list[str]:
    taken: set[str] = set()
    if len(header) > _MOST_COLUMNS:
        raise WorkRefused("too_large", f"it has {len(header)} columns; at most {_MOST_COLUMNS} can be asked about")
    return [_fresh(_identifier(str(cell if cell is not None else "")) or f"column_{number}", taken) for number, cell in enumerate(header, 1)]


def _identifier(text: str) -> str:
    """A name that needs no quotes; letters of any script stay."""
    name = re.sub(r"\W+", "_", text.strip()).strip("_")[:60]
    return f"_{name}" if name[:1].isdigit() else name


def _fresh(name: str, taken: set[str]) -> str:
    name = name or "table"
    unique, number = name, 2
    while unique.casefold() in taken:
        unique, number = f"{name}_{number}", number + 1
    taken.add(unique.casefold())
    return unique


def _padded(row: Sequence[object], width: int) -> list[object]:
    return [*row[:width], *[None] * (width - len(row))]


def _typed(values: Sequence[object]) -> tuple[str, Sequence[object]]:
    """The column's type and its values in it."""
    plain = [_plain(value) for value in values]
    texts = [value.strip() for value in plain if isinstance(value, str)]
    numbers = [value for value in plain if isinstance(value, int | float)]
    if not texts:
        return ("REAL" if any(isinstance(value, float) for value in numbers) else "INTEGER" if numbers else "TEXT"), plain
    if any(text.lower() not in _EMPTY for text in texts):
        for kind, pattern, convert in _CONVERSIONS:
            if not (numbers and kind == "DATE") and all(text.lower() in _EMPTY or pattern.fullmatch(text) for text in texts):
                return kind, [_converted(value.strip(), convert) if isinstance(value, str) else value for value in plain]
    return "TEXT", [None if value is None or value == "" else str(value) for value in plain]


def _converted(text: str, convert: Callable[[str], object]) -> object:
    return None if text.lower() in _EMPTY else convert(text)


def _plain(value: object) -> str | int | float | None:
    match value:
        case bool():
            return int(value)
        case int() if abs(value) > _LARGEST:
            return str(value)
        case None | int() | float() | str():
            return value
        case datetime():
            return value.date().isoformat() if (value.hour, value.minute, value.second) == (0, 0, 0) else value.isoformat(" ")
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _real(text: str) -> float:
    return float(text.replace(",", ""))


def _iso(text: str) -> str:
    year, month, day = (int(part) for part in re.findall(r"\d+", text))
    return f"{year:04}-{month:02}-{day:02}"


_CONVERSIONS: tuple[tuple[str, re.Pattern[str], Callable[[str], object]], ...] = (
    ("INTEGER", _WHOLE, int),
    ("REAL", _REAL, _real),
    ("REAL", re.compile(f"{_WHOLE.pattern}|{_REAL.pattern}|{_GROUPED.pattern}"), _real),
    ("DATE", _DATE, _iso),
)
