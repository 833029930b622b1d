"""The ``datetime`` tool. Its clock comes in by argument."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from pydantic import JsonValue

from tandem.ports import ToolContext
from tandem.schemas.tools import ToolExample, ToolResult, ToolSpec
from tools.base import INVALID_ARGUMENTS, refused
from tools.confined.work import WorkRefused
from tools.dates.durations import added, between, exact, read_duration
from tools.dates.reading import read_moment
from tools.dates.zones import placed, zone_named
from tools.offers import Offer, Supplies

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

SPEC: Final = ToolSpec(
    name="datetime",
    description=(
        "Time and calendar. action=now: the time in `zone`; action=convert: `when` in `zone` to `to_zone`; action=add: `when` plus `duration` "
        "(months by the calendar, business days without weekends; a minus goes back); action=difference: from `when` to `until`; action=read: a "
        "written date, its weekday and week. Dates in English or Chinese, zones by IANA name, city (Asia/Shanghai, 纽约) or offset; else UTC."
    ),
    parameters={
        "type": "object",
        "properties": {
            "action": {"type": "string", "enum": ["now", "convert", "add", "difference", "read"]},
            "when": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100,
                "description": "Such as 2026-12-01 15:00, tomorrow 3pm, 2026年12月1日下午3点.",
            },
            "until": {"type": "string", "minLength": 1, "maxLength": 100},
            "duration": {"type": "string", "minLength": 1, "maxLength": 100, "description": "Such as 2 months 3 days, -90 minutes, 5 business days."},
            "zone": {"type": "string", "minLength": 1, "maxLength": 60},
            "to_zone": {"type": "string", "minLength": 1, "maxLength": 60},
        },
        "required": ["action"],
        "additionalProperties": False,
    },
    side_effect="pure",
    timeout_s=5.0,
    examples=[
        ToolExample(arguments={"action": "now", "zone": "Asia/Shanghai"}),
        ToolExample(arguments={"action": "convert", "when": "2026-12-01 15:00", "zone": "Europe/Berlin", "to_zone": "America/New_York"}),
        ToolExample(arguments={"action": "add", "when": "2026-01-31", "duration": "1 month"}),
    ],
)


async def offer(supplies: Supplies) -> Sequence[Offer]:  # noqa: ARG001 - needs nothing of the machine
    """The tool on this machine's clock; it works everywhere."""
    return [Offer(SPEC, DatetimeTool(lambda: datetime.now(UTC)))]


class DatetimeTool:
    """Five questions about time.

    Args:
        clock: The time now, in UTC.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    @property
    def spec(self) -> ToolSpec:
        return SPEC

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:  # noqa: ARG002 - needs no caller
        texts = {name: str(value) for name, value in arguments.items()}
        answer = _ACTIONS[texts["action"]]
        missing = [name for name in answer.needs if not texts.get(name, "").strip()]
        if missing:
            return refused(f"action={texts['action']} needs `{missing[0]}`", INVALID_ARGUMENTS)
        try:
            return ToolResult(ok=True, output=answer.give(texts, self._clock()))
        except WorkRefused as error:
            return refused(error.message, error.code)
        except OverflowError:
            return refused("it leads out of the calendar, which has the years 1 to 9999", "out_of_range")


class _Action:
    def __init__(self, give: Callable[[Mapping[str, str], datetime], dict[str, JsonValue]], *needs: str) -> None:
        self.give = give
        self.needs = needs


def _now(texts: Mapping[str, str], now: datetime) -> dict[str, JsonValue]:
    return _shown(now.astimezone(_zone(texts, "zone")), "")


def _convert(texts: Mapping[str, str], now: datetime) -> dict[str, JsonValue]:
    moment, note = _read(texts, "when", now)
    return {"from": _shown(moment, note), "to": _shown(moment.astimezone(_zone(texts, "to_zone")), "")}


def _add(texts: Mapping[str, str], now: datetime) -> dict[str, JsonValue]:
    moment, note = _read(texts, "when", now)
    duration = read_duration(texts["duration"])
    zone = moment.tzinfo or UTC
    moved, also = placed(added(moment.replace(tzinfo=None), duration), zone)
    # Days keep the time on the clock; hours are counted as they pass.
    moved = (moved.astimezone(UTC) + exact(duration)).astimezone(zone)
    return _shown(moved, "; ".join(each for each in (note, also) if each))


def _difference(texts: Mapping[str, str], now: datetime) -> dict[str, JsonValue]:
    one, note = _read(texts, "when", now)
    other, also = _read(texts, "until", now)
    passed = other.astimezone(UTC) - one.astimezone(UTC)
    years, months, days, working = between(one.date(), other.date())
    output: dict[str, JsonValue] = {
        "days": round(passed / timedelta(days=1), 6),
        "hours": round(passed / timedelta(hours=1), 6),
        "seconds": int(passed.total_seconds()),
        "calendar": {"years": years, "months": months, "days": days},
        "business_days": working,
    }
    notes = [each for each in (note, also) if each]
    return output | ({"note": "; ".join(notes)} if notes else {})


def _written(texts: Mapping[str, str], now: datetime) -> dict[str, JsonValue]:
    return _shown(*_read(texts, "when", now))


_ACTIONS: Final[Mapping[str, _Action]] = {
    "now": _Action(_now),
    "convert": _Action(_convert, "when", "to_zone"),
    "add": _Action(_add, "when", "duration"),
    "difference": _Action(_difference, "when", "until"),
    "read": _Action(_written, "when"),
}


def _zone(texts: Mapping[str, str], name: str) -> tzinfo:
    return zone_named(texts[name]) if texts.get(name, "").strip() else UTC


def _read(texts: Mapping[str, str], name: str, now: datetime) -> tuple[datetime, str]:
    zone = _zone(texts, "zone")
    moment = read_moment(texts[name], now.astimezone(zone))
    if moment.offset is None:
        return placed(moment.local, zone)
    if abs(moment.offset) >= timedelta(hours=24):
        raise WorkRefused("unknown_zone", f"{texts[name][:60]!r} has no possible offset from UTC; write one such as +08:00")
    return moment.local.replace(tzinfo=timezone(moment.offset)).astimezone(zone), ""


def _shown(moment: datetime, note: str) -> dict[str, JsonValue]:
    year, week, _ = moment.isocalendar()
    shown: dict[str, JsonValue] = {
        "iso": moment.isoformat(timespec="seconds"),
        "zone": str(moment.tzinfo),
        "weekday": _WEEKDAYS[moment.weekday()],
        "week": f"{year}-W{week:02}",
        "day_of_year": moment.timetuple().tm_yday,
        "unix": int(moment.timestamp()),
    }
    return shown | ({"note": note} if note else {})
