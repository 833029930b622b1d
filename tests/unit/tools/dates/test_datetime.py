"""Time and calendar, on a clock that stands still."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from tandem.ports import Tool
from tandem.schemas.tools import ToolResult
from tandem.testing.suites.tool import CONTEXT, ToolConformance
from tools.dates.durations import Duration, added, between
from tools.dates.tool import DatetimeTool
from tools.wrappers import guarded

NOW = datetime(2026, 12, 1, 15, 30, tzinfo=UTC)
TOOL = guarded(DatetimeTool(lambda: NOW))


async def call(action: str, **arguments: JsonValue) -> ToolResult:
    return await TOOL.run({"action": action, **arguments}, CONTEXT)


async def give(action: str, **arguments: JsonValue) -> dict[str, Any]:
    result = await call(action, **arguments)
    assert result.ok, result.error
    assert isinstance(result.output, dict)
    return result.output


class TestDatetime(ToolConformance):
    @pytest.fixture
    def tool(self) -> Tool:
        return TOOL

    @pytest.fixture
    def good_arguments(self) -> dict[str, JsonValue]:
        return {"action": "now"}


@pytest.mark.parametrize(
    ("zone", "iso"),
    [
        ("UTC", "2026-12-01T15:30:00+00:00"),
        ("Asia/Shanghai", "2026-12-01T23:30:00+08:00"),
        ("纽约", "2026-12-01T10:30:00-05:00"),
        ("new york", "2026-12-01T10:30:00-05:00"),
        ("Beijing", "2026-12-01T23:30:00+08:00"),
        ("+05:30", "2026-12-01T21:00:00+05:30"),
    ],
)
async def test_now_in_a_zone(zone: str, iso: str) -> None:
    assert (await give("now", zone=zone))["iso"] == iso


@pytest.mark.parametrize(
    ("when", "iso"),
    [
        ("2026-12-01", "2026-12-01T00:00:00"),
        ("2026/12/1 9:05", "2026-12-01T09:05:00"),
        ("2026-12-01T15:00:30", "2026-12-01T15:00:30"),
        ("1 December 2026 3pm", "2026-12-01T15:00:00"),
        ("Dec 1st, 2026 at 12:15 am", "2026-12-01T00:15:00"),
        ("Tuesday, 1 December 2026", "2026-12-01T00:00:00"),
        ("29 Feb 2028 noon", "2028-02-29T12:00:00"),
        ("tomorrow 3pm", "2026-12-02T15:00:00"),
        ("17:45", "2026-12-01T17:45:00"),
        ("2026年12月1日下午3点", "2026-12-01T15:00:00"),
        ("2026年12月1日晚上8点半", "2026-12-01T20:30:00"),
        ("二〇二六年十二月一日上午九点一刻", "2026-12-01T09:15:00"),
        ("１２月３１日　２３：５９", "2026-12-31T23:59:00"),
        ("明天中午12点", "2026-12-02T12:00:00"),
        ("后天", "2026-12-03T00:00:00"),
        ("2026年12月1日星期二", "2026-12-01T00:00:00"),
        ("现在", "2026-12-01T15:30:00"),
    ],
)
async def test_dates_are_read_as_people_write_them(when: str, iso: str) -> None:
    assert (await give("read", when=when))["iso"].startswith(iso)


async def test_a_date_has_its_weekday_week_and_day_of_the_year() -> None:
    assert await give("read", when="2027-01-01") == {
        "iso": "2027-01-01T00:00:00+00:00",
        "zone": "UTC",
        "weekday": "Friday",
        "week": "2026-W53",
        "day_of_year": 1,
        "unix": 1798761600,
    }


async def test_converting_keeps_the_instant() -> None:
    output = await give("convert", when="2026-07-01 09:00", zone="Europe/Berlin", to_zone="America/New_York")

    assert output["to"]["iso"] == "2026-07-01T03:00:00-04:00"
    assert output["from"]["unix"] == output["to"]["unix"]


async def test_an_offset_in_the_text_goes_before_the_zone() -> None:
    assert (await give("convert", when="2026-12-01T15:00:00Z", to_zone="东京"))["to"]["iso"] == "2026-12-02T00:00:00+09:00"


@pytest.mark.parametrize(
    ("when", "duration", "iso"),
    [
        ("2026-01-31", "1 month", "2026-02-28T00:00:00+00:00"),
        ("2024-02-29", "1 year", "2025-02-28T00:00:00+00:00"),
        ("2026-03-31", "-1 month", "2026-02-28T00:00:00+00:00"),
        ("2026-12-01 10:00", "2 months 3 days 90 minutes", "2027-02-04T11:30:00+00:00"),
        ("2026-12-04", "1 business day", "2026-12-07T00:00:00+00:00"),
        ("2026-12-05", "1 business day", "2026-12-07T00:00:00+00:00"),
        ("2026-12-05", "5 business days", "2026-12-11T00:00:00+00:00"),
        ("2026-12-07", "-1 business day", "2026-12-04T00:00:00+00:00"),
        ("2026-12-01", "3个工作日", "2026-12-04T00:00:00+00:00"),
        ("2026-12-01", "2周零1天", "2026-12-16T00:00:00+00:00"),
    ],
)
async def test_durations_are_added_by_the_calendar(when: str, duration: str, iso: str) -> None:
    assert (await give("add", when=when, duration=duration))["iso"] == iso


async def test_a_day_keeps_the_clocks_time_over_a_change_and_twenty_four_hours_do_not() -> None:
    berlin = {"when": "2026-10-24 12:00", "zone": "Europe/Berlin"}

    assert (await give("add", duration="1 day", **berlin))["iso"] == "2026-10-25T12:00:00+01:00"
    assert (await give("add", duration="24 hours", **berlin))["iso"] == "2026-10-25T11:00:00+01:00"


async def test_a_local_time_that_happens_twice_or_never_is_said() -> None:
    twice = await give("read", when="2026-10-25 02:30", zone="Europe/Berlin")
    never = await give("read", when="2026-03-29 02:30", zone="Europe/Berlin")

    assert (twice["iso"], "happens twice" in twice["note"]) == ("2026-10-25T02:30:00+02:00", True)
    assert (never["iso"], "does not exist" in never["note"]) == ("2026-03-29T03:30:00+02:00", True)


async def test_a_difference_is_given_in_hours_in_calendar_terms_and_in_working_days() -> None:
    output = await give("difference", when="2026-01-31", until="2026-03-01 12:00")

    assert (output["days"], output["hours"]) == (29.5, 708.0)
    assert output["calendar"] == {"years": 0, "months": 1, "days": 1}
    assert output["business_days"] == 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"action": "convert", "when": "2026-12-01"}, "needs `to_zone`"),
        ({"action": "add", "when": "2026-12-01"}, "needs `duration`"),
        ({"action": "now", "zone": "CST"}, "there is no time zone 'CST'"),
        ({"action": "now", "zone": "Asia/Shangai"}, "Asia/Shanghai"),
        ({"action": "now", "zone": "../../etc/passwd"}, "there is no time zone"),
        ({"action": "now", "zone": "+99:00"}, "there is no time zone"),
        ({"action": "read", "when": "03/04/2026"}, "can mean two days"),
        ({"action": "read", "when": "2026-02-30"}, "is no date"),
        ({"action": "read", "when": "2026-12-01 25:00"}, "is no time of day"),
        ({"action": "read", "when": "next blue moon"}, "not read as a date"),
        ({"action": "read", "when": "2026-12-01 3pm EST"}, "name a time zone in `zone`"),
        ({"action": "add", "when": "2026-12-01", "duration": "a while"}, "is no duration"),
        ({"action": "add", "when": "2026-12-01", "duration": "9000 years"}, "years 1 to 9999"),
        ({"action": "add", "when": "2026-12-01", "duration": "9999999 business days"}, "years 1 to 9999"),
    ],
)
async def test_what_cannot_be_answered_says_what_to_write(arguments: dict[str, JsonValue], says: str) -> None:
    result = await TOOL.run(arguments, CONTEXT)

    assert result.error is not None
    assert says in result.error.message, result.error.message


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(-400, 400))
@settings(deadline=None)
def test_working_days_added_are_counted_back(start: date, count: int) -> None:
    begun = datetime(start.year, start.month, start.day, tzinfo=UTC)
    reached = added(begun, Duration(business_days=count)).date()

    if count and start.weekday() < 5:
        assert reached.weekday() < 5
        assert between(start, reached)[3] == count


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.dates(date(1900, 1, 1), date(2100, 1, 1)))
@settings(deadline=None)
def test_a_difference_added_to_the_first_day_is_the_second(one: date, other: date) -> None:
    one, other = sorted((one, other))
    years, months, days, working = between(one, other)

    assert added(datetime(one.year, one.month, one.day, tzinfo=UTC), Duration(years=years, months=months)).date() + timedelta(days=days) == other
    assert working == sum((one + timedelta(days=step)).weekday() < 5 for step in range(1, (other - one).days + 1))


WORDS = st.text(st.sampled_from("0123456789-/:.年月日点分半下午 tT+Zapm明天十二") | st.characters(), max_size=25)


@given(
    st.dictionaries(
        st.sampled_from(["when", "until", "duration", "zone", "to_zone"]),
        WORDS | st.sampled_from(["2026-12-01", "UTC", "1 day", "9999-12-31", "0001-01-01"]),
    ),
    st.sampled_from(["now", "convert", "add", "difference", "read"]),
)
@settings(deadline=None, max_examples=300)
async def test_no_arguments_make_it_raise(arguments: dict[str, JsonValue], action: str) -> None:
    result = await call(action, **arguments)

    assert result.ok is (result.error is None)
