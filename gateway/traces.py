"""A job's course read from its events and its ledger: steps for people, spans for tools. Pure: reads nothing by itself.

Feed the events in order, in pages of any size; text and bookkeeping are passed over. What a lost or parked attempt left open ends with it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from pydantic import JsonValue

from tandem.ports import Effect
from tandem.schemas.base import JsonObject
from tandem.schemas.events import Event, JobEvent
from tandem.schemas.inputs import Steer
from tandem.schemas.jobs import Job, PlanStep
from tandem.schemas.traces import JobStep, Span, SpanKind

MAX_EVENTS: Final = 50_000
"""Events of one job that are read for a trace; a longer log gives a partial one."""
_TEXT_CHARS: Final = 300
_PARKED: Final = frozenset({JobEvent.PAUSED, JobEvent.QUEUED, JobEvent.INPUT_REQUIRED})
"""Events after which no worker holds the job; BUDGET_REACHED may also come from a worker that goes on to end the job."""
_WORK: Final = frozenset({JobEvent.STEP_STARTED, JobEvent.STEP_COMPLETED, JobEvent.TOOL_STARTED, JobEvent.TOOL_COMPLETED})


@dataclass(slots=True)
class _Open:
    """A span under way."""

    id: str
    parent_id: str | None
    kind: SpanKind
    name: str
    started_at: datetime
    data: JsonObject = field(default_factory=dict[str, JsonValue])


class Course:
    """Collects a job's spans."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._ended: list[Span] = []
        self._attempt: _Open | None = None
        self._steps: dict[str, _Open] = {}
        self._tools: dict[str, _Open] = {}
        self._questions: dict[str, _Open] = {}
        self._idle_since: datetime | None = None
        """When the budget was reached, if nothing was done after it: the job may have been parked then."""

    def feed(self, events: Iterable[Event]) -> None:
        """The next events of the log."""
        for event in events:
            self._read(event)

    def spans(self, effects: Sequence[Effect] = ()) -> list[Span]:
        """The job, then everything else by its start."""
        under_way = [*([self._attempt] if self._attempt else []), *self._steps.values(), *self._tools.values()]
        spans = [
            *self._ended,
            *(_span(item, None, "running") for item in under_way),
            *(_span(item, None, "pending") for item in self._questions.values()),
        ]
        attempts = [span for span in spans if span.kind == "attempt"]
        spans += [_effect_span(self._job, effect, attempts) for effect in effects]
        return [_job_span(self._job), *sorted(spans, key=lambda span: span.started_at)]

    def _read(self, event: Event) -> None:
        at, data, kind = event.created_at, event.data, event.type
        if kind == JobEvent.ATTEMPT_STARTED:
            self._end_attempt(at, "stopped")
            name = f"attempt {data.get('attempt')}"
            self._attempt = _Open(f"{event.sequence_number}", self._job.id, "attempt", name, at)
        elif kind == JobEvent.ATTEMPT_LOST:
            self._end_attempt(at, "lost")
        elif kind in JobEvent.TERMINAL:
            self._end_attempt(at, "failed" if kind == JobEvent.FAILED else "ok")
            self._end_all(self._questions, at, "withdrawn")
        elif kind in _PARKED:
            self._end_attempt(self._idle_since or at, "ok")
        elif kind == JobEvent.BUDGET_REACHED:
            self._idle_since = at
        if kind == JobEvent.INPUT_REQUIRED:
            self._questions[_text(data, "id")] = _Open(
                f"{event.sequence_number}", self._job.id, "input", _text(data, "prompt"), at, _pick(data, "id", "key", "kind")
            )
        elif kind == JobEvent.INPUT_RECEIVED:
            self._end(self._questions, _text(data, "input_id"), at, "answered", _pick(data, "decision"))
        elif kind == JobEvent.INPUT_EXPIRED:
            self._end(self._questions, _text(data, "input_id"), at, "expired")
        else:
            self._read_work(event)

    def _read_work(self, event: Event) -> None:
        if event.type in _WORK:
            self._idle_since = None
        at, data, kind, span_id = event.created_at, event.data, event.type, f"{event.sequence_number}"
        if kind == JobEvent.STEP_STARTED:
            step_id = _text(data, "step_id")
            self._end(self._steps, step_id, at, "stopped")
            self._steps[step_id] = _Open(span_id, self._holder(), "step", _text(data, "title"), at, {"step_id": step_id})
        elif kind == JobEvent.STEP_COMPLETED:
            self._end(self._steps, _text(data, "step_id"), at, "ok", _pick(data, "note"))
        elif kind == JobEvent.TOOL_STARTED:
            self._tools[_text(data, "call_id")] = _Open(span_id, self._worked_on(), "tool", _text(data, "tool"), at)
        elif kind == JobEvent.TOOL_COMPLETED:
            self._end(self._tools, _text(data, "call_id"), at, "ok" if data.get("ok") else "failed", _pick(data, "summary"))
        elif kind in (JobEvent.VERIFICATION_PASSED, JobEvent.VERIFICATION_FAILED):
            status = "ok" if kind == JobEvent.VERIFICATION_PASSED else "failed"
            check = _Open(span_id, self._worked_on(), "check", _text(data, "name"), at, _pick(data, "level", "detail"))
            self._ended.append(_span(check, at, status))

    def _holder(self) -> str:
        return self._attempt.id if self._attempt else self._job.id

    def _worked_on(self) -> str:
        """The step under way, where it is certain which one is meant."""
        return next(iter(self._steps.values())).id if len(self._steps) == 1 else self._holder()

    def _end_attempt(self, at: datetime, status: Literal["ok", "failed", "lost", "stopped"]) -> None:
        self._end_all(self._tools, at, "stopped")
        self._end_all(self._steps, at, "stopped")
        if self._attempt is not None:
            self._ended.append(_span(self._attempt, at, status))
            self._attempt = None
        self._idle_since = None

    def _end_all(self, spans: dict[str, _Open], at: datetime, status: str) -> None:
        for key in list(spans):
            self._end(spans, key, at, status)

    def _end(self, spans: dict[str, _Open], key: str, at: datetime, status: str, data: JsonObject | None = None) -> None:
        if (item := spans.pop(key, None)) is not None:
            item.data |= data or {}
            self._ended.append(_span(item, at, status))


class Steps:
    """Collects what happened to a job's steps."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._steps: dict[str, JobStep] = {step.id: _planned(step) for step in job.view.plan}

    def feed(self, events: Iterable[Event]) -> None:
        """The next events of the log."""
        for event in events:
            if event.type == JobEvent.STEP_STARTED:
                self._note(event, {"state": "running", "started_at": event.created_at, "ended_at": None})
            elif event.type == JobEvent.STEP_COMPLETED:
                self._note(event, {"state": "done", "ended_at": event.created_at, "note": _text(event.data, "note")})

    def collected(self) -> tuple[list[JobStep], list[Steer]]:
        """The steps, each with the words applied at it, and the words that belong to none."""
        words: dict[str, list[Steer]] = {}
        loose: list[Steer] = []
        for steer in self._job.inbox:
            (words.setdefault(steer.applied_step, []) if steer.applied_step in self._steps else loose).append(steer)
        return [step.model_copy(update={"steers": words.get(step.id, [])}) for step in self._steps.values()], loose

    def _note(self, event: Event, seen: dict[str, object]) -> None:
        step_id = _text(event.data, "step_id")
        step = self._steps.get(step_id)
        if step is None:
            step = JobStep(id=step_id, title=_text(event.data, "title"), state="running")
        elif any(planned.id == step_id for planned in self._job.view.plan):
            seen.pop("state")  # the worker's own record of the plan knows better: it also tells failed and skipped steps
        self._steps[step_id] = step.model_copy(update=seen)


def _planned(step: PlanStep) -> JobStep:
    return JobStep(id=step.id, title=step.title, state=step.state)


def _job_span(job: Job) -> Span:
    data: JsonObject = {"effort": job.effort, "attempts": job.attempt, "lost": job.lost, "usage": job.usage.model_dump(mode="json")}
    if job.error:
        data["error"] = job.error.model_dump(mode="json")
    return Span(
        id=job.id, parent_id=None, kind="job", name=job.view.title, started_at=job.created_at, ended_at=job.finished_at, status=job.status, data=data
    )


def _effect_span(job: Job, effect: Effect, attempts: Sequence[Span]) -> Span:
    """A line of the ledger. It keeps one moment, so a recorded effect is a point in time."""
    holder = next(
        (span for span in attempts if span.started_at <= effect.created_at and (span.ended_at or effect.created_at) >= effect.created_at), None
    )
    result = effect.result if isinstance(effect.result, dict) else {}
    failure = result.get("failure")
    data: JsonObject = {"epoch": effect.epoch, "result_bytes": len(json.dumps(effect.result, ensure_ascii=False).encode())}
    data |= {name: result[name] for name in ("usage", "failure", "seconds") if result.get(name) is not None}
    status = "pending" if not effect.is_done else "ok" if failure is None else "failed"
    return Span(
        id=f"effect {effect.key}",
        parent_id=holder.id if holder else job.id,
        kind="effect",
        name=effect.key,
        started_at=effect.created_at,
        ended_at=effect.created_at if effect.is_done else None,
        status=status,
        data=data,
    )


def _span(item: _Open, ended_at: datetime | None, status: str) -> Span:
    return Span(
        id=item.id,
        parent_id=item.parent_id,
        kind=item.kind,
        name=item.name,
        started_at=item.started_at,
        ended_at=ended_at,
        status=status,
        data=item.data,
    )


def _text(data: JsonObject, name: str) -> str:
    value = data.get(name)
    return "" if value is None else str(value)


def _pick(data: JsonObject, *names: str) -> JsonObject:
    return {name: _shortened(data[name]) for name in names if data.get(name) not in (None, "")}


def _shortened(value: JsonValue) -> JsonValue:
    return f"{value[: _TEXT_CHARS - 1]}…" if isinstance(value, str) and len(value) > _TEXT_CHARS else value
