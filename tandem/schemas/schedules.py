"""Jobs that come again and again."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tandem.schemas.base import Wire
from tandem.schemas.jobs import JobFailure, JobRequest
from tandem.schemas.text import CleanText

Overlap = Literal["skip", "allow"]
"""What to do when the job before has not ended: leave this turn out, or start beside it."""


class ScheduleCreate(Wire):
    """Body of ``POST /v1/schedules``."""

    name: CleanText = Field(min_length=1, max_length=200)
    cron: str = Field(min_length=1, max_length=200)
    """Five fields (minute, hour, day of month, month, day of week), as Debian's cron reads them."""
    timezone: str = Field(default="UTC", max_length=64)
    """IANA name. A time that daylight saving skips runs right after the gap; one that it repeats runs once."""
    request: JobRequest
    """What each job is; without ``run_at`` and ``parent_id``."""
    overlap: Overlap = "skip"
    is_enabled: bool = True


class ScheduleChange(Wire):
    """Body of ``PATCH /v1/schedules/{id}``; what is left out stays."""

    name: CleanText | None = Field(default=None, min_length=1, max_length=200)
    cron: str | None = Field(default=None, min_length=1, max_length=200)
    timezone: str | None = Field(default=None, max_length=64)
    request: JobRequest | None = None
    overlap: Overlap | None = None
    is_enabled: bool | None = None


class Schedule(Wire):
    """A schedule as the doors show it."""

    id: str
    object: Literal["schedule"] = "schedule"
    name: str
    cron: str
    timezone: str
    request: JobRequest | None
    """Null when what is stored is no request any more (a version before this one allowed it): set it anew. Its next turn switches it off."""
    overlap: Overlap
    is_enabled: bool
    next_run_at: datetime | None
    """Null while it is off."""
    last_run_at: datetime | None = None
    last_job_id: str | None = None
    last_error: JobFailure | None = None
    """Why the newest turn made no job, or one without tools."""
    created_at: datetime


class SchedulePage(Wire):
    """The tenant's schedules, newest first."""

    object: Literal["list"] = "list"
    data: list[Schedule]
    next_after: str | None = None
