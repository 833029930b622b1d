"""What ``Retry-After`` asks for."""

import math
from datetime import UTC, datetime

import pytest

from tools.web.manners import retry_after_s

NOW = datetime(2026, 12, 1, 11, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("１２", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 400, math.inf),
        ("Tue, 01 Dec 2026 11:00:30 GMT", 30.0),
        ("Tue, 01 Dec 2026 10:00:00 GMT", 0.0),
        ("Tue, 01 Dec 2026 11:00:30 -0000", 30.0),
    ],
)
def test_seconds_and_dates_are_read_and_nonsense_is_none(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds
