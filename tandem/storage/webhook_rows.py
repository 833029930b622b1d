"""Endpoints and deliveries as rows: locking them, failing what waits, turning them into what the wire speaks.

Rows are locked in this order everywhere: endpoint, then delivery.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import IdFactory
from tandem.schemas.webhooks import DeliveryAttempt, WebhookDelivery, WebhookEndpoint
from tandem.storage.deliveries import Recipient, delivery_row, subscribed
from tandem.storage.tables import outbox, webhook_endpoints
from tandem.storage.times import db_now, to_datetime

ENDPOINT_DISABLED: Final = "endpoint_disabled"
"""Reason of a delivery that was given up because its endpoint is off."""
ENDPOINT_REMOVED: Final = "endpoint_removed"
"""Reason of a delivery that was given up because its endpoint is gone."""
SENDABLE: Final = (
    webhook_endpoints.c.id,
    webhook_endpoints.c.url,
    webhook_endpoints.c.signing,
    webhook_endpoints.c.secret,
    webhook_endpoints.c.old_secret,
    (webhook_endpoints.c.old_secret_until > db_now()).label("is_old_live"),
    webhook_endpoints.c.is_enabled,
)
"""Columns that a sender needs."""


async def lock_endpoint(connection: AsyncConnection, endpoint_id: str) -> RowMapping | None:
    """The endpoint's row, locked until the transaction ends, with the time as ``now_s``."""
    statement = select(webhook_endpoints, db_now().label("now_s")).where(webhook_endpoints.c.id == endpoint_id).with_for_update()
    return (await connection.execute(statement)).mappings().one_or_none()


async def fail_pending(connection: AsyncConnection, endpoint_id: str, reason: str) -> None:
    """Give up everything that waits for an endpoint; it can be recovered while the endpoint exists."""
    waiting = (outbox.c.endpoint_id == endpoint_id) & (outbox.c.state == "pending")
    await connection.execute(update(outbox).where(waiting).values(state="failed", reason=reason, updated_at=db_now()))


async def disable_endpoint(connection: AsyncConnection, ids: IdFactory, endpoint: RowMapping, reason: str) -> None:
    """Switch a locked endpoint off without being asked, and tell the tenant's other ones."""
    endpoint_id, tenant, now_s = endpoint["id"], endpoint["tenant"], endpoint["now_s"]
    off = update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id)
    await connection.execute(off.values(is_enabled=False, disabled_reason=reason))
    await fail_pending(connection, endpoint_id, ENDPOINT_DISABLED)
    others = await subscribed(connection, tenant, "webhook_endpoint.disabled")
    rows = [
        delivery_row(
            ids, tenant, Recipient(row["url"], row["id"]), "webhook_endpoint.disabled", {"endpoint_id": endpoint_id, "reason": reason}, now_s
        )
        for row in others
    ]
    if rows:
        await connection.execute(insert(outbox), rows)


def restart(url: str) -> dict[str, Any]:
    """Values that make a delivery due now, from the start of the schedule."""
    return {"state": "pending", "attempt": 0, "due_at": db_now(), "url": url, "status_code": None, "reason": None, "updated_at": db_now()}


def endpoint_from(row: RowMapping, now_s: float) -> WebhookEndpoint:
    """The wire object of a stored endpoint; its public key comes from the secret, which only a holder of the pepper can open."""
    until: float | None = row["old_secret_until"]
    return WebhookEndpoint(
        id=row["id"],
        url=row["url"],
        description=row["description"],
        events=row["events"],
        signing=row["signing"],
        is_enabled=row["is_enabled"],
        disabled_reason=row["disabled_reason"],
        failing_since=_moment(row["failing_since"]),
        old_secret_until=None if until is None or until <= now_s else to_datetime(until),
        created_at=to_datetime(row["created_at"]),
    )


def delivery_from(row: RowMapping, attempts: Sequence[RowMapping] = ()) -> WebhookDelivery:
    """The wire object of a stored delivery."""
    return WebhookDelivery(
        id=row["id"],
        type=row["event_type"],
        job_id=row["job_id"],
        endpoint_id=row["endpoint_id"],
        url=row["url"],
        state=row["state"],
        tries=row["tries"],
        status_code=row["status_code"],
        reason=row["reason"],
        next_attempt_at=to_datetime(row["due_at"]) if row["state"] == "pending" else None,
        created_at=to_datetime(row["created_at"]),
        attempts=[
            DeliveryAttempt(
                number=attempt["number"],
                at=to_datetime(attempt["created_at"]),
                status_code=attempt["status_code"],
                reason=attempt["reason"],
                seconds=attempt["seconds"],
                answer=attempt["answer"],
            )
            for attempt in attempts
        ],
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else to_datetime(seconds)
