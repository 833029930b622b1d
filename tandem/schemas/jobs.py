"""Jobs on the wire: what a caller submits, what a caller reads back, and the names that gateway and worker share."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue, StringConstraints

from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.chat import ChatMessage
from tandem.schemas.inputs import InputRequest, Steer
from tandem.schemas.moments import Moment
from tandem.schemas.routing import Effort
from tandem.schemas.text import CleanText, TextCheck
from tandem.schemas.tools import Citation

RUN_JOB_TASK: Final = "tandem.run_job"
"""Celery task that claims and runs one job, whichever is next; it has no arguments. A hint, never the truth."""
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

    @property
    def is_parked(self) -> bool:
        """No worker holds the job, and nothing happens until somebody acts."""
        return self in PARKED_STATUSES


TERMINAL_STATUSES: Final = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INCOMPLETE})
PARKED_STATUSES: Final = frozenset({JobStatus.INPUT_REQUIRED, JobStatus.PAUSED, JobStatus.BUDGET_REACHED})

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


class Document(Wire):
    """A text the job may use."""

    name: CleanText = Field(min_length=1, max_length=200)
    text: CleanText = Field(min_length=1)


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
    documents: list[Document] = Field(default_factory=list[Document], max_length=64)
    """Texts to work from."""
    files: list[str] = Field(default_factory=list[str], max_length=32)
    """Ids of uploaded files that its tools may read."""
    approvals: Literal["ask", "refuse"] = "ask"
    """What to do where a tool call needs somebody's approval: wait for it as ``input_required``, or go on without the call."""
    webhook_url: str | None = Field(default=None, max_length=2_048)
    """Gets one signed POST when the job ends, beside the endpoints."""
    webhook_endpoints: list[str] | None = Field(default=None, max_length=64)
    """Ids of the endpoints that hear of this job; null means all that subscribe, an empty list none."""
    priority: int = Field(default=5, ge=0, le=9)
    """0 is served first. It orders the jobs of one API key; keys take turns. A waiting job gains a level every ``TANDEM_WORKER_AGEING_S``."""
    run_at: Moment | None = None
    """Not before this moment: the job is ``scheduled`` until then."""
    deadline: Moment | None = None
    """The answer is of no use afterwards: a job that has not ended then ends ``incomplete`` with the best so far."""
    on_budget: Literal["finish", "wait"] = "finish"
    """What to do when the budget is reached: end as ``incomplete``, or wait as ``budget_reached`` for ``PATCH`` to raise it."""
    review_plan: bool = False
    """Ask for approval of the plan before it is carried out."""
    parent_id: str | None = None
    """Job that this one is part of; it is cancelled with it."""
    thread_id: str | None = None
    """Conversation in which progress and result shall appear."""


class JobChange(Wire):
    """Body of ``PATCH /v1/jobs/{id}``; what is left out stays."""

    budget: Budget | None = None
    """Its given limits replace those of the job, the others stay. A job that waits in ``budget_reached`` goes on."""
    priority: int | None = Field(default=None, ge=0, le=9)
    metadata: dict[MetadataKey, MetadataValue] | None = Field(default=None, max_length=16)
    """Replaces all pairs."""


class JobCancel(Wire):
    """Body of ``POST /v1/jobs/{id}/cancel``, which may be left out."""

    mode: Literal["interrupt", "rollback"] = "interrupt"
    """``rollback`` also discards the job's artifacts, checkpoints and recorded steps, and puts no message into its thread."""


class JobRetry(Wire):
    """Body of ``POST /v1/jobs/{id}/retry``, which may be left out. A retry is a new job: an ended one never changes."""

    start: Literal["last_checkpoint", "start"] = Field(default="last_checkpoint", alias="from")
    """``last_checkpoint`` takes over every recorded step of the ended job, so that only what failed is done anew."""
    budget: Budget = Budget()
    """Its given limits replace those of the ended job."""


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


class Artifact(Wire):
    """A file that a job has made."""

    id: str
    object: Literal["artifact"] = "artifact"
    name: str
    media_type: str
    size: int
    """Bytes."""
    created_at: datetime


class ArtifactPage(Wire):
    """All files of a job, oldest first."""

    object: Literal["list"] = "list"
    data: list[Artifact]


class JobResult(Wire):
    """What the worker commits at the end."""

    output_text: str = ""
    answer: JsonValue = None
    """Typed by the contract: text, number, chosen string, code, or JSON value."""
    confidence: float | None = Field(default=None, ge=0.0, le=1.0)
    """Share of the votes behind the answer; not yet calibrated."""
    verification: Verification | None = None
    effort_used: Effort | None = None
    citations: list[Citation] = Field(default_factory=list[Citation])
    """Where what the answer rests on stands."""
    usage: Usage = Usage()


class Job(Wire):
    """A job as the doors show it."""

    id: str
    object: Literal["job"] = "job"
    status: JobStatus
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    run_at: datetime | None = None
    deadline: datetime | None = None
    attempt: int = 0
    """How many workers have claimed it so far."""
    lost: int = 0
    """How many of them died or froze."""
    is_pausing: bool = False
    """A pause was asked for, and the worker has not reached a point to stop at."""
    parent_id: str | None = None
    retry_of: str | None = None
    """The ended job that this one tries again."""
    schedule_id: str | None = None
    response_id: str | None = None
    """Its name at ``/v1/responses``; null when it came through another door."""
    effort: Effort
    request: JobRequest
    tools: list[str] | None = None
    """What it may use: what the request asked for, the platform, the tenant and the key allow; settled when it was submitted."""
    view: JobView
    inputs: list[InputRequest] = Field(default_factory=list[InputRequest])
    """What it asked, answered or not."""
    inbox: list[Steer] = Field(default_factory=list[Steer])
    """What people added to it."""
    artifacts: list[Artifact] = Field(default_factory=list[Artifact])
    output_text: str | None = None
    """Of a job in ``budget_reached``: the best so far."""
    answer: JsonValue = None
    confidence: float | None = None
    verification: Verification | None = None
    citations: list[Citation] = Field(default_factory=list[Citation])
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
