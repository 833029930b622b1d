"""Spreadsheets with openpyxl, streaming: one page per sheet, one line per row, values as last computed. Formulas and macros are not run."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, time
from io import BytesIO

# openpyxl loads NumPy where it is installed, which takes ten times as long as everything else here and serves nothing.
sys.modules.setdefault("numpy", None)  # pyright: ignore[reportArgumentType] - Python's way to say that a module must not be imported

from openpyxl import load_workbook  # noqa: E402 - after the line above

from tools.confined.work import Done, Json  # noqa: E402
from tools.documents.formats.pages import Pages, check_archive, row  # noqa: E402

_MOST_CELLS = 2_000_000
_MOST_BLANK_ROWS = 1_000


def work(request: Json, parts: Sequence[bytes]) -> Done:
    """The rows of every sheet; the label of a page is the sheet's name."""
    check_archive(parts[0])
    pages = Pages(request)
    for name, rows in sheets(parts[0]):
        if not pages.add(f"# {name}\n\n" + "\n".join(row([shown(value) for value in cells]) for cells in rows), name):
            break
    return pages.done("sheet", "the workbook has no values")


def sheets(content: bytes) -> Iterator[tuple[str, Iterator[Sequence[object]]]]:
    """The sheets with their rows, without empty ones."""
    book = load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
    for sheet in book.worksheets:
        yield str(sheet.title), _rows(sheet.iter_rows(values_only=True))


def _rows(rows: Iterable[Sequence[object]]) -> Iterator[Sequence[object]]:
    """Rows with a value, up to a number of cells; a sheet that claims a million empty rows ends after some of them."""
    cells, blank = 0, 0
    for values in rows:
        last = max((index for index, value in enumerate(values) if value is not None), default=-1)
        cells, blank = cells + len(values), 0 if last >= 0 else blank + 1
        if cells > _MOST_CELLS or blank > _MOST_BLANK_ROWS:
            return
        if last >= 0:
            yield values[: last + 1]


def shown(value: object) -> str:
    """A cell as text."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time(0) else value.isoformat(" ")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
