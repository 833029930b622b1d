"""A job's course, read from its events and its ledger: steps for people, spans for tools."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.inputs import Steer

SpanKind = Literal["job", "attempt", "step", "effect", "tool", "check", "input"]


class JobStep(Wire):
    """One step of the plan, or of the work when there is no plan."""

    id: str
    object: Literal["job_step"] = "job_step"
    title: str
    state: Literal["pending", "running", "done", "failed", "skipped"]
    started_at: datetime | None = None
    """When it was last begun: a step that a lost worker left unfinished is begun again."""
    ended_at: datetime | None = None
    note: str = ""
    steers: list[Steer] = Field(default_factory=list[Steer])
    """Words of people that were taken up at this step."""


class StepPage(Wire):
    """All steps of a job: the plan's in its order, then others as they came."""

    object: Literal["list"] = "list"
    data: list[JobStep]
    steers: list[Steer] = Field(default_factory=list[Steer])
    """Words of people that belong to no step: taken up elsewhere, or not yet."""
    is_partial: bool = False
    """Some events are no longer kept, or there are more than are read: times and notes may be missing."""


class Span(Wire):
    """Something that took time, or a moment (both times equal)."""

    id: str
    parent_id: str | None
    kind: SpanKind
    name: str
    started_at: datetime
    ended_at: datetime | None
    """Null while it lasts."""
    status: str
    """Of a job, its status; else ``ok``, ``failed``, ``running``, ``lost``, ``stopped`` (cut off by the end of its attempt), ``pending``, or how a
    question ended: ``answered``, ``expired``, ``withdrawn``."""
    data: JsonObject = Field(default_factory=dict)
    """What is known beside: usage, errors, sizes; never whole results."""


class Trace(Wire):
    """A job as spans; the first is the job itself."""

    object: Literal["trace"] = "trace"
    job_id: str
    spans: list[Span]
    is_partial: bool = False
    """Some events are no longer kept, or there are more than are read."""
