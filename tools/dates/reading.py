"""Dates and times as people write them in English and Chinese, to a calendar date and a time of day. Pure: today comes in by argument.

Not covered: numeric dates whose order is not plain (03/04/2026) are refused, never guessed; lunar dates and vague words ("next month") are not read.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from tools.confined.work import WorkRefused

_MONTHS: Final = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
_MONTH: Final = "|".join(sorted((name for month in _MONTHS for name in (month, month[:3], "sept")), key=len, reverse=True))
_DIGITS: Final = {sign: value for value, sign in enumerate("〇一二三四五六七八九")} | {"零": 0, "两": 2}
_NUMERAL: Final = re.compile("[〇零一二两三四五六七八九十]+(?=[年月日号点时分秒个天周])")
_DATES: Final = (
    re.compile(r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})"),
    re.compile(r"(?:(?P<y>\d{4})年)?(?P<m>\d{1,2})月(?P<d>\d{1,2})[日号]?"),
    re.compile(rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<n>{_MONTH})\.?,?(?: (?P<y>\d{{4}}))?"),
    re.compile(rf"(?P<n>{_MONTH})\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<y>\d{{4}}))?"),
)
_TIME: Final = re.compile(r"(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:\.\d+)?)?\s*(?P<half>[ap])?\.?m?\.?")
_HALF_TIME: Final = re.compile(r"(?P<h>\d{1,2})\s*(?P<half>[ap])\.?m\.?")
_CHINESE_TIME: Final = re.compile(
    r"(?P<part>凌晨|早上|上午|中午|下午|傍晚|晚上)?(?P<h>\d{1,2})[点时](?:(?P<m>\d{1,2})分?|(?P<mid>半)|(?P<quarter>一刻))?(?:(?P<s>\d{1,2})秒)?"
)
_DAYS: Final = {"today": 0, "now": 0, "tomorrow": 1, "yesterday": -1, "今天": 0, "现在": 0, "明天": 1, "昨天": -1, "后天": 2, "前天": -2}
_OFFSET: Final = re.compile(r"(?<=\d)\s*(?P<zone>z|utc|gmt|[+-]\d{2}:?\d{2})$")
_AMBIGUOUS: Final = re.compile(r"\b\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b")
_FILLER: Final = re.compile(
    r"[\s,，的在]|\b(?:at|on|the)\b|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:mon|tue|wed|thu|fri|sat|sun)\b|(?:周|星期)[一二三四五六日天]"
)
"""What may stand beside a date and a time without changing them."""
_NAMED_TIMES: Final = {"noon": time(12), "midnight": time(0), "正午": time(12), "中午": time(12), "午夜": time(0)}
_LATE: Final = frozenset({"下午", "傍晚", "晚上"})


@dataclass(frozen=True, slots=True)
class Moment:
    """What was written: a date, a time of day where there was one, and an offset from UTC where there was one."""

    local: datetime
    has_time: bool
    offset: timedelta | None = None


def read_moment(text: str, now: datetime) -> Moment:
    """Read a date, with a time or without.

    Args:
        text: As somebody wrote it.
        now: The time where it is read, for "tomorrow" and for a date without a year.

    Raises:
        WorkRefused: It cannot be read, or in two ways.
    """
    plain = _plain(text)
    offset: timedelta | None = None
    if found := _OFFSET.search(plain):
        offset, plain = _offset(found["zone"]), plain[: found.start()]
    if plain in {"now", "现在"}:
        return Moment(now.replace(tzinfo=None), has_time=True)
    day, rest = _day(plain, now.date())
    at, rest = _time_of(rest)
    if left := _FILLER.sub("", rest):
        raise WorkRefused("unread_date", f"{left[:40]!r} in {text[:80]!r} is not understood; leave it out, and name a time zone in `zone`")
    return Moment(datetime.combine(day, at or time(0)), at is not None, offset)


def _plain(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).strip().lower()
    plain = re.sub(r"(?<=\d)t(?=\d)", " ", plain)
    return " ".join(_NUMERAL.sub(lambda found: str(_chinese(found[0])), plain).split())


def _chinese(numeral: str) -> int:
    if "十" not in numeral:
        return int("".join(str(_DIGITS[sign]) for sign in numeral))
    tens, _, ones = numeral.partition("十")
    return (_DIGITS[tens] if tens else 1) * 10 + (_DIGITS[ones] if ones else 0)


def _day(plain: str, today: date) -> tuple[date, str]:
    for word, days in _DAYS.items():
        if word in plain:
            return today + timedelta(days=days), plain.replace(word, " ", 1)
    for pattern in _DATES:
        if found := pattern.search(plain):
            return _date(found, today), _without(plain, found)
    if _AMBIGUOUS.search(plain):
        raise WorkRefused("ambiguous", f"{plain[:60]!r} can mean two days; write the date as 2026-04-03")
    if _time_of(plain)[0] is not None:
        return today, plain
    raise _unread(plain)


def _date(found: "re.Match[str]", today: date) -> date:
    groups = found.groupdict()
    name = groups.get("n")
    month = next(number for number, each in enumerate(_MONTHS, 1) if each.startswith(name[:3])) if name else int(groups["m"])
    try:
        return date(int(groups["y"] or today.year), month, int(groups["d"]))
    except ValueError as error:
        raise WorkRefused("no_such_date", f"{found[0]!r} is no date ({error}); check day and month") from None


def _time_of(text: str) -> tuple[time | None, str]:
    """The time of day in a text, and the text without it."""
    if found := _CHINESE_TIME.search(text):
        minute = 30 if found["mid"] else 15 if found["quarter"] else int(found["m"] or 0)
        hour = int(found["h"])
        hour += 12 if (found["part"] in _LATE or (found["part"] == "中午" and hour < 3)) and hour < 12 else 0
        return _time(hour, minute, int(found["s"] or 0)), _without(text, found)
    if found := _TIME.search(text) or _HALF_TIME.search(text):
        groups = found.groupdict()
        hour = int(groups["h"])
        if groups["half"]:
            hour = hour % 12 + (12 if groups["half"] == "p" else 0)
        return _time(hour, int(groups.get("m") or 0), int(groups.get("s") or 0)), _without(text, found)
    named = next((word for word in _NAMED_TIMES if word in text), None)
    return (_NAMED_TIMES[named], text.replace(named, " ", 1)) if named else (None, text)


def _without(text: str, found: "re.Match[str]") -> str:
    return text[: found.start()] + " " + text[found.end() :]


def _time(hour: int, minute: int, second: int) -> time:
    try:
        return time(hour, minute, second)
    except ValueError as error:
        raise WorkRefused("no_such_time", f"{hour}:{minute:02}:{second:02} is no time of day ({error})") from None


def _offset(zone: str) -> timedelta:
    if zone in {"z", "utc", "gmt"}:
        return timedelta(0)
    digits = zone[1:].replace(":", "")
    return timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) * (-1 if zone[0] == "-" else 1)


def _unread(text: str) -> WorkRefused:
    return WorkRefused(
        "unread_date", f"{text[:80]!r} is not read as a date; write it like 2026-12-01 15:00, 1 December 2026 3pm or 2026年12月1日下午3点"
    )
