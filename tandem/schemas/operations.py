"""What an operator sees of the work at hand, across tenants."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tandem.schemas.base import Wire
from tandem.schemas.jobs import JobStatus


class Lease(Wire):
    """A job that a worker holds."""

    job_id: str
    tenant: str
    worker: str
    status: JobStatus
    attempt: int
    lost: int
    held_s: float
    """Seconds since the job was first started."""
    lease_left_s: float
    """Negative when the worker is gone and nobody has taken over yet."""
    silent_s: float
    """Seconds since the job last moved: its newest event, recorded effect or checkpoint."""
    is_stuck: bool
    """The worker lives, and nothing has happened for longer than ``TANDEM_WORKER_STEP_TIMEOUT_S``; half a minute later the job fails."""


class Operations(Wire):
    """Answer of ``GET /v1/operations``."""

    object: Literal["operations"] = "operations"
    at: datetime
    by_status: dict[JobStatus, int]
    oldest_queued_s: float
    """Seconds the oldest job has waited for a worker; 0 when none waits."""
    queued_by_key: dict[str, int]
    """Waiting jobs by the API key (else tenant) whose turn they use; at most 100."""
    last_claim_s: float | None
    """Seconds since a worker last showed life; null when none ever did."""
    leases: list[Lease] = Field(default_factory=list[Lease])
    """Oldest first, at most 200."""
    webhooks: dict[str, int]
    """Deliveries by state."""
