"""A response as OpenAI's clients know it, from what is stored of it and its job. Pure.

Every field is one that ``openai.types.responses.Response`` accepts in strict validation; what only Tandem knows is under ``tandem``. The one state
that client has no word for is ``requires_action``: a job that waits for an answer.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

from pydantic import JsonValue

from gateway.chat.progress import Language, progress_line
from gateway.responses.items import output_message, reasoning_item
from tandem.ports import StoredResponse
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import TokenUsage
from tandem.schemas.events import Event, JobEvent
from tandem.schemas.jobs import Job, JobStatus

Status = Literal["queued", "in_progress", "requires_action", "completed", "failed", "cancelled", "incomplete"]
LOST: Final[JsonObject] = {
    "code": "server_error",
    "message": "the gateway that was writing this answer was lost; send the request again",
    "type": "gateway_lost",
    "param": None,
}
_STATUSES: Final[Mapping[JobStatus, Status]] = {
    JobStatus.SCHEDULED: "queued",
    JobStatus.QUEUED: "queued",
    JobStatus.IN_PROGRESS: "in_progress",
    JobStatus.CANCELLING: "in_progress",
    JobStatus.PAUSED: "in_progress",
    JobStatus.INPUT_REQUIRED: "requires_action",
    JobStatus.BUDGET_REACHED: "incomplete",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
    JobStatus.INCOMPLETE: "incomplete",
}
_CALLERS_FAULTS: Final = frozenset({"context_length_exceeded", "invalid_request", "input_too_long", "unknown_tool", "tool_not_offered"})
_ID_CHARS: Final = 26


def is_over(status: Status) -> bool:
    """Whether polling a response can be of use no more."""
    return status not in ("queued", "in_progress", "requires_action")


def status_of(job: Job) -> Status:
    """A job's state in OpenAI's words."""
    return _STATUSES[job.status]


def reasoning_id(job_id: str) -> str:
    """Id of the item that holds a job's progress."""
    return f"rs_{job_id[-_ID_CHARS:]}"


def message_id(job_id: str) -> str:
    """Id of a job's answer where its log names none."""
    return f"msg_{job_id[-_ID_CHARS:]}_1"


def language_of(stored: StoredResponse) -> Language:
    """The language in which progress is told."""
    return cast("Language", _tandem(stored).get("language", "other"))


def render_job(stored: StoredResponse, job: Job, answer_id: str | None = None) -> JsonObject:
    """The response of a job as it stands; ``answer_id`` is the id of its message in the log."""
    status = status_of(job)
    output: list[JsonValue] = []
    if job.attempt:
        output.append(_reasoning(job, language_of(stored), is_done=job.status.is_terminal))
    if (job.status.is_terminal or job.status is JobStatus.BUDGET_REACHED) and (job.output_text or status == "completed"):
        output.append(output_message(answer_id or message_id(job.id), job.output_text or "", is_whole=status == "completed"))
    return _response(
        stored,
        status,
        output=output,
        usage=_usage(job.usage.input_tokens, job.usage.output_tokens) if job.status.is_terminal else None,
        error=_error(job.error.code, job.error.message) if job.error and status == "failed" else None,
        incomplete_reason=_incomplete_reason(job) if status == "incomplete" else None,
        job=job,
    )


def render_begin(stored: StoredResponse, status: Status) -> JsonObject:
    """The response at one of its first events, the same whenever it is read: without output, which the events after it bring."""
    return _response(stored, status)


def render_fast(stored: StoredResponse, *, stale_after_s: float | None = None) -> JsonObject:
    """The response of the fast lane. One still in progress after ``stale_after_s`` has lost its gateway, for no answer is allowed to take so long."""
    if stored.status == "in_progress" and stale_after_s is not None and stored.age_s > stale_after_s:
        return _response(stored, "failed", error=LOST)
    error, reason = stored.error, None
    if stored.status != "failed":
        error, reason = None, str((stored.error or {}).get("reason") or "") or None
    return _response(stored, stored.status, output=list(stored.output), usage=stored.usage, error=error, incomplete_reason=reason)


def check_of(stored: StoredResponse) -> JsonObject | None:
    """How the fast answer was tested, if it was: ``passed``, ``confidence``, ``reasons`` and ``job_id``."""
    check = (stored.error or {}).get("check")
    return check if isinstance(check, dict) else None


def fast_usage(usage: TokenUsage) -> JsonObject:
    """What one model call has spent."""
    return _usage(usage.input_tokens, usage.output_tokens)


def added_usage(known: JsonObject | None, input_tokens: int, output_tokens: int) -> JsonObject:
    """A usage with the tokens of a further answer."""
    counts = [known.get(name) if known else None for name in ("input_tokens", "output_tokens")]
    before = [count if isinstance(count, int) else 0 for count in counts]
    return _usage(before[0] + input_tokens, before[1] + output_tokens)


def error_object(code: str, message: str) -> JsonObject:
    """An error as a response holds it: OpenAI's closed list of codes, ours in ``type``."""
    return _error(code, message)


def _response(
    stored: StoredResponse,
    status: Status,
    *,
    output: Sequence[JsonValue] = (),
    usage: JsonObject | None = None,
    error: JsonObject | None = None,
    incomplete_reason: str | None = None,
    job: Job | None = None,
) -> JsonObject:
    created_at = stored.created_at
    finished_at = job.finished_at if job else stored.finished_at
    repeated = {name: value for name, value in stored.request.items() if name != "tandem"}
    reason = incomplete_reason if incomplete_reason in ("max_output_tokens", "content_filter") else None
    return {
        "id": stored.id,
        "object": "response",
        "created_at": int(created_at.timestamp()) if created_at else 0,
        "completed_at": int(finished_at.timestamp()) if finished_at and status == "completed" else None,
        "status": status,
        "error": error,
        "incomplete_details": {"reason": reason, "tandem_reason": incomplete_reason} if status == "incomplete" else None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "temperature": None,
        "top_p": None,
        "user": None,
        **repeated,
        "metadata": dict[str, JsonValue](job.request.metadata) if job else repeated.get("metadata", {}),
        "previous_response_id": stored.previous_id,
        "output": list(output),
        "usage": usage,
        "tandem": {**_tandem(stored), "job_id": stored.job_id, **_of_check(stored), **(_of_job(job) if job else {})},
    }


def _tandem(stored: StoredResponse) -> JsonObject:
    known = stored.request.get("tandem")
    return known if isinstance(known, dict) else {}


def _of_check(stored: StoredResponse) -> JsonObject:
    check = check_of(stored)
    return {} if check is None else {"check": check, "job_id": check.get("job_id")}


def _of_job(job: Job) -> JsonObject:
    """What only Tandem knows of an answer."""
    verification = job.verification.model_dump(mode="json") if job.verification else None
    error = job.error.model_dump(mode="json") if job.error else None
    asked: list[JsonValue] = [ask.model_dump(mode="json", by_alias=True) for ask in job.inputs if ask.status == "pending"]
    return {
        "job_status": job.status.value,
        "confidence": job.confidence,
        "verification": verification,
        "inputs": asked,
        "error": error,
        "last_seq": job.last_seq,
    }


def _reasoning(job: Job, language: Language, *, is_done: bool) -> JsonObject:
    """The course of the job in the words of its progress lines, from its record alone: reading a response costs the same however long its log is."""
    view = job.view
    facts: list[tuple[str, JsonObject]] = []
    if view.plan:
        facts.append((JobEvent.PLAN_CREATED, {"steps": [step.model_dump(mode="json") for step in view.plan]}))
    facts += [(JobEvent.SOLUTION_ATTEMPTED, attempt.model_dump(mode="json")) for attempt in view.attempts]
    for check in job.verification.checks if job.verification else ():
        facts.append((JobEvent.VERIFICATION_PASSED if check.passed else JobEvent.VERIFICATION_FAILED, check.model_dump(mode="json")))
    events = [Event(type=kind, sequence_number=0, created_at=job.created_at, stream_id=job.id, data=data) for kind, data in facts]
    text = "".join(progress_line(event, language) or "" for event in events)
    return reasoning_item(reasoning_id(job.id), text, "completed" if is_done else "in_progress")


def _usage(input_tokens: int, output_tokens: int) -> JsonObject:
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + output_tokens,
    }


def _error(code: str, message: str) -> JsonObject:
    return {"code": "invalid_prompt" if code in _CALLERS_FAULTS else "server_error", "message": message, "type": code, "param": None}


def _incomplete_reason(job: Job) -> str:
    """Why there is less than was asked: OpenAI's word for a budget, our code for the rest."""
    if job.status is JobStatus.BUDGET_REACHED or job.error is None or job.error.code == "budget_reached":
        return "max_output_tokens"
    return job.error.code
