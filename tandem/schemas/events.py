"""Events: the append-only log behind every stream, page and progress line.

One log per job and one per thread. ``sequence_number`` starts at 0, has no gaps, and is at once the page cursor, the SSE id and ``starting_after``.
"""

from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from tandem.schemas.base import JsonObject, Wire


class JobEvent:
    """Types in a job's log. Event 0 is CREATED; the last is exactly one of TERMINAL."""

    CREATED: Final = "response.created"
    QUEUED: Final = "response.queued"
    IN_PROGRESS: Final = "response.in_progress"
    SCHEDULED: Final = "response.tandem.scheduled"
    """``{run_at}``."""
    DEFERRED: Final = "response.tandem.deferred"
    """Its model server is away: ``{status, run_at, reason: {code, message}}``."""
    PAUSING: Final = "response.tandem.pausing"
    PAUSED: Final = "response.tandem.paused"
    INPUT_REQUIRED: Final = "response.tandem.input_required"
    """An ``InputRequest``; one event per question."""
    INPUT_RECEIVED: Final = "response.tandem.input_received"
    """``{input_id, key, decision, value}``."""
    INPUT_EXPIRED: Final = "response.tandem.input_expired"
    """``{input_id, key}``."""
    STEERED: Final = "response.tandem.steer.received"
    """A ``Steer``."""
    STEER_APPLIED: Final = "response.tandem.steer.applied"
    """``{steer_id, step}``."""
    CHANGED: Final = "response.tandem.changed"
    """``{budget, priority, metadata}`` as they are now."""
    ARTIFACT_CREATED: Final = "response.tandem.artifact.created"
    """An ``Artifact``."""
    CANCELLING: Final = "response.tandem.cancelling"
    ATTEMPT_STARTED: Final = "response.tandem.attempt.started"
    """A worker claimed the job: ``{attempt}``."""
    ATTEMPT_LOST: Final = "response.tandem.attempt.lost"
    """A worker's lease ran out: ``{attempt}``."""
    PLAN_CREATED: Final = "response.tandem.plan.created"
    """``{steps: [PlanStep]}``."""
    STEP_STARTED: Final = "response.tandem.step.started"
    """``{step_id, title}``."""
    STEP_COMPLETED: Final = "response.tandem.step.completed"
    """``{step_id, title, note}``."""
    SOLUTION_ATTEMPTED: Final = "response.tandem.solution.attempted"
    """One try at the answer: an ``Attempt``."""
    TOOL_STARTED: Final = "response.tandem.tool.started"
    """``{tool, call_id, arguments, arguments_digest}``; the arguments are redacted, the digest stands for the whole."""
    TOOL_PROGRESS: Final = "response.tandem.tool.progress"
    """A long call is alive: ``{tool, call_id, note}``."""
    TOOL_COMPLETED: Final = "response.tandem.tool.completed"
    """``{tool, call_id, ok, summary}``."""
    VERIFICATION_PASSED: Final = "response.tandem.verification.passed"
    """A ``Check``."""
    VERIFICATION_FAILED: Final = "response.tandem.verification.failed"
    """A ``Check``."""
    BUDGET_WARNING: Final = "response.tandem.budget.warning"
    """A meter has passed four fifths: ``{meter, spent, limit}``."""
    BUDGET_REACHED: Final = "response.tandem.budget.reached"
    """``{message}``."""
    ITEM_ADDED: Final = "response.output_item.added"
    """``{item_id, output_index, item_type}``; ``item_type`` is ``reasoning`` (the progress, index 0) or ``message``."""
    ITEM_DONE: Final = "response.output_item.done"
    """``{item_id, output_index, item_type}``."""
    PART_ADDED: Final = "response.content_part.added"
    """``{item_id, output_index, content_index}``."""
    PART_DONE: Final = "response.content_part.done"
    """``{item_id, output_index, content_index}``."""
    TEXT_DELTA: Final = "response.output_text.delta"
    """``{delta, item_id, output_index, content_index}``."""
    TEXT_DONE: Final = "response.output_text.done"
    """``{text, item_id, output_index, content_index}``."""
    TEXT_RESET: Final = "response.tandem.text.reset"
    """``{item_id, output_index}``: what was streamed of this message is void, because its worker was lost; the next message starts anew."""
    COMPLETED: Final = "response.completed"
    FAILED: Final = "response.failed"
    CANCELLED: Final = "response.cancelled"
    INCOMPLETE: Final = "response.incomplete"

    TERMINAL: Final = frozenset({COMPLETED, FAILED, CANCELLED, INCOMPLETE})
    PARKED: Final = frozenset({INPUT_REQUIRED, PAUSED, BUDGET_REACHED})
    """From here on nothing happens until somebody acts."""


class ThreadEvent:
    """Types in a thread's log."""

    MESSAGE_CREATED: Final = "message.created"
    """A stored message, user's or assistant's: a ``ThreadMessage``."""
    TURN_STARTED: Final = "turn.started"
    """``{turn_id, message_id}``."""
    TURN_DECIDED: Final = "turn.decided"
    """``{turn_id, decision_id, lane, p_slow, override}``."""
    TEXT_DELTA: Final = "text.delta"
    """``{turn_id, delta}``."""
    TURN_CHECKED: Final = "turn.checked"
    """A fast answer was tested: ``{turn_id, passed, confidence, reasons, job_id}``; after a failed test ``job_id`` is the job that works it out anew,
    and null when none could be started."""
    TURN_COMPLETED: Final = "turn.completed"
    """``{turn_id, message_id, job_id}``; always after the MESSAGE_CREATED of its answer."""
    TURN_FAILED: Final = "turn.failed"
    """``{turn_id, error: {code, message}}``."""
    TURN_CANCELLED: Final = "turn.cancelled"
    """``{turn_id}``."""
    JOB_UPDATED: Final = "job.updated"
    """``{job_id, status, view, inputs, inbox, last_seq}``: the job's newest state, for its card."""

    TURN_ENDS: Final = frozenset({TURN_COMPLETED, TURN_FAILED, TURN_CANCELLED})


STREAM_RESET: Final = "stream.reset"
"""Sent, never stored: the reader's cursor is older than the oldest event kept, or unknown. ``{reason, snapshot}``; its number is the snapshot's."""


class Event(Wire):
    """One entry of a log."""

    type: str
    sequence_number: int = Field(ge=0)
    created_at: datetime
    stream_id: str
    """Job or thread id."""
    data: JsonObject = Field(default_factory=dict)


class EventPage(Wire):
    """A page of events, oldest first."""

    object: Literal["list"] = "list"
    data: list[Event]
    next_after: int
    """Pass it as ``after`` to read on; equals the request's ``after`` when nothing was newer."""
    is_reset: bool = False
    """True when events after the request's ``after`` are no longer kept: read the job (or the messages) for its state; the page begins at the
    oldest event kept."""
    is_final: bool
    """True when no event can follow: the job is terminal and this page reaches its end. Always false for threads."""
