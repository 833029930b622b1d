"""Values of a database as JSON cells of bounded length. Light, for the child imports it too."""

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

MAX_ROWS: Final = 200
MAX_CELL_CHARS: Final = 500
_LARGEST_INT: Final = 2**63 - 1
_EXACT_DIGITS: Final = 15

Cell = str | int | float | bool | None


def cell(value: object) -> Cell:
    """The value; a long text is cut and marked, bytes are counted, a number that JSON would round stays a text."""
    match value:
        case None | bool():
            return value
        case int():
            return value if abs(value) <= _LARGEST_INT else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return _number(value)
        case str():
            return value if len(value) <= MAX_CELL_CHARS else value[:MAX_CELL_CHARS] + "…"
        case bytes():
            return f"<{len(value)} bytes>"
        case datetime():
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case timedelta() | UUID():
            return str(value)
        case _:
            return cell(str(value))


def _number(value: Decimal) -> Cell:
    if not value.is_finite() or len(value.as_tuple().digits) > _EXACT_DIGITS:
        return str(value)[:MAX_CELL_CHARS]
    return int(value) if value == value.to_integral_value() and abs(value) <= _LARGEST_INT else float(value)
