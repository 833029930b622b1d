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
    """``{tool, call_id}``."""
    TOOL_COMPLETED: Final = "response.tandem.tool.completed"
    """``{tool, call_id, ok, summary}``."""
    VERIFICATION_PASSED: Final = "response.tandem.verification.passed"
    """A ``Check``."""
    VERIFICATION_FAILED: Final = "response.tandem.verification.failed"
    """A ``Check``."""
    BUDGET_REACHED: Final = "response.tandem.budget.reached"
    TEXT_DELTA: Final = "response.output_text.delta"
    """``{delta}``."""
    TEXT_DONE: Final = "response.output_text.done"
    """``{text}``."""
    COMPLETED: Final = "response.completed"
    FAILED: Final = "response.failed"
    CANCELLED: Final = "response.cancelled"
    INCOMPLETE: Final = "response.incomplete"

    TERMINAL: Final = frozenset({COMPLETED, FAILED, CANCELLED, INCOMPLETE})


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
    TURN_COMPLETED: Final = "turn.completed"
    """``{turn_id, message_id, job_id}``; always after the MESSAGE_CREATED of its answer."""
    TURN_FAILED: Final = "turn.failed"
    """``{turn_id, error: {code, message}}``."""
    TURN_CANCELLED: Final = "turn.cancelled"
    """``{turn_id}``."""
    JOB_UPDATED: Final = "job.updated"
    """``{job_id, status, view, last_seq}``: the job's newest state, for its card."""

    TURN_ENDS: Final = frozenset({TURN_COMPLETED, TURN_FAILED, TURN_CANCELLED})


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
    is_final: bool
    """True when no event can follow: the job is terminal and this page reaches its end. Always false for threads."""
