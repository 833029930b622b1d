"""What jobs remember for their tenant. The promises are those of ``MemoryStore``.

A fact is kept once: whoever says the same words again gets the memory there is, with the origin it had first. Knows nothing of what a memory is good
for, nor of how it is searched (``tools/memory.py``).
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, delete, func, insert, select, tuple_
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import NotFound, TooManyRequests
from tandem.ids import MemoryId, TenantId
from tandem.schemas.memories import Memory, Provenance
from tandem.storage.engine import Database
from tandem.storage.tables import memories
from tandem.storage.times import db_now, to_datetime

_QUOTA_RETRY_S: Final = 60.0


class SqlMemoryStore:
    """Implements ``MemoryStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, memory_id: MemoryId, tenant: TenantId, text: str, provenance: Provenance, *, max_memories: int) -> Memory:
        digest = hashlib.sha256(text.encode()).hexdigest()
        values = {"id": memory_id, "tenant": tenant, "digest": digest, "text": text, "provenance": provenance.model_dump(mode="json")}
        statement = insert(memories).values(**values, created_at=db_now()).returning(memories)

        async def work(connection: AsyncConnection) -> Memory:
            await self._database.lock(connection, f"memories:{tenant}")
            same = select(memories).where(memories.c.tenant == tenant, memories.c.digest == digest)
            known = (await connection.execute(same)).mappings().one_or_none()
            if known is not None:
                return _memory_from(known)
            count = (await connection.execute(select(func.count()).where(memories.c.tenant == tenant))).scalar_one()
            if count >= max_memories:
                message = f"{count} memories are kept and {max_memories} are allowed; delete some (`DELETE /v1/memory/{{id}}`)"
                raise TooManyRequests(message, retry_after_s=_QUOTA_RETRY_S)
            return _memory_from((await connection.execute(statement)).mappings().one())

        return await self._database.write(work)

    async def list(self, tenant: TenantId, *, after: MemoryId | None, limit: int) -> Sequence[Memory]:
        """Raises ``NotFound`` for an unknown cursor."""
        statement = select(memories).where(memories.c.tenant == tenant).order_by(memories.c.created_at.desc(), memories.c.id.desc()).limit(limit)
        if after is not None:
            cursor = await self._database.row(select(memories.c.created_at).where(_is(after, tenant)))
            if cursor is None:
                raise NotFound(f"no memory {after!r} to list after; take `next_after` of the page before", param="after")
            statement = statement.where(tuple_(memories.c.created_at, memories.c.id) < (cursor["created_at"], after))
        return [_memory_from(row) for row in await self._database.rows(statement)]

    async def get(self, memory_id: MemoryId, tenant: TenantId) -> Memory:
        row = await self._database.row(select(memories).where(_is(memory_id, tenant)))
        if row is None:
            raise _unknown(memory_id)
        return _memory_from(row)

    async def delete(self, memory_id: MemoryId, tenant: TenantId) -> None:
        statement = delete(memories).where(_is(memory_id, tenant)).returning(memories.c.id)

        async def work(connection: AsyncConnection) -> str | None:
            return (await connection.execute(statement)).scalar_one_or_none()

        if await self._database.write(work) is None:
            raise _unknown(memory_id)


def _is(memory_id: str, tenant: TenantId) -> ColumnElement[bool]:
    return (memories.c.id == memory_id) & (memories.c.tenant == tenant)


def _unknown(memory_id: str) -> NotFound:
    return NotFound(f"no memory {memory_id!r}; `GET /v1/memory` lists them", param="memory_id")


def _memory_from(row: RowMapping) -> Memory:
    return Memory(
        id=row["id"],
        text=row["text"],
        provenance=Provenance.model_validate(row["provenance"]),
        created_at=to_datetime(row["created_at"]),
    )
