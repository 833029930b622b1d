"""Queueing webhooks in the transaction that causes them. Knows nothing of signatures, attempts or HTTP.

The bytes of a body are made here, once: every attempt sends and signs the same ones. A delivery's id is also its ``webhook-id``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import DeliveryId, IdFactory
from tandem.schemas.base import JsonObject
from tandem.schemas.jobs import Job
from tandem.schemas.webhooks import JOB_TYPES, WebhookData, WebhookEvent, WebhookType
from tandem.storage.tables import outbox, webhook_endpoints
from tandem.storage.times import to_datetime

MAX_BODY_BYTES: Final = 20_000
"""Largest body; a job's metadata are left out of a larger one."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a delivery goes: an endpoint, or a job's own ``webhook_url``."""

    url: str
    endpoint_id: str | None = None


async def queue_deliveries(
    connection: AsyncConnection, ids: IdFactory, *, tenant: str, job: Job, kind: WebhookType, sequence_number: int, now_s: float
) -> None:
    """One delivery for the job's own ``webhook_url`` and one per enabled endpoint that subscribes to ``kind`` and that the job does not exclude.

    Args:
        connection: Of the transaction that changes the job.
        ids: Makes the deliveries' ids.
        tenant: Owner of the job.
        job: As it stands after the change.
        kind: One of ``JOB_TYPES``.
        sequence_number: Of the event that caused this.
        now_s: The database's time.
    """
    if kind not in JOB_TYPES:
        raise ValueError(f"{kind!r} is no event of a job; use one of {JOB_TYPES!r}")
    recipients = [Recipient(job.request.webhook_url)] if job.request.webhook_url is not None else []
    if (chosen := job.request.webhook_endpoints) != []:
        found = await subscribed(connection, tenant, kind)
        recipients += [Recipient(row["url"], row["id"]) for row in found if chosen is None or row["id"] in chosen]
    data = WebhookData(
        id=job.response_id or job.id, job_id=job.id, status=job.status, sequence_number=sequence_number, metadata=dict(job.request.metadata)
    )
    rows = [delivery_row(ids, tenant, recipient, kind, data, now_s, job_id=job.id) for recipient in recipients]
    if rows:
        await connection.execute(insert(outbox), rows)


async def subscribed(connection: AsyncConnection, tenant: str, kind: WebhookType) -> Sequence[RowMapping]:
    """The tenant's enabled endpoints that want to hear of ``kind``, oldest first."""
    statement = (
        select(webhook_endpoints.c.id, webhook_endpoints.c.url, webhook_endpoints.c.events)
        .where(webhook_endpoints.c.tenant == tenant, webhook_endpoints.c.is_enabled)
        .order_by(webhook_endpoints.c.id)
    )
    rows = (await connection.execute(statement)).mappings().all()
    return [row for row in rows if not row["events"] or kind in row["events"]]


def delivery_row(
    ids: IdFactory,
    tenant: str,
    recipient: Recipient,
    kind: WebhookType,
    data: WebhookData | JsonObject,
    now_s: float,
    *,
    job_id: str | None = None,
) -> dict[str, Any]:
    """A row of the outbox that is due now."""
    delivery_id = ids.delivery()
    return {
        "id": delivery_id,
        "job_id": job_id,
        "endpoint_id": recipient.endpoint_id,
        "tenant": tenant,
        "url": recipient.url,
        "event_type": kind,
        "body": _body(delivery_id, kind, data, now_s),
        "state": "pending",
        "attempt": 0,
        "tries": 0,
        "due_at": now_s,
        "created_at": now_s,
        "updated_at": now_s,
    }


def _body(delivery_id: DeliveryId, kind: WebhookType, data: WebhookData | JsonObject, now_s: float) -> bytes:
    event = WebhookEvent(id=delivery_id, type=kind, created_at=int(now_s), timestamp=to_datetime(now_s), data=data)
    body = event.model_dump_json().encode()
    if len(body) <= MAX_BODY_BYTES or not isinstance(data, WebhookData):
        return body
    return _body(delivery_id, kind, data.model_copy(update={"metadata": {}}), now_s)
