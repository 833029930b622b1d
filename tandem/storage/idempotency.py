"""Creating calls that may be sent again: what the first one made, remembered in the transaction that made it."""

from typing import Final

from sqlalchemy import ColumnElement, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import IdempotencyKeyReused
from tandem.ports import Once
from tandem.storage.engine import Database
from tandem.storage.tables import idempotency_keys
from tandem.storage.times import db_now

KEY_TTL_S: Final = 24 * 3_600.0
"""How long an ``Idempotency-Key`` is remembered."""
RETRY_TTL_S: Final = 60.0
"""How long a call without a key is remembered for a client that counts its retries."""


async def find_earlier(database: Database, connection: AsyncConnection, tenant: str, once: Once | None) -> str | None:
    """Id of what an earlier call with this key has made; None when this is the first.

    Calls of one tenant that carry a key take turns from here to the end of the transaction, so that two at once make one object.

    Raises:
        IdempotencyKeyReused: The key is known with another body.
    """
    if once is None:
        return None
    await database.lock(connection, f"once:{tenant}")
    if once.kind == "first":
        return None
    known = select(idempotency_keys.c.fingerprint, idempotency_keys.c.object_id).where(_is(tenant, once), idempotency_keys.c.expires_at > db_now())
    row = (await connection.execute(known)).mappings().one_or_none()
    if row is None:
        return None
    if row["fingerprint"] != once.fingerprint:
        raise IdempotencyKeyReused(f"Idempotency-Key {once.key!r} came earlier with another body; use a fresh key for another request")
    object_id: str = row["object_id"]
    return object_id


async def remember(connection: AsyncConnection, tenant: str, once: Once | None, object_id: str) -> None:
    """Note what this call has made, in place of an expired or repeated first one."""
    if once is None:
        return
    await connection.execute(delete(idempotency_keys).where(_is(tenant, once)))
    ttl_s = KEY_TTL_S if once.kind == "key" else RETRY_TTL_S
    values = {"tenant": tenant, "scope": once.scope, "key": once.key, "fingerprint": once.fingerprint, "object_id": object_id}
    await connection.execute(insert(idempotency_keys).values(**values, expires_at=db_now() + ttl_s))


def _is(tenant: str, once: Once) -> ColumnElement[bool]:
    return (idempotency_keys.c.tenant == tenant) & (idempotency_keys.c.scope == once.scope) & (idempotency_keys.c.key == once.key)
