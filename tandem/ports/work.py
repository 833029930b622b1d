"""Jobs, from the side of the worker that holds one: claims, fenced writes, the ledger of effects, checkpoints. Callers use ``jobs.py``."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import JsonValue

from tandem.ids import ArtifactId, JobId, KeyId, TenantId, ThreadId
from tandem.ports.common import Appended, NewEvent
from tandem.ports.jobs import Effect
from tandem.schemas.inputs import InputAsk, InputRequest, Steer
from tandem.schemas.jobs import Artifact, JobFailure, JobRequest, JobResult, JobStatus, JobView
from tandem.schemas.routing import Effort


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
    inputs: Sequence[InputRequest] = ()
    """What the job asked so far, with the answers."""
    deadline_left_s: float | None = None
    """Seconds until the deadline; null without one."""
    key_id: KeyId | None = None
    tools: Sequence[str] | None = None
    """Names it may use, frozen when it was submitted; null leaves it to the request."""
    items: int = 0
    """Output items its log has opened: the ``output_index`` of the next one."""
    appended: Sequence[Appended] = ()


@dataclass(frozen=True, slots=True)
class LeaseState:
    """Answer to a heartbeat that still owns the job."""

    is_cancel_requested: bool
    is_pause_requested: bool = False
    silent_s: float = 0.0
    """Seconds since the job last moved: its newest claim, event, effect or checkpoint."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ends."""

    status: Literal[JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INCOMPLETE]
    result: JobResult | None = None
    error: JobFailure | None = None


@dataclass(frozen=True, slots=True)
class Parking:
    """Why a job stops to wait without a worker."""

    status: Literal[JobStatus.INPUT_REQUIRED, JobStatus.PAUSED, JobStatus.BUDGET_REACHED]
    asks: Sequence[InputAsk] = ()
    """Of ``input_required``, at least one."""
    wait_s: float | None = None
    """How long to wait for an answer or a budget; null for a pause."""
    best: JobResult | None = None
    """Of ``budget_reached``: what the job ends with when no budget comes."""
    reason: JobFailure | None = None
    """Of ``budget_reached``: which meter, kept as the error of an incomplete end."""


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """A file to be kept."""

    id: ArtifactId
    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredWrite:
    """What one task of a step has written."""

    task_id: str
    place: int
    """Order within the task; negative for special channels, which a later write replaces."""
    channel: str
    kind: str
    value: bytes
    task_path: str = ""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A serialised state of a graph, opaque to the store."""

    namespace: str
    id: str
    """Sorts by age."""
    parent_id: str | None
    kind: str
    state: bytes
    metadata: bytes
    writes: Sequence[StoredWrite] = ()
    """Pending writes by task and place."""


class CheckpointStore(Protocol):
    """Checkpoints of graphs, in the same database as the job and fenced by its epoch."""

    async def put(self, job_id: JobId, epoch: int, checkpoint: StoredCheckpoint) -> None:
        """Store or replace; ``checkpoint.writes`` is ignored. Raises ``LeaseLost``."""
        ...

    async def put_writes(self, job_id: JobId, epoch: int, namespace: str, checkpoint_id: str, writes: Sequence[StoredWrite]) -> None:
        """A write that is there already stays, unless its place is negative. Raises ``LeaseLost``."""
        ...

    async def get(self, job_id: JobId, namespace: str, checkpoint_id: str | None) -> StoredCheckpoint | None:
        """That checkpoint, or the newest of the namespace, with its writes."""
        ...

    def list(self, job_id: JobId, namespace: str | None, *, before: str | None, limit: int | None) -> AsyncIterator[StoredCheckpoint]:
        """Newest first."""
        ...

    async def delete(self, job_id: JobId) -> None:
        """Drop all of a job's checkpoints and writes."""
        ...


class JobWork(Protocol):
    """What a worker may do. Each method is one transaction. Each with an ``epoch`` raises ``LeaseLost`` for a stale one."""

    @property
    def checkpoints(self) -> CheckpointStore: ...

    async def claim(self, worker: str, lease_s: float, max_attempts: int, *, ageing_s: float = 60.0, job_id: JobId | None = None) -> Claim | None:
        """Own the next job in line (or only ``job_id``); raises its epoch and attempt. None when nothing is free.

        In line: first jobs whose worker was lost; then by API key, the one with the fewest running jobs and among those the one served longest
        ago; of its jobs by priority, raised one level per ``ageing_s`` seconds of waiting; then by age.
        A claim appends ATTEMPT_LOST when a worker was lost, TEXT_RESET when that left a message unfinished, IN_PROGRESS and ATTEMPT_STARTED.
        """
        ...

    async def heartbeat(self, job_id: JobId, epoch: int, lease_s: float) -> LeaseState:
        """Extend the lease."""
        ...

    async def append(self, job_id: JobId, epoch: int, events: Sequence[NewEvent], view: JobView | None = None) -> Sequence[Appended]:
        """Append events and store the view; mirrors the view to the job's thread as JOB_UPDATED when given.

        The store watches ITEM_ADDED, ITEM_DONE and TEXT_RESET, so that a later claim knows which message was left unfinished.
        """
        ...

    async def take_steers(self, job_id: JobId, epoch: int, step: str) -> tuple[Sequence[Steer], Sequence[Appended]]:
        """All words of the inbox, oldest first, those now marked as applied at ``step`` included; event STEER_APPLIED for each newly applied one."""
        ...

    async def park(self, job_id: JobId, epoch: int, parking: Parking, view: JobView | None = None) -> Sequence[Appended]:
        """Give the job up until a caller acts.

        Status, event (PAUSED, BUDGET_REACHED, or INPUT_REQUIRED per question) and webhooks come in one transaction; the epoch rises. A job that is
        being cancelled ends as cancelled instead. An ask whose key the job has asked before is not asked again. Where the reason to wait is gone
        already (all answered, the pause withdrawn, the budget raised since the claim), the job is queued instead. Several questions are one webhook.
        """
        ...

    async def finish(self, job_id: JobId, epoch: int, outcome: Outcome, view: JobView | None = None) -> Sequence[Appended]:
        """Terminal status, terminal event, one outbox row per receiver and, in a thread, the assistant message: one transaction.

        A completed job's checkpoints are dropped; those of others are kept for a retry until swept. Open questions are withdrawn.
        """
        ...

    async def defer(
        self, job_id: JobId, epoch: int, reason: JobFailure, *, patience_s: float, view: JobView | None = None
    ) -> Sequence[Appended] | None:
        """Give the job back because something it needs is away: ``scheduled``, to be tried again soon and then less and less often; event DEFERRED.

        Its checkpoints are dropped: it begins anew with what its ledger holds. None, and nothing changed, when it has been put off for
        ``patience_s`` without recording an effect in between. A job whose pause was asked for is paused, one being cancelled ends.
        """
        ...

    async def release(self, job_id: JobId, epoch: int) -> Sequence[Appended]:
        """Give a claimed job back to the queue at once (a worker that stops); a job whose pause was asked for is paused, one being cancelled ends."""
        ...

    async def recall_effect(self, job_id: JobId, key: str) -> Effect | None:
        """The ledger's line; None when the effect was never begun."""
        ...

    async def begin_effect(self, job_id: JobId, epoch: int, key: str) -> Effect | None:
        """Write the line before something that writes is called; None when this call wrote it, else the line that stands."""
        ...

    async def record_effect(self, job_id: JobId, epoch: int, key: str, result: JsonValue) -> JsonValue:
        """Record once, whether begun or not; returns what stands in the ledger (an earlier result wins)."""
        ...

    async def add_artifact(self, job_id: JobId, epoch: int, new: NewArtifact) -> tuple[Artifact, Sequence[Appended]]:
        """Keep a file, event ARTIFACT_CREATED. A file whose name the job has already is left as it is, so that a re-run adds none twice."""
        ...

    async def artifacts(self, job_id: JobId) -> Sequence[Artifact]:
        """The job's files, oldest first; for whoever has claimed it."""
        ...

    async def artifact_content(self, job_id: JobId, artifact_id: ArtifactId) -> bytes:
        """A file's bytes; for whoever has claimed the job. Raises ``NotFound``."""
        ...
