"""Jobs, from the side of those who want them done: callers, the reaper, operators. The workers' side is ``work.py``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

from tandem.ids import ArtifactId, DecisionId, InputId, JobId, KeyId, ResponseId, ScheduleId, SteerId, TenantId, ThreadId
from tandem.ports.common import Appended, Once
from tandem.schemas.inputs import InputAnswer, InputRequest, Steer
from tandem.schemas.jobs import Artifact, Job, JobChange, JobRequest, JobStatus
from tandem.schemas.operations import Lease
from tandem.schemas.routing import Effort


class JobQueue(Protocol):
    """Wakes workers up; the row is the truth."""

    async def hint(self, count: int = 1) -> bool:
        """Tell workers that ``count`` jobs wait. Bounded in time; false when the broker could not be told (the reaper tries again)."""
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
    once: Once | None = None
    response_id: ResponseId | None = None
    """Its name at the OpenAI door, where it came through that one."""
    schedule_id: ScheduleId | None = None
    tools: Sequence[str] | None = None
    """Names its jobs may use, settled at the door and frozen with the job; null (of a job older than grants) leaves it to the request."""
    is_stored: bool = True
    """False: swept ``retention.unstored_s`` after its end."""


@dataclass(frozen=True, slots=True)
class Created:
    """A job as stored, and whether an earlier request with the same key had created it."""

    job: Job
    is_replay: bool
    appended: Sequence[Appended] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """A job after a caller's change, and what that set off."""

    job: Job
    appended: Sequence[Appended] = ()
    is_queued: bool = False
    """The change put the job into the queue: workers need a hint."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; what is left out does not restrict."""

    status: JobStatus | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """Pairs the job must have."""
    thread_id: ThreadId | None = None
    parent_id: JobId | None = None
    schedule_id: ScheduleId | None = None


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one sweep over the jobs did."""

    due: int
    """Jobs that wait and whose hint may be lost (queued, or their lease ran out): that many hints are needed."""
    failed: Sequence[JobId]
    """Jobs that lost too many workers and were failed with ``worker_lost``."""
    appended: Sequence[Appended] = ()
    expired: Sequence[JobId] = ()
    """Jobs whose deadline, question or budget grace was over: ended, or queued again with a default answer."""


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Gauges for operators."""

    by_status: Mapping[JobStatus, int]
    oldest_queued_s: float
    """Seconds the oldest queued job has waited for a worker; 0 when none waits."""
    last_claim_s: float | None
    """Seconds since a worker last claimed or renewed a lease; null when none ever did."""
    queued_by_key: Mapping[str, int] = field(default_factory=dict[str, int])
    """Queued jobs by the key whose turn they use."""
    lost_attempts: int = 0
    """Workers that the stored jobs have lost."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of a job's ledger."""

    key: str
    is_done: bool
    """False: begun by a worker, and nobody has recorded an outcome."""
    result: JsonValue
    created_at: datetime
    epoch: int


class JobStore(Protocol):
    """The truth about jobs, as callers use it. Each method is one transaction; one that appends events says which logs grew.

    Every method that takes a tenant raises ``NotFound`` also for another tenant's job.
    """

    async def create(self, new: NewJob, *, max_unfinished: int) -> Created:
        """Store the job, its first two events (created, then queued or scheduled) and its idempotency key.

        Raises:
            IdempotencyKeyReused: The key is known with another fingerprint.
            TooManyRequests: The tenant has ``max_unfinished`` unfinished jobs.
            NotFound: ``thread_id``, ``request.parent_id``, or one of ``request.webhook_endpoints`` or ``request.files`` is not one of the tenant's.
            Conflict: The parent has ended.
        """
        ...

    async def get(self, job_id: JobId, tenant: TenantId) -> Job: ...

    async def list(self, tenant: TenantId, *, where: JobFilter, after: JobId | None, limit: int) -> Sequence[Job]:
        """Newest first, those created before ``after``. Raises ``NotFound`` for an unknown cursor."""
        ...

    async def request_cancel(self, job_id: JobId, tenant: TenantId, *, is_rollback: bool = False) -> Changed:
        """Cancel the job and all that descend from it.

        A job no worker holds is cancelled at once, a running one becomes ``cancelling``; idempotent; an ended job is returned unchanged (its
        unfinished descendants are cancelled all the same).
        """
        ...

    async def request_pause(self, job_id: JobId, tenant: TenantId) -> Changed:
        """A queued or scheduled job is paused at once; a running one (``is_pausing``) at its next checkpoint; idempotent.

        Raises:
            Conflict: The job has ended, is being cancelled, or waits for an answer or a budget.
        """
        ...

    async def resume(self, job_id: JobId, tenant: TenantId) -> Changed:
        """A paused job is queued again, or scheduled when its moment is yet to come; a wish to pause that no worker has followed yet is withdrawn.

        No effect on a scheduled, queued or running job.

        Raises:
            Conflict: The job has ended, is being cancelled, or waits for an answer or a budget.
        """
        ...

    async def change(self, job_id: JobId, tenant: TenantId, change: JobChange) -> Changed:
        """Event CHANGED. A new budget re-queues a job in ``budget_reached``; a running one gets it at its next claim.

        Raises:
            Conflict: The job has ended.
        """
        ...

    async def steer(self, job_id: JobId, tenant: TenantId, steer_id: SteerId, message: str, *, once: Once | None = None) -> tuple[Steer, Changed]:
        """Put words into the job's inbox (at most 64), event STEERED.

        Raises:
            Conflict: The job has ended or is being cancelled, or the inbox is full.
            IdempotencyKeyReused: The key is known with another fingerprint.
        """
        ...

    async def answer(
        self,
        job_id: JobId,
        tenant: TenantId,
        input_id: InputId,
        answer: InputAnswer,
        *,
        answered_by: KeyId | None = None,
        once: Once | None = None,
    ) -> tuple[InputRequest, Changed]:
        """Answer a question once, event INPUT_RECEIVED; when none is left open the job is queued. The answer has been checked against the question.

        ``answered_by`` is the key whose holder answers: it stays with the question.

        Raises:
            NotFound: The job never asked this.
            InputClosed: Answered already, expired, or the job has ended; the message says what stands.
            IdempotencyKeyReused: The key is known with another fingerprint.
        """
        ...

    async def retry(self, ended: JobId, new: NewJob, *, carries_steps: bool, max_unfinished: int) -> Created:
        """Create ``new`` with ``retry_of``; with ``carries_steps`` it takes over the plan, attempts, recorded effects and files of the ended job.

        A recorded effect whose result is an object with a non-null ``failure`` is not taken over. Raises as ``create``, and ``Conflict`` when the
        job has not ended or was completed.
        """
        ...

    async def purge(self, job_id: JobId, tenant: TenantId) -> None:
        """Delete an ended job with all it has written; pending webhooks are still delivered. Raises ``Conflict`` before the end."""
        ...

    async def artifact(self, job_id: JobId, tenant: TenantId, artifact_id: ArtifactId) -> tuple[Artifact, bytes]: ...

    async def effects(self, job_id: JobId, tenant: TenantId) -> Sequence[Effect]:
        """The ledger, oldest first."""
        ...

    async def reap(self, *, rehint_after_s: float, max_attempts: int, limit: int = 100) -> Reaped:
        """Repair what crashes and time leave behind.

        Queues scheduled jobs whose time has come; fails jobs out of attempts; cancels those that were cancelling when their worker died; ends jobs
        past their deadline; lets questions and budget graces expire; counts the jobs that need a hint (each then backs off).

        A job past its deadline ends as incomplete with the best so far; while a worker holds it that is the worker's to do, for another 30 seconds.
        An expired question's default is taken as its answer (of an approval: ``approve``, ``reject``, or what it is edited to).
        """
        ...

    async def counts(self) -> JobCounts: ...

    async def leases(self, *, stuck_after_s: float, limit: int = 200) -> Sequence[Lease]:
        """What workers hold, oldest first, across tenants."""
        ...
