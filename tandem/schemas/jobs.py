"""Jobs on the wire: what a caller submits, what a caller reads back, and the names that gateway and worker share."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue, StringConstraints

from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.chat import ChatMessage
from tandem.schemas.routing import Effort
from tandem.schemas.text import CleanText, TextCheck

RUN_JOB_TASK: Final = "tandem.run_job"
"""Celery task that runs one job; its only argument is the job id. A hint, never the truth."""
AUTOPILOT_QUEUE: Final = "autopilot"
"""Celery queue of the hints."""


class JobStatus(StrEnum):
    """Where a job stands. The last four never change."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    INPUT_REQUIRED = "input_required"
    PAUSED = "paused"
    BUDGET_REACHED = "budget_reached"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL_STATUSES


TERMINAL_STATUSES: Final = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INCOMPLETE})

AnswerKind = Literal["text", "number", "choice", "code", "json"]
VerificationLevel = Literal["V4", "V3", "V2", "V1", "V0"]
"""Trust in the check that accepted the answer: V4 tests or an exact solver, V3 an executed program agrees or a schema holds,
V2 agreement of different strategies, V1 agreement within one strategy, V0 nothing but the model's word."""

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64), TextCheck]
MetadataValue = Annotated[str, StringConstraints(max_length=512), TextCheck]


class AnswerContract(Wire):
    """The form the caller wants the answer in; it is checked before the job completes."""

    kind: AnswerKind = "text"
    json_schema: JsonObject | None = Field(default=None, alias="schema")
    """JSON Schema the answer must satisfy; only with ``kind: json``."""
    choices: list[CleanText] | None = Field(default=None, min_length=2, max_length=64)
    """The allowed answers; required with ``kind: choice``, refused otherwise."""


class Budget(Wire):
    """Hard limits of one job, checked before each call. What is left out is filled from the effort's defaults."""

    max_calls: int | None = Field(default=None, ge=1, le=1_000)
    """Model calls."""
    max_tokens: int | None = Field(default=None, ge=64, le=10_000_000)
    """Prompt and generated tokens together."""
    max_seconds: float | None = Field(default=None, ge=1, le=86_400)
    """Seconds of work; time in the queue is not counted."""
    max_tool_calls: int | None = Field(default=None, ge=0, le=1_000)
    """Tool calls."""
    max_cost_usd: float | None = Field(default=None, ge=0, le=10_000)
    """US dollars at the served models' configured prices; a model without a price costs nothing."""


class JobRequest(Wire):
    """Body of ``POST /v1/jobs``."""

    input: CleanText | list[ChatMessage]
    """The task, as text or as a conversation whose last message is the task."""
    answer: AnswerContract = AnswerContract()
    effort: Effort | None = None
    """How hard to think; null lets the router choose."""
    budget: Budget = Budget()
    tools: list[str] | None = Field(default=None, max_length=64)
    """Names of tools the job may use; null means all that are offered, an empty list none."""
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=16)
    webhook_url: str | None = Field(default=None, max_length=2_048)
    """Gets one signed POST when the job ends."""
    priority: int = Field(default=5, ge=0, le=9)
    """0 is served first."""
    thread_id: str | None = None
    """Conversation in which progress and result shall appear."""


class Usage(Wire):
    """What a job has spent."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    seconds: float = 0.0
    cost_usd: float = 0.0


class PlanStep(Wire):
    """One step of the plan."""

    id: str
    title: str
    state: Literal["pending", "running", "done", "failed", "skipped"] = "pending"


class Attempt(Wire):
    """One complete try at the answer."""

    id: str
    strategy: Literal["cot", "program", "direct"]
    """Chain of thought, a program that is executed, or a plain reply."""
    answer: str | None = None
    """Canonical answer; null when none could be extracted."""
    error: str | None = None
    output_tokens: int = 0
    seconds: float = 0.0


class Check(Wire):
    """One verification that was made."""

    name: str
    level: VerificationLevel
    passed: bool
    detail: str = ""


class Verification(Wire):
    """How far the answer can be trusted."""

    level: VerificationLevel
    checks: list[Check] = Field(default_factory=list[Check])


class LastEvent(Wire):
    """The newest thing that happened, as a fact."""

    seq: int
    at: datetime
    text: str


class JobView(Wire):
    """The one record of a job's course: the worker writes it, the talker and the UI may say nothing beyond it."""

    title: str
    plan: list[PlanStep] = Field(default_factory=list[PlanStep])
    attempts: list[Attempt] = Field(default_factory=list[Attempt])
    last_event: LastEvent | None = None
    usage: Usage = Usage()


class JobFailure(Wire):
    """Why a job did not complete."""

    code: str
    message: str


class JobResult(Wire):
    """What the worker commits at the end."""

    output_text: str = ""
    answer: JsonValue = None
    """Typed by the contract: text, number, chosen string, code, or JSON value."""
    confidence: float | None = Field(default=None, ge=0.0, le=1.0)
    """Share of the votes behind the answer; not yet calibrated."""
    verification: Verification | None = None
    effort_used: Effort | None = None
    usage: Usage = Usage()


class Job(Wire):
    """A job as the doors show it."""

    id: str
    object: Literal["job"] = "job"
    status: JobStatus
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int = 0
    """How many workers have claimed it so far."""
    effort: Effort
    request: JobRequest
    view: JobView
    output_text: str | None = None
    answer: JsonValue = None
    confidence: float | None = None
    verification: Verification | None = None
    usage: Usage = Usage()
    effort_used: Effort | None = None
    error: JobFailure | None = None
    last_seq: int
    """Sequence number of its newest event."""


class JobPage(Wire):
    """A page of jobs, newest first."""

    object: Literal["list"] = "list"
    data: list[Job]
    next_after: str | None = None
    """Pass it as ``after`` to read on; null at the end."""
