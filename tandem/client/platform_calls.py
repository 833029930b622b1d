"""What the doors of schedules, webhooks and operations are sent and how their answers are read. No I/O."""

from datetime import datetime

from tandem.client.calls import Call, delete, get, params, post, segment
from tandem.schemas.jobs import Job
from tandem.schemas.operations import Operations
from tandem.schemas.schedules import Schedule, ScheduleChange, ScheduleCreate, SchedulePage
from tandem.schemas.webhooks import (
    CreatedEndpoint,
    DeliveryPage,
    DeliveryState,
    EndpointChange,
    EndpointCreate,
    EndpointPage,
    EndpointRecovery,
    Recovered,
    SecretRotation,
    WebhookDelivery,
    WebhookEndpoint,
)


def operations() -> Call[Operations]:
    """``GET /v1/operations``."""
    return get("/v1/operations", Operations)


def create_schedule(schedule: ScheduleCreate, idempotency_key: str | None) -> Call[Schedule]:
    """``POST /v1/schedules``."""
    return post("/v1/schedules", Schedule, schedule, idempotency_key)


def get_schedule(schedule_id: str) -> Call[Schedule]:
    """``GET /v1/schedules/{id}``."""
    return get(_schedule(schedule_id), Schedule)


def list_schedules(after: str | None, limit: int) -> Call[SchedulePage]:
    """``GET /v1/schedules``."""
    return get("/v1/schedules", SchedulePage, params(after=after, limit=limit))


def change_schedule(schedule_id: str, change: ScheduleChange) -> Call[Schedule]:
    """``PATCH /v1/schedules/{id}``."""
    return post(_schedule(schedule_id), Schedule, change, method="PATCH")


def delete_schedule(schedule_id: str) -> Call[None]:
    """``DELETE /v1/schedules/{id}``."""
    return delete(_schedule(schedule_id))


def run_schedule(schedule_id: str, idempotency_key: str | None) -> Call[Job]:
    """``POST /v1/schedules/{id}/run``."""
    return post(f"{_schedule(schedule_id)}/run", Job, None, idempotency_key)


def create_webhook_endpoint(endpoint: EndpointCreate, idempotency_key: str | None) -> Call[CreatedEndpoint]:
    """``POST /v1/webhook_endpoints``."""
    return post("/v1/webhook_endpoints", CreatedEndpoint, endpoint, idempotency_key)


def get_webhook_endpoint(endpoint_id: str) -> Call[WebhookEndpoint]:
    """``GET /v1/webhook_endpoints/{id}``."""
    return get(_endpoint(endpoint_id), WebhookEndpoint)


def list_webhook_endpoints(after: str | None, limit: int) -> Call[EndpointPage]:
    """``GET /v1/webhook_endpoints``."""
    return get("/v1/webhook_endpoints", EndpointPage, params(after=after, limit=limit))


def change_webhook_endpoint(endpoint_id: str, change: EndpointChange) -> Call[WebhookEndpoint]:
    """``PATCH /v1/webhook_endpoints/{id}``."""
    return post(_endpoint(endpoint_id), WebhookEndpoint, change, method="PATCH")


def delete_webhook_endpoint(endpoint_id: str) -> Call[None]:
    """``DELETE /v1/webhook_endpoints/{id}``."""
    return delete(_endpoint(endpoint_id))


def rotate_webhook_secret(endpoint_id: str, overlap_seconds: float | None, idempotency_key: str | None) -> Call[CreatedEndpoint]:
    """``POST /v1/webhook_endpoints/{id}/rotate_secret``."""
    body = None if overlap_seconds is None else SecretRotation(overlap_seconds=overlap_seconds)
    return post(f"{_endpoint(endpoint_id)}/rotate_secret", CreatedEndpoint, body, idempotency_key)


def test_webhook_endpoint(endpoint_id: str, idempotency_key: str | None) -> Call[WebhookDelivery]:
    """``POST /v1/webhook_endpoints/{id}/test``."""
    return post(f"{_endpoint(endpoint_id)}/test", WebhookDelivery, None, idempotency_key)


def recover_webhook_endpoint(endpoint_id: str, since: datetime) -> Call[Recovered]:
    """``POST /v1/webhook_endpoints/{id}/recover``."""
    return post(f"{_endpoint(endpoint_id)}/recover", Recovered, EndpointRecovery(since=since))


def list_webhook_deliveries(
    endpoint_id: str | None, job_id: str | None, state: DeliveryState | None, after: str | None, limit: int
) -> Call[DeliveryPage]:
    """``GET /v1/webhook_deliveries``."""
    where = params(endpoint_id=endpoint_id, job_id=job_id, state=state, after=after, limit=limit)
    return get("/v1/webhook_deliveries", DeliveryPage, where)


def get_webhook_delivery(delivery_id: str) -> Call[WebhookDelivery]:
    """``GET /v1/webhook_deliveries/{id}``."""
    return get(f"/v1/webhook_deliveries/{segment(delivery_id)}", WebhookDelivery)


def retry_webhook_delivery(delivery_id: str) -> Call[WebhookDelivery]:
    """``POST /v1/webhook_deliveries/{id}/retry``."""
    return post(f"/v1/webhook_deliveries/{segment(delivery_id)}/retry", WebhookDelivery)


def _schedule(schedule_id: str) -> str:
    return f"/v1/schedules/{segment(schedule_id)}"


def _endpoint(endpoint_id: str) -> str:
    return f"/v1/webhook_endpoints/{segment(endpoint_id)}"
