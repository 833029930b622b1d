"""Responses of the OpenAI door: what the job's row does not hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from tandem.ids import JobId, ResponseId, TenantId
from tandem.ports.common import Once
from tandem.ports.jobs import Created, NewJob
from tandem.schemas.base import JsonObject

ResponseStatus = Literal["in_progress", "completed", "failed", "incomplete"]
"""Of a response without a job; with one, the job's status counts."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response as stored."""

    id: ResponseId
    tenant: TenantId
    job_id: JobId | None
    """Null when the fast lane answered."""
    previous_id: ResponseId | None
    status: ResponseStatus
    request: JsonObject
    """What the answer repeats of the request: model, instructions, metadata, ..."""
    input: Sequence[JsonObject]
    output: Sequence[JsonObject] = ()
    usage: JsonObject | None = None
    error: JsonObject | None = None
    is_stored: bool = True
    created_at: datetime | None = None
    """Set by the store."""
    finished_at: datetime | None = None
    age_s: float = 0.0
    """Seconds since its creation, by the database's clock; set by the store."""


class ResponseStore(Protocol):
    """Responses; methods that take a tenant raise ``NotFound`` also for another tenant's."""

    async def begin(self, new: StoredResponse, *, once: Once | None = None, stale_after_s: float = 0.0) -> tuple[StoredResponse, bool]:
        """Store a response without a job, and say whether an earlier call with the same key had begun it.

        An answer of an earlier call is found; a failed one, or one that is older than ``stale_after_s`` and still in progress, is begun anew. One in
        progress is found by an explicit key only: a client that merely counts its retries has given that call up. Raises ``IdempotencyKeyReused``.
        """
        ...

    async def begin_job(self, new: StoredResponse, job: NewJob, *, max_unfinished: int) -> tuple[StoredResponse, Created | None]:
        """Store a response and its job in one transaction; with ``job.once`` a repeated call finds both.

        None instead of a job when the earlier call was answered without one, because the routing has changed since. Raises as ``JobStore.create``.
        """
        ...

    async def end(self, response: StoredResponse) -> None:
        """Store status, output, usage and error of a response without a job; one that is not to be stored is deleted, one that has ended stays."""
        ...

    async def get(self, response_id: ResponseId, tenant: TenantId) -> StoredResponse: ...

    async def chain(self, response_id: ResponseId, tenant: TenantId, limit: int) -> Sequence[StoredResponse]:
        """The response and those before it, oldest first, at most ``limit`` of the newest."""
        ...

    async def remove(self, response_id: ResponseId, tenant: TenantId) -> None:
        """Delete it, and its job with all that has written. Raises ``Conflict`` while the job has not ended."""
        ...
