"""When a schedule comes next: five cron fields read in an IANA time zone. Pure functions; the moment to start from comes in by argument.

The reading is Debian cron's. A schedule of fixed times (neither minute nor hour begins with ``*``) keeps to the clock on the wall: a time that
daylight saving skips runs right after the gap, one that it repeats runs once. Any other (``*/15 * * * *``) keeps to elapsed time.

The search ends after fifty years; the slowest answer, "never", takes about 25 ms (measured).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from tandem.errors import InvalidRequest

_FIELDS: Final = ("minute", "hour", "day-of-month", "month", "day-of-week")
_EXAMPLE: Final = "'0 9 * * 1-5' is 9:00 from Monday to Friday"
_NO_ZONES: Final = frozenset({"Factory", "posixrules", "localtime"})
"""Names among the zone files that are no place's time."""


def next_run(cron: str, timezone: str, after: datetime) -> datetime | None:
    """The first moment after ``after`` (aware), in UTC; None when there is none within fifty years. Both texts have been checked."""
    try:
        moments = CronSim(cron, after.astimezone(ZoneInfo(timezone)))
    except CronSimError:  # every field is right and no month of the fourth has the day of the third
        return None
    # In the hour that daylight saving repeats, the walk along the wall's clock first passes moments that are over.
    return next((moment for each in moments if (moment := each.astimezone(UTC)) > after), None)


def first_run(cron: str, timezone: str, after: datetime) -> datetime:
    """Check both texts and return the first moment after ``after``.

    Raises:
        InvalidRequest: A field or the zone cannot be read, or the schedule never comes; ``param`` is ``cron`` or ``timezone``.
    """
    _check_cron(cron)
    _check_timezone(timezone)
    moment = next_run(cron, timezone, after)
    if moment is None:
        raise InvalidRequest(f"'cron' {cron!r} never comes: no date has that day; name a day that exists ({_EXAMPLE})", param="cron")
    return moment


def _check_cron(cron: str) -> None:
    parts = cron.split()
    if cron.strip().startswith("@"):
        raise InvalidRequest(f"'cron' {cron!r} is a shorthand, which is not read here; write the five fields: {_EXAMPLE}", param="cron")
    if len(parts) != len(_FIELDS):
        hint = "seconds and years are not offered" if len(parts) > len(_FIELDS) else "minute, hour, day of month, month, day of week"
        raise InvalidRequest(f"'cron' {cron!r} has {len(parts)} fields, five are needed ({hint}): {_EXAMPLE}", param="cron")
    for place, part in enumerate(parts):
        if not _is_readable(place, parts):
            raise InvalidRequest(f"'cron' {cron!r} has a bad {_FIELDS[place]} field {part!r}; write it like crontab(5): {_EXAMPLE}", param="cron")


def _is_readable(place: int, parts: Sequence[str]) -> bool:
    """Whether one field can be read, whatever the others are."""
    alone = ["*"] * len(parts)
    alone[place] = parts[place]
    try:
        CronSim(" ".join(alone), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


def _check_timezone(timezone: str) -> None:
    if timezone not in _zones():
        raise InvalidRequest(f"'timezone' {timezone!r} is no IANA name; write one such as 'Europe/Berlin' or 'UTC'", param="timezone")


@cache
def _zones() -> frozenset[str]:
    """Every name of the time zone database; each has a file in the ``tzdata`` package if the system has none."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split()) - _NO_ZONES


__all__ = ["first_run", "next_run"]
