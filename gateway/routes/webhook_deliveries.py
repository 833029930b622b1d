"""``/v1/webhook_deliveries``: the log of what was sent to whom, and sending it again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from gateway.routes.common import MayReadJobs, MayWriteJobs, UseServices, known_id
from tandem.ids import DeliveryId, EndpointId, JobId
from tandem.schemas.webhooks import DeliveryPage, DeliveryState, WebhookDelivery

doors = APIRouter(prefix="/v1/webhook_deliveries", tags=["webhooks"])


async def _known_delivery(delivery_id: str) -> DeliveryId:
    return DeliveryId(known_id(delivery_id, "dlv", "delivery"))


KnownDelivery = Annotated[DeliveryId, Depends(_known_delivery)]
"""The delivery id of a door's path."""


@doors.get("")
async def list_deliveries(
    services: UseServices,
    caller: MayReadJobs,
    endpoint_id: str | None = None,
    job_id: str | None = None,
    state: DeliveryState | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> DeliveryPage:
    """The tenant's webhooks, newest first, without their attempts."""
    found = await services.dependencies.storage.webhooks.deliveries(
        caller.tenant,
        endpoint_id=None if endpoint_id is None else EndpointId(known_id(endpoint_id, "whe", "endpoint")),
        job_id=None if job_id is None else JobId(known_id(job_id, "job", "job")),
        state=state,
        after=None if after is None else DeliveryId(known_id(after, "dlv", "delivery")),
        limit=limit + 1,
    )
    deliveries = list(found)[:limit]
    return DeliveryPage(data=deliveries, next_after=deliveries[-1].id if len(found) > limit else None)


@doors.get("/{delivery_id}")
async def read_delivery(delivery_id: KnownDelivery, services: UseServices, caller: MayReadJobs) -> WebhookDelivery:
    """One webhook with every attempt at it: when, what the receiver answered, how long it took."""
    return await services.dependencies.storage.webhooks.delivery(delivery_id, caller.tenant)


@doors.post("/{delivery_id}/retry", status_code=202)
async def retry_delivery(delivery_id: KnownDelivery, services: UseServices, caller: MayWriteJobs) -> WebhookDelivery:
    """Send it now, whatever became of it before, with the same ``webhook-id`` and body. 409 when its receiver is switched off or removed."""
    return await services.dependencies.storage.webhooks.redeliver(delivery_id, caller.tenant)
