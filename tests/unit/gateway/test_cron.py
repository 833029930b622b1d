"""When schedules come: daylight saving in both directions, rare dates, and what is refused."""

import time
from datetime import UTC, datetime

import pytest

from gateway.cron import first_run, next_run
from tandem.errors import InvalidRequest

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SEARCH_S = 0.1
"""Twice what the slowest search may take, so that a slow machine does not fail the test."""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def turns(cron: str, timezone: str, after: datetime, count: int) -> list[str]:
    """The next turns as a dispatcher would find them: each from the one before."""
    found: list[str] = []
    for _ in range(count):
        moment = next_run(cron, timezone, after)
        assert moment is not None
        assert moment > after
        assert moment.tzinfo is UTC
        found.append(moment.strftime("%m-%dT%H:%M"))
        after = moment
    return found


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "expected"),
    [
        ("*/15 * * * *", "UTC", "2026-11-22T12:00:00", ["11-22T12:15", "11-22T12:30"]),
        ("0 9 * * 1-5", "Asia/Shanghai", "2026-11-20T00:30:00", ["11-20T01:00", "11-23T01:00"]),
        ("30 9 * * MON", "Asia/Kolkata", "2026-11-22T12:00:00", ["11-23T04:00"]),
        ("0 0 L * *", "UTC", "2026-01-15T00:00:00", ["01-31T00:00", "02-28T00:00"]),
    ],
)
def test_turns_follow_the_wall_clock_of_their_zone(cron: str, timezone: str, after: str, expected: list[str]) -> None:
    assert turns(cron, timezone, utc(after), len(expected)) == expected


@pytest.mark.parametrize(
    ("timezone", "after", "expected"),
    [
        # 29 March 2026: 02:00 CET is followed by 03:00 CEST (01:00 UTC); 8 March 2026: 02:00 EST by 03:00 EDT (07:00 UTC).
        ("Europe/Berlin", "2026-03-28T00:00:00", ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
        ("America/New_York", "2026-03-07T00:00:00", ["03-07T07:30", "03-08T07:00", "03-09T06:30"]),
        ("Asia/Shanghai", "2026-03-28T00:00:00", ["03-28T18:30", "03-29T18:30", "03-30T18:30"]),
    ],
)
def test_a_time_that_daylight_saving_skips_runs_right_after_the_gap(timezone: str, after: str, expected: list[str]) -> None:
    assert turns("30 2 * * *", timezone, utc(after), 3) == expected


def test_two_times_in_one_gap_run_once() -> None:
    assert turns("0,30 2 * * *", "Europe/Berlin", utc("2026-03-29T00:00:00"), 2) == ["03-29T01:00", "03-30T00:00"]


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "expected"),
    [
        # 25 October 2026: 03:00 CEST is followed by 02:00 CET (01:00 UTC); 1 November 2026: 02:00 EDT by 01:00 EST (06:00 UTC).
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00", ["10-25T00:30", "10-26T01:30"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00:00", ["11-01T05:30", "11-02T06:30"]),
    ],
)
def test_a_time_that_daylight_saving_repeats_runs_once(cron: str, timezone: str, after: str, expected: list[str]) -> None:
    assert turns(cron, timezone, utc(after), 2) == expected


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("45 2 * * *", "2026-10-25T01:30:00", "10-26T01:45"),  # 02:30 for the second time: 02:45 was an hour ago
        ("0-59 2 * * *", "2026-10-25T01:00:00", "10-26T01:00"),
        ("0 3 * * *", "2026-10-25T01:30:00", "10-25T02:00"),
    ],
)
def test_a_search_that_starts_in_the_repeated_hour_finds_no_moment_of_the_past(cron: str, after: str, expected: str) -> None:
    assert turns(cron, "Europe/Berlin", utc(after), 1) == [expected]


def test_a_schedule_of_every_half_hour_keeps_to_elapsed_time() -> None:
    expected = ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"]
    assert turns("*/30 * * * *", "Europe/Berlin", utc("2026-10-24T23:45:00"), 5) == expected


def test_a_leap_day_is_waited_for() -> None:
    assert next_run("0 0 29 2 *", "UTC", NOW) == utc("2028-02-29T00:00:00")


def test_parts_of_a_second_do_not_make_a_turn_come_twice() -> None:
    assert next_run("0 12 * * *", "UTC", NOW.replace(microsecond=1)) == utc("2026-11-23T12:00:00")
    assert next_run("0 12 * * *", "UTC", utc("2026-11-22T11:59:59.999999")) == NOW


NEVER = ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 */28 * MON#2", "59 * */16 * MON#2", "0 0 LW * */7", "*/5 2 29 3 */7"]
"""30 February; the 31st of short months; the 1st or 29th that is a second Monday; a last weekday on a Sunday; an hour that is always skipped."""


@pytest.mark.parametrize("cron", NEVER)
def test_a_schedule_that_never_comes_is_refused_and_soon(cron: str) -> None:
    started = time.thread_time()
    with pytest.raises(InvalidRequest, match="never comes") as refused:
        first_run(cron, "Europe/Berlin", NOW)
    assert time.thread_time() - started < SEARCH_S
    assert refused.value.param == "cron"
    assert repr(cron) in refused.value.message


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("* * * *", "has 4 fields, five are needed"),
        ("0 * * * * *", "has 6 fields, five are needed (seconds"),
        ("", "has 0 fields"),
        ("@reboot", "is a shorthand"),
        (" @daily", "is a shorthand"),
        ("61 * * * *", "bad minute field '61'"),
        ("0 24 * * *", "bad hour field '24'"),
        ("0 0 0 * *", "bad day-of-month field '0'"),
        ("0 0 1 13 *", "bad month field '13'"),
        ("0 0 1 * 8", "bad day-of-week field '8'"),
        ("0 0 1 * MON#6", "bad day-of-week field 'MON#6'"),
        ("*/0 * * * *", "bad minute field '*/0'"),
        ("5-1 * * * *", "bad minute field '5-1'"),
        ("٣ * * * *", "bad minute field"),
        ("0 0 * * ²L", "bad day-of-week field"),
        ("0 0 ? * *", "bad day-of-month field '?'"),
    ],
)
def test_a_bad_expression_is_refused_by_the_name_of_its_field(cron: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        first_run(cron, "UTC", NOW)
    assert said in refused.value.message
    assert "is 9:00 from Monday to Friday" in refused.value.message
    assert refused.value.param == "cron"


@pytest.mark.parametrize(
    "timezone", ["Berlin", "europe/berlin", "../etc/passwd", "/etc/localtime", "Europe", "", "UTC+2", "localtime", "zones", "x\0"]
)
def test_a_zone_that_is_no_iana_name_is_refused(timezone: str) -> None:
    with pytest.raises(InvalidRequest, match="no IANA name") as refused:
        first_run("* * * * *", timezone, NOW)
    assert refused.value.param == "timezone"


@pytest.mark.parametrize("timezone", ["UTC", "Etc/GMT+12", "America/Argentina/Buenos_Aires", "Australia/Lord_Howe", "CET"])
def test_every_kind_of_iana_name_is_taken(timezone: str) -> None:
    assert first_run("* * * * *", timezone, NOW) == utc("2026-11-22T12:01:00")
