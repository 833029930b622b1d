"""Endpoints and the delivery log, as their owners use them. Knows nothing of HTTP or of how secrets are sealed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete as delete_from
from sqlalchemy import func, insert, select, tuple_, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import Conflict, NotFound, TooManyRequests
from tandem.ids import DeliveryId, EndpointId, IdFactory, JobId, TenantId
from tandem.ports import Once
from tandem.schemas.webhooks import DeliveryState, EndpointChange, EndpointCreate, WebhookDelivery, WebhookEndpoint
from tandem.storage.deliveries import Recipient, delivery_row
from tandem.storage.engine import Database
from tandem.storage.idempotency import find_earlier, remember
from tandem.storage.tables import outbox, webhook_attempts, webhook_endpoints
from tandem.storage.times import db_now
from tandem.storage.webhook_rows import (
    ENDPOINT_DISABLED,
    ENDPOINT_REMOVED,
    delivery_from,
    endpoint_from,
    fail_pending,
    lock_endpoint,
    restart,
)

_NOW: Final = db_now().label("now_s")
Found = tuple[WebhookEndpoint, bytes]


class SqlWebhookStore:
    """Implements ``WebhookStore``."""

    def __init__(self, database: Database, ids: IdFactory) -> None:
        self._database = database
        self._ids = ids

    async def add(
        self, endpoint_id: EndpointId, tenant: TenantId, new: EndpointCreate, secret: bytes, *, max_endpoints: int, once: Once | None = None
    ) -> tuple[WebhookEndpoint, bytes, bool]:
        async def work(connection: AsyncConnection) -> tuple[WebhookEndpoint, bytes, bool]:
            await self._database.lock(connection, f"webhook_endpoints:{tenant}")
            if (earlier := await find_earlier(self._database, connection, tenant, once)) is not None:
                row = await _owned(connection, EndpointId(earlier), tenant)
                return endpoint_from(row, row["now_s"]), row["secret"], True
            await _check_quota(connection, tenant, max_endpoints)
            values = {"id": endpoint_id, "tenant": tenant, "secret": secret, "is_enabled": True, "created_at": db_now()}
            made = insert(webhook_endpoints).values(**values, **new.model_dump()).returning(webhook_endpoints)
            row = (await connection.execute(made)).mappings().one()
            await remember(connection, tenant, once, endpoint_id)
            return endpoint_from(row, row["created_at"]), secret, False

        return await self._database.write(work)

    async def get(self, endpoint_id: EndpointId, tenant: TenantId) -> Found:
        row = await self._database.row(select(webhook_endpoints, _NOW).where(_is(endpoint_id, tenant)))
        if row is None:
            raise _unknown_endpoint(endpoint_id)
        return _found(row)

    async def list(self, tenant: TenantId, *, after: EndpointId | None, limit: int) -> Sequence[Found]:
        columns = webhook_endpoints.c
        statement = select(webhook_endpoints, _NOW).where(columns.tenant == tenant).order_by(columns.created_at.desc(), columns.id.desc())
        if after is not None:
            cursor = await self._database.row(select(columns.created_at).where(_is(after, tenant)))
            if cursor is None:
                raise NotFound(f"no webhook endpoint {after!r} to list after; take `next_after` of the page before", param="after")
            statement = statement.where(tuple_(columns.created_at, columns.id) < (cursor["created_at"], after))
        return [_found(row) for row in await self._database.rows(statement.limit(limit))]

    async def change(self, endpoint_id: EndpointId, tenant: TenantId, change: EndpointChange) -> WebhookEndpoint:
        async def work(connection: AsyncConnection) -> WebhookEndpoint:
            locked = await _owned(connection, endpoint_id, tenant)
            if values := _changed(locked, change):
                await connection.execute(update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id).values(**values))
            if change.url is not None:
                waiting = (outbox.c.endpoint_id == endpoint_id) & (outbox.c.state == "pending")
                await connection.execute(update(outbox).where(waiting).values(url=change.url))
            if change.is_enabled is False:
                await fail_pending(connection, endpoint_id, ENDPOINT_DISABLED)
            return endpoint_from(await _owned(connection, endpoint_id, tenant), locked["now_s"])

        return await self._database.write(work)

    async def rotate(
        self, endpoint_id: EndpointId, tenant: TenantId, secret: bytes, overlap_s: float, *, once: Once | None = None
    ) -> tuple[WebhookEndpoint, bytes, bool]:
        async def work(connection: AsyncConnection) -> tuple[WebhookEndpoint, bytes, bool]:
            earlier = await find_earlier(self._database, connection, tenant, once)
            row = await _owned(connection, endpoint_id, tenant)
            if earlier is not None:
                return endpoint_from(row, row["now_s"]), row["secret"], True
            await remember(connection, tenant, once, endpoint_id)
            is_kept = overlap_s > 0
            values = {"secret": secret, "old_secret": row["secret"] if is_kept else None}
            until = {"old_secret_until": row["now_s"] + overlap_s if is_kept else None}
            await connection.execute(update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id).values(**values, **until))
            return endpoint_from(await _owned(connection, endpoint_id, tenant), row["now_s"]), secret, False

        return await self._database.write(work)

    async def remove(self, endpoint_id: EndpointId, tenant: TenantId) -> None:
        async def work(connection: AsyncConnection) -> None:
            await _owned(connection, endpoint_id, tenant)
            await fail_pending(connection, endpoint_id, ENDPOINT_REMOVED)
            await connection.execute(delete_from(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id))

        await self._database.write(work)

    async def send_test(self, endpoint_id: EndpointId, tenant: TenantId, *, once: Once | None = None) -> tuple[WebhookDelivery, bool]:
        async def work(connection: AsyncConnection) -> tuple[WebhookDelivery, bool]:
            earlier = await find_earlier(self._database, connection, tenant, once)
            known = None if earlier is None else (await connection.execute(select(outbox).where(outbox.c.id == earlier))).mappings().one_or_none()
            if known is not None:
                return delivery_from(known), True
            endpoint = await _enabled(connection, endpoint_id, tenant)
            recipient = Recipient(endpoint["url"], endpoint_id)
            row = delivery_row(self._ids, tenant, recipient, "webhook_endpoint.test", {"endpoint_id": endpoint_id}, endpoint["now_s"])
            made = delivery_from((await connection.execute(insert(outbox).values(**row).returning(outbox))).mappings().one())
            await remember(connection, tenant, once, made.id)
            return made, False

        return await self._database.write(work)

    async def recover(self, endpoint_id: EndpointId, tenant: TenantId, since: datetime) -> int:
        async def work(connection: AsyncConnection) -> int:
            endpoint = await _enabled(connection, endpoint_id, tenant)
            lost = (outbox.c.endpoint_id == endpoint_id) & (outbox.c.state == "failed") & (outbox.c.created_at >= since.timestamp())
            again = update(outbox).where(lost).values(**restart(endpoint["url"])).returning(outbox.c.id)
            return len((await connection.execute(again)).all())

        return await self._database.write(work)

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
        statement = select(outbox).where(outbox.c.tenant == tenant).order_by(outbox.c.created_at.desc(), outbox.c.id.desc())
        for column, wanted in ((outbox.c.endpoint_id, endpoint_id), (outbox.c.job_id, job_id), (outbox.c.state, state)):
            if wanted is not None:
                statement = statement.where(column == wanted)
        if after is not None:
            cursor = await self._database.row(select(outbox.c.created_at).where(outbox.c.id == after, outbox.c.tenant == tenant))
            if cursor is None:
                raise NotFound(f"no delivery {after!r} to list after; take `next_after` of the page before", param="after")
            statement = statement.where(tuple_(outbox.c.created_at, outbox.c.id) < (cursor["created_at"], after))
        return [delivery_from(row) for row in await self._database.rows(statement.limit(limit))]

    async def delivery(self, delivery_id: DeliveryId, tenant: TenantId) -> WebhookDelivery:
        row = await self._database.row(select(outbox).where(outbox.c.id == delivery_id, outbox.c.tenant == tenant))
        if row is None:
            raise _unknown_delivery(delivery_id)
        made = select(webhook_attempts).where(webhook_attempts.c.delivery_id == delivery_id).order_by(webhook_attempts.c.number)
        return delivery_from(row, await self._database.rows(made))

    async def redeliver(self, delivery_id: DeliveryId, tenant: TenantId) -> WebhookDelivery:
        owned = (outbox.c.id == delivery_id) & (outbox.c.tenant == tenant)

        async def work(connection: AsyncConnection) -> WebhookDelivery:
            row = (await connection.execute(select(outbox.c.endpoint_id, outbox.c.url).where(owned))).mappings().one_or_none()
            if row is None:
                raise _unknown_delivery(delivery_id)
            url: str = row["url"]
            if row["endpoint_id"] is not None:
                try:
                    url = (await _enabled(connection, EndpointId(row["endpoint_id"]), tenant))["url"]
                except NotFound:
                    raise Conflict(f"the endpoint of delivery {delivery_id!r} was removed; nothing can be sent to it") from None
            again = update(outbox).where(owned).values(**restart(url)).returning(outbox)
            return delivery_from((await connection.execute(again)).mappings().one())

        return await self._database.write(work)


async def _owned(connection: AsyncConnection, endpoint_id: EndpointId, tenant: TenantId) -> RowMapping:
    """The tenant's endpoint, locked."""
    row = await lock_endpoint(connection, endpoint_id)
    if row is None or row["tenant"] != tenant:
        raise _unknown_endpoint(endpoint_id)
    return row


async def _enabled(connection: AsyncConnection, endpoint_id: EndpointId, tenant: TenantId) -> RowMapping:
    row = await _owned(connection, endpoint_id, tenant)
    if not row["is_enabled"]:
        raise Conflict(f"the webhook endpoint {endpoint_id!r} is disabled; switch it on first with PATCH and 'is_enabled': true")
    return row


def _changed(row: RowMapping, change: EndpointChange) -> dict[str, Any]:
    values: dict[str, Any] = change.model_dump(exclude_none=True)
    if change.is_enabled is True:
        values |= {"disabled_reason": None, "failing_since": None}
    elif change.is_enabled is False and row["is_enabled"]:
        values |= {"disabled_reason": "by_hand"}
    return values


async def _check_quota(connection: AsyncConnection, tenant: TenantId, max_endpoints: int) -> None:
    counted = select(func.count()).select_from(webhook_endpoints).where(webhook_endpoints.c.tenant == tenant)
    if (await connection.execute(counted)).scalar_one() >= max_endpoints:
        raise TooManyRequests(f"there are {max_endpoints} webhook endpoints already; remove one first")


def _is(endpoint_id: EndpointId, tenant: TenantId) -> Any:
    return (webhook_endpoints.c.id == endpoint_id) & (webhook_endpoints.c.tenant == tenant)


def _found(row: RowMapping) -> Found:
    return endpoint_from(row, row["now_s"]), row["secret"]


def _unknown_endpoint(endpoint_id: str) -> NotFound:
    return NotFound(f"no webhook endpoint {endpoint_id!r}; list them to find its id", param="endpoint_id")


def _unknown_delivery(delivery_id: str) -> NotFound:
    return NotFound(f"no webhook delivery {delivery_id!r}; list them to find its id", param="delivery_id")
