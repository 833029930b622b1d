"""The audit log. The promises are those of ``AuditLog``; how records hang together is told in ``audit_chain.py``.

Appends of one tenant take turns until their transaction ends, so the chain has no gap and no fork. The time stamp is the database's. Nothing here
changes or deletes a record, and no sweep does.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from pydantic import JsonValue
from sqlalchemy import func, insert, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import JobId, TenantId
from tandem.schemas.audit import AuditEntry, AuditRecord, AuditVerdict
from tandem.schemas.base import JsonObject
from tandem.storage.audit_chain import GENESIS, ChainReading, chained
from tandem.storage.engine import Database
from tandem.storage.tables import audit_log
from tandem.storage.times import db_now, wire_time

_PAGE: Final = 500


class SqlAuditLog:
    """Implements ``AuditLog``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, tenant: TenantId, entry: AuditEntry) -> AuditRecord:
        written = entry.model_dump(mode="json")

        async def work(connection: AsyncConnection) -> AuditRecord:
            await self._database.lock(connection, f"audit:{tenant}")
            newest = select(audit_log.c.seq, audit_log.c.hash).where(audit_log.c.tenant == tenant).order_by(audit_log.c.seq.desc()).limit(1)
            last = (await connection.execute(newest)).mappings().one_or_none()
            now_s = (await connection.execute(select(db_now()))).scalar_one()
            seq, previous = (1, GENESIS) if last is None else (last["seq"] + 1, last["hash"])
            record = chained(seq, wire_time(now_s), previous, written)
            values = {"seq": seq, "at": record["at"], "previous_hash": previous, "hash": record["hash"]}
            await connection.execute(insert(audit_log).values(tenant=tenant, job_id=entry.job_id, entry=written, **values))
            return AuditRecord.model_validate(record)

        return await self._database.write(work)

    async def read(self, tenant: TenantId, *, after: int, limit: int, job_id: JobId | None = None) -> Sequence[AuditRecord]:
        return [AuditRecord.model_validate(_stored(row)) for row in await self._rows(tenant, after, limit, job_id)]

    async def verify(self, tenant: TenantId, *, kept_head: str | None = None) -> AuditVerdict:
        reading = ChainReading(kept_head)
        async for record in self.export(tenant):
            reading.read(record)
            if reading.is_broken:
                break
        return reading.verdict()

    async def export(self, tenant: TenantId) -> AsyncIterator[JsonObject]:
        after = 0
        while rows := await self._rows(tenant, after, _PAGE, None):
            for row in rows:
                yield _stored(row)
            after = rows[-1]["seq"]

    async def tenants(self) -> Sequence[TenantId]:
        """One step into the primary key per tenant, however long the chains are."""
        found: list[TenantId] = []
        while True:
            beyond = select(func.min(audit_log.c.tenant).label("tenant"))
            row = await self._database.row(beyond.where(audit_log.c.tenant > found[-1]) if found else beyond)
            if row is None or row["tenant"] is None:
                return found
            found.append(TenantId(row["tenant"]))

    async def _rows(self, tenant: TenantId, after: int, limit: int, job_id: JobId | None) -> Sequence[RowMapping]:
        statement = select(audit_log).where(audit_log.c.tenant == tenant, audit_log.c.seq > after).order_by(audit_log.c.seq).limit(limit)
        return await self._database.rows(statement if job_id is None else statement.where(audit_log.c.job_id == job_id))


def _stored(row: RowMapping) -> JsonObject:
    """The column ``job_id`` only finds records; where it differs from what was hashed, the record shows the column, whose hash then does not fit."""
    entry: JsonObject = row["entry"]
    own: dict[str, JsonValue] = {name: row[name] for name in ("seq", "at", "job_id", "previous_hash", "hash")}
    return {"object": "audit_record", **entry, **own}
