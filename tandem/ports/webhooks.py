"""Webhooks: who receives them, what waits to be sent, what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from tandem.ids import DeliveryId, EndpointId, JobId, TenantId
from tandem.ports.common import Once
from tandem.schemas.webhooks import DeliveryState, EndpointChange, EndpointCreate, Signing, WebhookDelivery, WebhookEndpoint

INTERNAL: Final = "internal"
"""Reason of an attempt that a defect of ours has broken; the endpoint's health does not suffer from it."""


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """A signing secret as the database keeps it; ``tandem.secrets`` opens it."""

    signing: Signing
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook to be sent; claimed by one dispatcher until its lease runs out."""

    id: DeliveryId
    """Also the ``webhook-id``: the same at each retry."""
    job_id: JobId | None
    tenant: TenantId
    url: str
    body: bytes
    """Exact bytes, made once; signed anew per attempt."""
    attempt: int
    """Place in the retry schedule, 1 for the first; a redelivery begins anew."""
    tries: int = 1
    """Attempts in all, this one included."""
    endpoint_id: EndpointId | None = None
    """Null for a job's own ``webhook_url``, which the platform's secret signs."""
    secrets: Sequence[SealedSecret] = ()
    """The endpoint's live secrets, newest first; empty without an endpoint."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one attempt gave."""

    reason: str
    """``http_<status>``, ``timeout``, ``connection_failed``, ``egress_denied`` or ``INTERNAL``; never text of the receiver's."""
    status_code: int | None = None
    seconds: float = 0.0
    answer: str = ""
    """Start of the receiver's answer, at most 4 KB; for its owner's eyes only."""


class Outbox(Protocol):
    """Webhook deliveries, written with the state change that caused them. Each record of an attempt also writes the delivery log."""

    async def claim(self, limit: int, lease_s: float, *, per_receiver: int = 32, room: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        """Deliveries that are due, oldest first, at most ``per_receiver`` of one URL, or as many as ``room`` says of it.

        No two dispatchers get the same one while its lease holds.
        """
        ...

    async def defer(self, delivery: Delivery, after_s: float) -> None:
        """Give a claimed delivery back untried; it costs no attempt."""
        ...

    async def succeed(self, delivery: Delivery, answered: Answered) -> None:
        """Delivered; the endpoint is healthy again."""
        ...

    async def retry(self, delivery: Delivery, after_s: float, answered: Answered, *, disable_after_s: float) -> bool:
        """Due again in ``after_s`` seconds. True when the endpoint has only failed for ``disable_after_s`` and was disabled by this."""
        ...

    async def give_up(self, delivery: Delivery, answered: Answered, *, disable_after_s: float, is_gone: bool = False) -> bool:
        """No further attempt. ``is_gone`` (410) disables the endpoint at once. True when the endpoint was disabled by this.

        Disabling fails its pending deliveries with ``endpoint_disabled`` and queues ``webhook_endpoint.disabled`` for the tenant's other endpoints.
        """
        ...

    async def counts(self) -> Mapping[str, int]:
        """Deliveries by state: ``pending``, ``delivered``, ``failed``."""
        ...


class WebhookStore(Protocol):
    """Endpoints and the delivery log, as callers use them; every method raises ``NotFound`` also for another tenant's."""

    async def add(
        self, endpoint_id: EndpointId, tenant: TenantId, new: EndpointCreate, secret: bytes, *, max_endpoints: int, once: Once | None = None
    ) -> tuple[WebhookEndpoint, bytes, bool]:
        """The endpoint, its sealed secret, and whether an earlier call with the same key had made it. ``secret`` is sealed.

        Raises:
            TooManyRequests: The tenant has ``max_endpoints`` endpoints.
            IdempotencyKeyReused: The key is known with another fingerprint.
        """
        ...

    async def get(self, endpoint_id: EndpointId, tenant: TenantId) -> tuple[WebhookEndpoint, bytes]:
        """The endpoint and its sealed secret."""
        ...

    async def list(self, tenant: TenantId, *, after: EndpointId | None, limit: int) -> Sequence[tuple[WebhookEndpoint, bytes]]:
        """Newest first."""
        ...

    async def change(self, endpoint_id: EndpointId, tenant: TenantId, change: EndpointChange) -> WebhookEndpoint:
        """Switching an endpoint on forgets its failures."""
        ...

    async def rotate(
        self, endpoint_id: EndpointId, tenant: TenantId, secret: bytes, overlap_s: float, *, once: Once | None = None
    ) -> tuple[WebhookEndpoint, bytes, bool]:
        """``secret`` (sealed) signs from now on, the one before it too for ``overlap_s`` seconds.

        The endpoint, its sealed secret, and whether an earlier call with the same key had rotated it: a call whose answer was lost must not push out
        the secret that the receiver still has.
        """
        ...

    async def remove(self, endpoint_id: EndpointId, tenant: TenantId) -> None:
        """Its pending deliveries fail with ``endpoint_removed``; the log stays."""
        ...

    async def send_test(self, endpoint_id: EndpointId, tenant: TenantId, *, once: Once | None = None) -> tuple[WebhookDelivery, bool]:
        """Queue a ``webhook_endpoint.test``; says whether an earlier call with the same key had.

        Raises:
            Conflict: The endpoint is disabled.
            IdempotencyKeyReused: The key is known with another fingerprint.
        """
        ...

    async def recover(self, endpoint_id: EndpointId, tenant: TenantId, since: datetime) -> int:
        """Failed deliveries since then are due now, from the start of the schedule. Raises ``Conflict`` for a disabled endpoint."""
        ...

    async def deliveries(
        self,
        tenant: TenantId,
        *,
        endpoint_id: EndpointId | None,
        job_id: JobId | None,
        state: DeliveryState | None,
        after: DeliveryId | None,
        limit: int,
    ) -> Sequence[WebhookDelivery]:
        """Newest first, without their attempts."""
        ...

    async def delivery(self, delivery_id: DeliveryId, tenant: TenantId) -> WebhookDelivery:
        """With its attempts."""
        ...

    async def redeliver(self, delivery_id: DeliveryId, tenant: TenantId) -> WebhookDelivery:
        """Due now, from the start of the schedule, with the same ``webhook-id``; delivered ones too.

        Raises ``Conflict`` when its endpoint is off or gone.
        """
        ...
