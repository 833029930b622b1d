"""Durations as a calendar counts them: months of different lengths, working days without weekends. Pure; knows no public holidays."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from tools.confined.work import WorkRefused

_UNITS: Final = {
    "years": ("years", "year", "y", "年"),
    "months": ("months", "month", "mo", "个月", "月"),
    "weeks": ("weeks", "week", "w", "周", "星期", "个星期"),
    "business_days": ("business days", "business day", "working days", "working day", "workdays", "workday", "工作日", "个工作日"),
    "days": ("days", "day", "d", "天", "日"),
    "hours": ("hours", "hour", "hrs", "hr", "h", "小时", "个小时"),
    "minutes": ("minutes", "minute", "mins", "min", "m", "分钟", "分"),
    "seconds": ("seconds", "second", "secs", "sec", "s", "秒"),
}
_NAMES: Final = {spelling: unit for unit, spellings in _UNITS.items() for spelling in spellings}
_PART: Final = re.compile(r"([+-]?\d{1,7})\s*(" + "|".join(sorted(map(re.escape, _NAMES), key=len, reverse=True)) + r")(?![a-z])")
_LARGEST_STEP: Final = 100_000
"""Working days are counted in weeks, so the number costs nothing; it is bounded to stay within the calendar."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Whole numbers of each unit, any sign."""

    years: int = 0
    months: int = 0
    weeks: int = 0
    business_days: int = 0
    days: int = 0
    hours: int = 0
    minutes: int = 0
    seconds: int = 0


def read_duration(text: str) -> Duration:
    """Read ``2 months 3 days``, ``-90 minutes``, ``3个工作日``; a sign before the first number is of all of them.

    Raises:
        WorkRefused: It is no duration.
    """
    plain = text.strip().lower()
    sign = -1 if plain.startswith("-") else 1
    parts = _PART.findall(plain.lstrip("+-"))
    rest = re.sub(r"[\s,]|and|和|零", "", _PART.sub("", plain.lstrip("+-")))
    if not parts or rest:
        raise WorkRefused(
            "unread_duration", f"{text[:60]!r} is no duration; write it like '2 months 3 days', '-90 minutes', '5 business days' or '3个月'"
        )
    amounts: dict[str, int] = {}
    for amount, spelling in parts:
        amounts[_NAMES[spelling]] = amounts.get(_NAMES[spelling], 0) + sign * int(amount)
    return Duration(**amounts)


def added(local: datetime, duration: Duration) -> datetime:
    """A local time moved by the calendar part of a duration; the 31st becomes the last day of a shorter month. Hours and less are not looked at.

    Raises:
        WorkRefused: It leads out of the calendar (years 1 to 9999).
    """
    try:
        months = local.year * 12 + local.month - 1 + duration.years * 12 + duration.months
        year, month = divmod(months, 12)
        moved = local.replace(year=year, month=month + 1, day=1)
        moved = moved.replace(day=min(local.day, monthrange(year, month + 1)[1]))
        moved += timedelta(weeks=duration.weeks, days=duration.days)
        return _working(moved, duration.business_days)
    except (OverflowError, ValueError):
        raise WorkRefused("out_of_range", "it leads out of the calendar, which has the years 1 to 9999") from None


def exact(duration: Duration) -> timedelta:
    """The part of a duration that has the same length everywhere."""
    return timedelta(hours=duration.hours, minutes=duration.minutes, seconds=duration.seconds)


def between(one: date, other: date) -> tuple[int, int, int, int]:
    """From the first day to the second one: years, months and days, and working days after the first up to the second; negative backwards."""
    if other < one:
        years, months, days, working = between(other, one)
        return -years, -months, -days, -working
    months = (other.year - one.year) * 12 + other.month - one.month
    if added(datetime(one.year, one.month, one.day), Duration(months=months)).date() > other:  # noqa: DTZ001 - a calendar day has no zone
        months -= 1
    reached = added(datetime(one.year, one.month, one.day), Duration(months=months)).date()  # noqa: DTZ001
    weeks, rest = divmod((other - one).days, 7)
    working = weeks * 5 + sum((one.weekday() + step) % 7 < 5 for step in range(1, rest + 1))
    return months // 12, months % 12, (other - reached).days, working


def _working(moved: datetime, count: int) -> datetime:
    if abs(count) > _LARGEST_STEP:
        raise OverflowError
    step = 1 if count > 0 else -1
    weeks, rest = divmod(abs(count), 5)
    moved += timedelta(weeks=weeks * step)
    if count and not rest:
        # A whole number of weeks from a weekend ends on the working day that comes last on the way.
        while moved.weekday() >= 5:
            moved -= timedelta(days=step)
    while rest:
        moved += timedelta(days=step)
        rest -= moved.weekday() < 5
    return moved
