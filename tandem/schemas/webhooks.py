"""The body of a webhook: thin on purpose, so that a stolen body tells little and a receiver always reads the truth."""

from datetime import datetime
from typing import Literal

from tandem.schemas.base import Wire


class WebhookData(Wire):
    """Which job, and where it stands."""

    id: str
    job_id: str
    status: str
    sequence_number: int
    """Of the job's terminal event."""
    metadata: dict[str, str]


class WebhookEvent(Wire):
    """Body of one delivery. The same bytes are sent at each retry."""

    object: Literal["event"] = "event"
    id: str
    """Equals the ``webhook-id`` header; the same at each retry: use it to drop duplicates."""
    type: Literal["response.completed", "response.failed", "response.cancelled", "response.incomplete"]
    created_at: int
    """Unix seconds."""
    timestamp: datetime
    data: WebhookData
