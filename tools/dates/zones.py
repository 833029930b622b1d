"""Time zones by name, and local times that a change of the clock makes twofold or skips. Pure."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from tools.confined.work import WorkRefused
from tools.naming import close_names

_CITIES: Final = {
    "beijing": "Asia/Shanghai",
    "北京": "Asia/Shanghai",
    "上海": "Asia/Shanghai",
    "中国": "Asia/Shanghai",
    "香港": "Asia/Hong_Kong",
    "台北": "Asia/Taipei",
    "东京": "Asia/Tokyo",
    "首尔": "Asia/Seoul",
    "新加坡": "Asia/Singapore",
    "伦敦": "Europe/London",
    "巴黎": "Europe/Paris",
    "柏林": "Europe/Berlin",
    "莫斯科": "Europe/Moscow",
    "纽约": "America/New_York",
    "洛杉矶": "America/Los_Angeles",
    "旧金山": "America/Los_Angeles",
    "san francisco": "America/Los_Angeles",
    "悉尼": "Australia/Sydney",
    "utc": "UTC",
    "gmt": "UTC",
    "z": "UTC",
}


def zone_named(name: str) -> tzinfo:
    """A zone by its IANA name, its city's name, or an offset such as ``+08:00``.

    Raises:
        WorkRefused: There is no such zone; an abbreviation such as CST means several.
    """
    plain = name.strip()
    if (offset := _offset(plain)) is not None:
        return offset
    names = available_timezones()
    by_city = {each.rpartition("/")[2].replace("_", " ").casefold(): each for each in sorted(names) if "/" in each and not each.startswith("Etc/")}
    wanted = _CITIES.get(plain.casefold()) or next((each for each in names if each.casefold() == plain.casefold() and "/" in each), None)
    wanted = wanted or by_city.get(plain.replace("_", " ").casefold())
    if wanted is None:
        near = close_names(plain, sorted(each for each in names if "/" in each))
        raise WorkRefused(
            "unknown_zone", f"there is no time zone {plain[:60]!r}; {near[:200]}; use an IANA name such as Europe/Berlin or an offset such as +08:00"
        )
    try:
        return ZoneInfo(wanted)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise WorkRefused("unknown_zone", f"the time zone {wanted!r} is not on this machine; use an offset such as +08:00") from None


def placed(local: datetime, zone: tzinfo) -> tuple[datetime, str]:
    """A local time in its zone, and what a reader should know of it: that the clock shows it twice (the first is taken) or never."""
    early, late = local.replace(tzinfo=zone, fold=0), local.replace(tzinfo=zone, fold=1)
    if early.utcoffset() == late.utcoffset():
        return early, ""
    through = early.astimezone(UTC).astimezone(zone)
    if through.replace(tzinfo=None) != local:
        return through, f"{local:%Y-%m-%d %H:%M} does not exist in {zone}: the clock is put forward over it; taken as {through:%H:%M}"
    return early, f"{local:%Y-%m-%d %H:%M} happens twice in {zone}; the first one ({early:%z}) is taken, the second is {late:%z}"


def _offset(text: str) -> tzinfo | None:
    sign = text[:1]
    digits = text[1:].replace(":", "")
    if sign not in {"+", "-"} or not digits.isascii() or not digits.isdigit() or len(digits) not in {2, 4}:
        return None
    delta = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    if delta >= timedelta(hours=24):
        return None
    return timezone(delta if sign == "+" else -delta)
