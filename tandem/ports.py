"""The seams of Tandem: small protocols that rooms depend on, and the values that cross them.

Every port has adapters elsewhere (``tandem/storage``, ``tandem/events``, ``tandem/models``, ``router``, ``tools``, ``gateway/queue.py``) and a
conformance suite in ``tandem/testing``. This module knows no adapter. All times are UTC; leases use the database's clock.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from pydantic import JsonValue

from tandem.ids import DecisionId, DeliveryId, JobId, KeyId, MessageId, StreamId, TenantId, ThreadId, TurnId
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatDelta, ChatReply, ChatRequest
from tandem.schemas.events import Event
from tandem.schemas.jobs import Job, JobFailure, JobRequest, JobResult, JobStatus, JobView
from tandem.schemas.keys import ApiKey, Scope
from tandem.schemas.routing import Decision, Effort, Lane, LaneChoice
from tandem.schemas.threads import Thread, ThreadMessage, Turn
from tandem.schemas.tools import ToolResult, ToolSpec


class Clock(Protocol):
    """Time comes in by argument."""

    def now(self) -> datetime:
        """Wall clock, UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds since some start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class ChatModel(Protocol):
    """A model server, spoken to in whole replies or in pieces."""

    @property
    def name(self) -> str: ...

    async def complete(self, request: ChatRequest) -> ChatReply:
        """One whole reply. Cancelling the call closes the upstream request.

        Raises:
            ModelError: Unavailable, too slow, off-protocol, or the prompt does not fit.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        """The reply in pieces; closing the generator closes the upstream request. Raises like ``complete``, also mid-stream."""
        ...

    async def check(self) -> str:
        """Name of the model that answers; a cheap probe. Raises like ``complete``."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Turns:
    """What the router may know of a conversation: the newest message and what came before it."""

    text: str
    """The newest human message."""
    history: Sequence[str] = ()
    """Earlier human messages, oldest first."""
    previous_lane: Lane | None = None
    choice: LaneChoice = "auto"
    """The lane the caller forces, or ``auto``."""
    effort: Effort | None = None
    """The effort the caller asks for."""


@dataclass(frozen=True, slots=True)
class Score:
    """A classifier's word on one request."""

    p_slow: float
    """P(needs the slow lane), calibrated, 0..1."""
    contributions: Sequence[tuple[str, float]]
    """Largest log-odds contributions, at most five."""


class Classifier(Protocol):
    """A scoring backend of the router."""

    @property
    def version(self) -> str: ...

    def score(self, turns: Turns) -> Score: ...


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Who calls a tool, and for which job."""

    tenant: TenantId
    job_id: JobId
    call_id: str


class Tool(Protocol):
    """Something System 2 may use."""

    @property
    def spec(self) -> ToolSpec: ...

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        """Run once. What the model can repair comes back as ``ok=False``; only defects raise."""
        ...


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it has a sequence number."""

    type: str
    data: JsonObject = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class Appended:
    """A log grew: what a ``Notifier`` is told after the commit."""

    stream: StreamId
    last_seq: int


class EventLog(Protocol):
    """Reads the append-only logs; cost is that of the page, not of the history."""

    async def read(self, stream: StreamId, after: int, limit: int) -> Sequence[Event]:
        """Events with a sequence number above ``after``, oldest first, at most ``limit``. An unknown stream has none."""
        ...

    async def last_seq(self, stream: StreamId) -> int:
        """Newest sequence number; -1 for an empty or unknown stream."""
        ...


class Notifier(Protocol):
    """Says "there is more" between processes; may lose words, so readers also poll."""

    async def notify(self, appended: Sequence[Appended]) -> None:
        """Best effort, bounded in time, never raises for an absent Redis."""
        ...

    def subscribe(self, stream: StreamId) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """Yields once for each wake-up of this stream; coalesces; never ends by itself."""
        ...

    async def is_up(self) -> bool: ...

    async def close(self) -> None: ...


class JobQueue(Protocol):
    """Wakes workers up; the row is the truth."""

    async def hint(self, job_id: JobId) -> bool:
        """Tell workers of a queued job. Bounded in time; false when the broker could not be told (the reaper tries again)."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be created."""

    id: JobId
    tenant: TenantId
    key_id: KeyId | None
    request: JobRequest
    effort: Effort
    title: str
    thread_id: ThreadId | None = None
    decision_id: DecisionId | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    """Digest of the canonical body, compared when the same ``Idempotency-Key`` comes again."""


@dataclass(frozen=True, slots=True)
class Created:
    """A job as stored, and whether an earlier request with the same key had created it."""

    job: Job
    is_replay: bool
    appended: Sequence[Appended] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker owns this job until its lease runs out; every write carries ``epoch``."""

    job_id: JobId
    tenant: TenantId
    epoch: int
    attempt: int
    request: JobRequest
    effort: Effort
    view: JobView
    thread_id: ThreadId | None
    appended: Sequence[Appended] = ()


@dataclass(frozen=True, slots=True)
class LeaseState:
    """Answer to a heartbeat that still owns the job."""

    is_cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ends."""

    status: Literal[JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INCOMPLETE]
    result: JobResult | None = None
    error: JobFailure | None = None


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one sweep over the jobs did."""

    to_hint: Sequence[JobId]
    """Queued jobs whose hint may be lost, and jobs whose lease ran out."""
    failed: Sequence[JobId]
    """Jobs that lost too many workers and were failed with ``worker_lost``."""
    appended: Sequence[Appended] = ()


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Gauges for operators."""

    by_status: Mapping[JobStatus, int]
    oldest_queued_s: float
    """Age of the oldest queued job in seconds; 0 when none waits."""
    last_claim_s: float | None
    """Seconds since a worker last claimed or renewed a lease; null when none ever did."""


class JobStore(Protocol):
    """The truth about jobs. Each method is one transaction; a method that appends events says which logs grew."""

    async def create(self, new: NewJob, *, max_unfinished: int) -> Created:
        """Store the job, its first two events (created, queued) and its idempotency key.

        Raises:
            IdempotencyKeyReused: The key is known with another fingerprint.
            TooManyRequests: The tenant has ``max_unfinished`` unfinished jobs.
            NotFound: ``thread_id`` is not one of the tenant's.
        """
        ...

    async def get(self, job_id: JobId, tenant: TenantId) -> Job:
        """Raises ``NotFound`` also for another tenant's job."""
        ...

    async def list(self, tenant: TenantId, *, status: JobStatus | None, after: JobId | None, limit: int) -> Sequence[Job]:
        """Newest first, those created before ``after``."""
        ...

    async def request_cancel(self, job_id: JobId, tenant: TenantId) -> tuple[Job, Sequence[Appended]]:
        """A queued job is cancelled at once, a running one becomes ``cancelling``; idempotent; a terminal job is returned unchanged."""
        ...

    async def claim(self, job_id: JobId, worker: str, lease_s: float, max_attempts: int) -> Claim | None:
        """Own the job if it is queued or its lease ran out; raises epoch and attempt. None when somebody else owns it or it has ended."""
        ...

    async def heartbeat(self, job_id: JobId, epoch: int, lease_s: float) -> LeaseState:
        """Extend the lease. Raises ``LeaseLost`` when the epoch is stale or the job has ended."""
        ...

    async def append(self, job_id: JobId, epoch: int, events: Sequence[NewEvent], view: JobView | None = None) -> Sequence[Appended]:
        """Append events and store the view; mirrors the view to the job's thread as JOB_UPDATED when given. Raises ``LeaseLost``."""
        ...

    async def finish(self, job_id: JobId, epoch: int, outcome: Outcome, view: JobView | None = None) -> Sequence[Appended]:
        """Terminal status, terminal event, outbox row and, in a thread, the assistant message: one transaction. Raises ``LeaseLost``."""
        ...

    async def release(self, job_id: JobId, epoch: int) -> None:
        """Give a claimed job back to the queue at once (a worker that stops). Raises ``LeaseLost``."""
        ...

    async def reap(self, *, rehint_after_s: float, max_attempts: int, limit: int = 100) -> Reaped:
        """Find jobs whose hint or worker is lost; fail those out of attempts; cancel those that were cancelling when their worker died."""
        ...

    async def recall_effect(self, job_id: JobId, key: str) -> JsonValue | None:
        """The recorded result of an effect, or None."""
        ...

    async def record_effect(self, job_id: JobId, epoch: int, key: str, result: JsonValue) -> JsonValue:
        """Record once; returns what stands in the ledger (an earlier result wins). Raises ``LeaseLost``."""
        ...

    async def counts(self) -> JobCounts: ...


@dataclass(frozen=True, slots=True)
class TurnWork:
    """A turn the gateway has accepted and now owns."""

    turn: Turn
    user_message: ThreadMessage
    appended: Sequence[Appended]


class ThreadStore(Protocol):
    """Conversations, messages and turns."""

    async def create(self, thread_id: ThreadId, tenant: TenantId, title: str) -> Thread: ...

    async def get(self, thread_id: ThreadId, tenant: TenantId) -> Thread: ...

    async def list(self, tenant: TenantId, *, after: ThreadId | None, limit: int) -> Sequence[Thread]: ...

    async def messages(self, thread_id: ThreadId, tenant: TenantId, *, after_seq: int, limit: int) -> Sequence[ThreadMessage]:
        """Oldest first."""
        ...

    async def live_after(self, thread_id: ThreadId, tenant: TenantId) -> int:
        """Sequence number just before the first event of the oldest unfinished turn, else the newest one."""
        ...

    async def running_jobs(self, thread_id: ThreadId, tenant: TenantId) -> Sequence[JobId]: ...

    async def begin_turn(
        self, thread_id: ThreadId, tenant: TenantId, turn_id: TurnId, message_id: MessageId, content: str, lease_s: float
    ) -> TurnWork:
        """Store the user's message and the running turn; events MESSAGE_CREATED, TURN_STARTED."""
        ...

    async def append(self, turn_id: TurnId, events: Sequence[NewEvent], lease_s: float) -> Sequence[Appended]:
        """Append to the turn's thread and extend the turn's lease. Raises ``Conflict`` when the turn has ended (cancelled)."""
        ...

    async def complete_turn(
        self, turn_id: TurnId, message_id: MessageId, content: str, *, lane: Lane, decision_id: DecisionId | None, job_id: JobId | None
    ) -> Sequence[Appended]:
        """Store the answer, then MESSAGE_CREATED and TURN_COMPLETED, in one transaction. Raises ``Conflict`` when the turn has ended."""
        ...

    async def fail_turn(self, turn_id: TurnId, error: JobFailure) -> Sequence[Appended]:
        """Store the failure as an assistant message with ``error``; no effect on a turn that has ended."""
        ...

    async def cancel_turn(self, turn_id: TurnId, thread_id: ThreadId, tenant: TenantId) -> tuple[Turn, Sequence[Appended]]:
        """Idempotent; an ended turn is returned unchanged."""
        ...

    async def fail_orphans(self) -> Sequence[Appended]:
        """Fail running turns whose gateway died (lease over) with ``turn_interrupted``."""
        ...


class KeyStore(Protocol):
    """API keys; only digests are stored."""

    async def add(self, key_id: KeyId, tenant: TenantId, name: str, scopes: Sequence[Scope], digest: bytes) -> ApiKey: ...

    async def find(self, key_id: KeyId) -> tuple[ApiKey, bytes] | None:
        """The key and its digest, revoked ones included."""
        ...

    async def list(self) -> Sequence[ApiKey]: ...

    async def revoke(self, key_id: KeyId) -> ApiKey:
        """Idempotent. Raises ``NotFound``."""
        ...


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """A decision with what replay needs."""

    id: DecisionId
    tenant: TenantId
    decision: Decision
    text_chars: int
    door: Literal["chat", "jobs", "threads"]


class DecisionLog(Protocol):
    """Every routing decision, for replay."""

    async def add(self, decisions: Sequence[LoggedDecision]) -> None: ...

    async def recent(self, tenant: TenantId, limit: int) -> Sequence[LoggedDecision]: ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook to be sent; claimed by one dispatcher until its lease runs out."""

    id: DeliveryId
    """Also the ``webhook-id``: the same at each retry."""
    job_id: JobId
    tenant: TenantId
    url: str
    body: bytes
    """Exact bytes, made once; signed anew per attempt."""
    attempt: int
    """1 for the first."""


class Outbox(Protocol):
    """Webhook deliveries, written with the state change that caused them."""

    async def claim(self, limit: int, lease_s: float) -> Sequence[Delivery]:
        """Deliveries that are due; no two dispatchers get the same one while its lease holds."""
        ...

    async def succeed(self, delivery: Delivery, status_code: int) -> None: ...

    async def retry(self, delivery: Delivery, after_s: float, reason: str) -> None:
        """Due again in ``after_s`` seconds."""
        ...

    async def give_up(self, delivery: Delivery, reason: str) -> None: ...

    async def counts(self) -> Mapping[str, int]:
        """Deliveries by state: ``pending``, ``delivered``, ``failed``."""
        ...


class Storage(Protocol):
    """All stores over one database."""

    @property
    def jobs(self) -> JobStore: ...
    @property
    def events(self) -> EventLog: ...
    @property
    def threads(self) -> ThreadStore: ...
    @property
    def keys(self) -> KeyStore: ...
    @property
    def decisions(self) -> DecisionLog: ...
    @property
    def outbox(self) -> Outbox: ...

    async def migrate(self) -> None:
        """Bring the schema to this code's version; safe when several processes do it at once."""
        ...

    async def check(self) -> None:
        """Raises ``StorageUnavailable`` or ``StorageNotMigrated``."""
        ...

    async def close(self) -> None: ...
