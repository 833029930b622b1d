"""Webhooks: the body that is sent, the endpoints that subscribe, the log of deliveries.

The body is thin on purpose, so that a stolen one tells little and a receiver always reads the truth.
"""

from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.moments import Moment
from tandem.schemas.text import CleanText

WebhookType = Literal[
    "response.completed",
    "response.failed",
    "response.cancelled",
    "response.incomplete",
    "response.tandem.input_required",
    "response.tandem.budget_reached",
    "webhook_endpoint.disabled",
    "webhook_endpoint.test",
]
JOB_TYPES: Final[tuple[WebhookType, ...]] = (
    "response.completed",
    "response.failed",
    "response.cancelled",
    "response.incomplete",
    "response.tandem.input_required",
    "response.tandem.budget_reached",
)
Signing = Literal["hmac", "ed25519"]
"""Standard Webhooks ``v1`` (a shared secret ``whsec_…``) or ``v1a`` (the receiver holds the public key ``whpk_…`` only)."""
DeliveryState = Literal["pending", "delivered", "failed"]


class WebhookData(Wire):
    """Which job, and where it stood."""

    id: str
    """The job's name at the door it came through: ``resp_…`` or ``job_…``."""
    job_id: str
    status: str
    sequence_number: int
    """Of the event that caused the webhook."""
    metadata: dict[str, str]


class WebhookEvent(Wire):
    """Body of one delivery. The same bytes are sent at each retry."""

    object: Literal["event"] = "event"
    id: str
    """Equals the ``webhook-id`` header; the same at each retry: use it to drop duplicates."""
    type: WebhookType
    created_at: int
    """Unix seconds."""
    timestamp: datetime
    data: WebhookData | JsonObject
    """A ``WebhookData`` for events of jobs; ``{endpoint_id, …}`` for events of endpoints."""


class EndpointCreate(Wire):
    """Body of ``POST /v1/webhook_endpoints``."""

    url: str = Field(max_length=2_048)
    description: CleanText = Field(default="", max_length=200)
    events: list[WebhookType] = Field(default_factory=list[WebhookType], max_length=16)
    """Types to be told of; empty means all."""
    signing: Signing = "hmac"


class EndpointChange(Wire):
    """Body of ``PATCH /v1/webhook_endpoints/{id}``; what is left out stays."""

    url: str | None = Field(default=None, max_length=2_048)
    description: CleanText | None = Field(default=None, max_length=200)
    events: list[WebhookType] | None = Field(default=None, max_length=16)
    is_enabled: bool | None = None


class WebhookEndpoint(Wire):
    """A receiver, without its secret."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    description: str
    events: list[WebhookType]
    signing: Signing
    public_key: str | None = None
    """``whpk_…`` of an ed25519 endpoint."""
    is_enabled: bool
    disabled_reason: Literal["gone", "failing", "by_hand"] | None = None
    failing_since: datetime | None = None
    """First failure after the newest success; null while it works."""
    old_secret_until: datetime | None = None
    """While a rotation is under way, both secrets sign until then."""
    created_at: datetime


class CreatedEndpoint(WebhookEndpoint):
    """Answer of creating an endpoint or rotating its secret: the only time a shared secret is shown."""

    secret: str | None
    """``whsec_…``; null for ed25519, whose receiver needs only ``public_key``."""


class EndpointPage(Wire):
    """The tenant's endpoints, newest first."""

    object: Literal["list"] = "list"
    data: list[WebhookEndpoint]
    next_after: str | None = None


class SecretRotation(Wire):
    """Body of ``POST …/rotate_secret``, which may be left out."""

    overlap_seconds: float | None = Field(default=None, ge=0, le=604_800)
    """How long the old secret signs too; null takes ``TANDEM_WEBHOOKS_ROTATION_S``, 0 revokes it now."""


class EndpointRecovery(Wire):
    """Body of ``POST …/recover``: send again what has failed."""

    since: Moment
    """Deliveries created at or after this moment."""


class Recovered(Wire):
    """Answer of a recovery."""

    object: Literal["recovery"] = "recovery"
    deliveries: int
    """How many are pending again."""


class DeliveryAttempt(Wire):
    """One attempt at a delivery."""

    number: int
    """1 for the first; one that is missing was cut off before its outcome was known."""
    at: datetime
    status_code: int | None
    reason: str
    """``http_<status>``, ``timeout``, ``connection_failed``, ``egress_denied`` or ``internal`` (a defect of ours)."""
    seconds: float
    answer: str
    """Start of the receiver's answer, at most 4 KB."""


class WebhookDelivery(Wire):
    """One webhook and what became of it."""

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    type: WebhookType
    job_id: str | None
    endpoint_id: str | None
    """Null for a job's own ``webhook_url``."""
    url: str
    state: DeliveryState
    tries: int
    status_code: int | None
    reason: str | None
    """Of the newest attempt; ``endpoint_disabled`` or ``endpoint_removed`` when that ended the delivery."""
    next_attempt_at: datetime | None
    """Null when none will follow."""
    created_at: datetime
    attempts: list[DeliveryAttempt] = Field(default_factory=list[DeliveryAttempt])
    """Oldest first; empty in listings."""


class DeliveryPage(Wire):
    """The tenant's deliveries, newest first."""

    object: Literal["list"] = "list"
    data: list[WebhookDelivery]
    next_after: str | None = None
