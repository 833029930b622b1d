"""API keys; only digests are stored. Knows nothing of how a digest is made."""

from collections.abc import Sequence

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import NotFound
from tandem.ids import KeyId, TenantId
from tandem.schemas.keys import ApiKey, Scope
from tandem.storage.engine import Database
from tandem.storage.tables import api_keys
from tandem.storage.times import db_now, to_datetime


class SqlKeyStore:
    """Implements ``KeyStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key_id: KeyId, tenant: TenantId, name: str, scopes: Sequence[Scope], digest: bytes) -> ApiKey:
        values = {"id": key_id, "tenant": tenant, "name": name, "scopes": [*scopes], "digest": digest}
        statement = insert(api_keys).values(**values, created_at=db_now()).returning(api_keys)

        async def work(connection: AsyncConnection) -> ApiKey:
            return _key_from((await connection.execute(statement)).mappings().one())

        return await self._database.write(work)

    async def find(self, key_id: KeyId) -> tuple[ApiKey, bytes] | None:
        row = await self._database.row(select(api_keys).where(api_keys.c.id == key_id))
        return None if row is None else (_key_from(row), row["digest"])

    async def list(self) -> Sequence[ApiKey]:
        """Oldest first, revoked ones included."""
        return [_key_from(row) for row in await self._database.rows(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))]

    async def revoke(self, key_id: KeyId) -> ApiKey:
        revoked_at = func.coalesce(api_keys.c.revoked_at, db_now())
        statement = update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=revoked_at).returning(api_keys)

        async def work(connection: AsyncConnection) -> ApiKey:
            row = (await connection.execute(statement)).mappings().one_or_none()
            if row is None:
                raise NotFound(f"no key {key_id!r}; `tandem keys list` shows them", param="key_id")
            return _key_from(row)

        return await self._database.write(work)


def _key_from(row: RowMapping) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        tenant=row["tenant"],
        scopes=row["scopes"],
        created_at=to_datetime(row["created_at"]),
        revoked_at=None if row["revoked_at"] is None else to_datetime(row["revoked_at"]),
    )
