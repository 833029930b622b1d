"""A job's events as lines for people. Says nothing that is not in the event."""

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import JsonValue, ValidationError

from tandem.schemas.events import STREAM_RESET, Event, JobEvent
from tandem.schemas.jobs import Attempt, Check, Job, PlanStep, Verification

Data = Mapping[str, JsonValue]


def describe(event: Event) -> str | None:
    """One line for an event; None for one that is not worth a line, or that this version cannot read."""
    tell = _TELL.get(event.type)
    try:
        return tell(event.data) if tell else None
    except (ValidationError, KeyError):
        return None


def describe_verification(verification: Verification | None) -> str:
    """How far the answer was checked."""
    if verification is None:
        return "not verified"
    passed = [check.name for check in verification.checks if check.passed]
    return f"verified at level {verification.level} by {', '.join(passed)}" if passed else f"not verified (level {verification.level})"


def describe_end(job: Job) -> str:
    """Status, trust and cost of a job that has ended."""
    usage = job.usage
    parts = [job.status.value, describe_verification(job.verification)]
    if job.confidence is not None:
        parts.append(f"{job.confidence:.0%} of the votes")
    parts.append(f"{usage.calls} model calls, {usage.input_tokens + usage.output_tokens} tokens, {usage.seconds:.1f} s of work")
    if job.error:
        parts.append(f"{job.error.code}: {job.error.message}")
    return "; ".join(parts)


def describe_attempt(attempt: Attempt) -> str:
    """One try at the answer."""
    outcome = attempt.answer if attempt.answer is not None else f"no answer ({attempt.error or 'none could be read'})"
    return f"attempt {attempt.id} ({attempt.strategy}): {outcome}  [{attempt.output_tokens} tokens, {attempt.seconds:.1f} s]"


def _plan(data: Data) -> str:
    steps = data["steps"]
    titles = [PlanStep.model_validate(step).title for step in steps] if isinstance(steps, list) else []
    return "plan: " + "; ".join(f"{number}. {title}" for number, title in enumerate(titles, 1))


def _check(data: Data) -> str:
    check = Check.model_validate(data)
    return f"check {check.name} ({check.level}): {'passed' if check.passed else 'failed'}" + (f", {check.detail}" if check.detail else "")


def _tool(data: Data) -> str:
    return f"tool {data['tool']}: {'ok' if data.get('ok') else 'failed'}" + (f", {data['summary']}" if data.get("summary") else "")


def _step(data: Data) -> str:
    return f"done: {data['title']}" + (f" ({data['note']})" if data.get("note") else "")


def _received(data: Data) -> str:
    given = data.get("decision") or data.get("value")
    return f"answered: {given}"


_TELL: Final[Mapping[str, Callable[[Data], str]]] = {
    JobEvent.QUEUED: lambda _: "queued",
    JobEvent.ATTEMPT_STARTED: lambda data: f"a worker has it (run {data['attempt']})",
    JobEvent.ATTEMPT_LOST: lambda data: f"the worker of run {data['attempt']} was lost; another takes over",
    JobEvent.PLAN_CREATED: _plan,
    JobEvent.STEP_STARTED: lambda data: f"step: {data['title']}",
    JobEvent.STEP_COMPLETED: _step,
    JobEvent.SOLUTION_ATTEMPTED: lambda data: describe_attempt(Attempt.model_validate(data)),
    JobEvent.TOOL_STARTED: lambda data: f"tool {data['tool']} runs",
    JobEvent.TOOL_COMPLETED: _tool,
    JobEvent.VERIFICATION_PASSED: _check,
    JobEvent.VERIFICATION_FAILED: _check,
    JobEvent.SCHEDULED: lambda data: f"scheduled for {data['run_at']}",
    JobEvent.DEFERRED: lambda data: f"the model server is away; tried again at {data['run_at']}",
    JobEvent.PAUSING: lambda _: "pausing at the next checkpoint",
    JobEvent.PAUSED: lambda _: "paused",
    JobEvent.INPUT_REQUIRED: lambda data: f"asks ({data['id']}): {data['prompt']}",
    JobEvent.INPUT_RECEIVED: _received,
    JobEvent.INPUT_EXPIRED: lambda _: "nobody answered in time",
    JobEvent.STEERED: lambda data: f"you said: {data['message']}",
    JobEvent.STEER_APPLIED: lambda data: f"your words are taken up at {data['step']}",
    JobEvent.CHANGED: lambda _: "budget, priority or metadata changed",
    JobEvent.ARTIFACT_CREATED: lambda data: f"file {data['name']} ({data['id']})",
    JobEvent.BUDGET_WARNING: lambda data: f"the budget nears its end: {data['spent']} of {data['limit']} {data['meter']}",
    JobEvent.TEXT_RESET: lambda _: "the answer is written anew",
    STREAM_RESET: lambda _: "older events are no longer kept; on from the present state",
    JobEvent.BUDGET_REACHED: lambda _: "the budget is used up; the best answer so far is kept",
    JobEvent.CANCELLING: lambda _: "cancelling",
}
