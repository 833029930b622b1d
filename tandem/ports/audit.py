"""The log of what tools did and were not let do."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from tandem.ids import JobId, TenantId
from tandem.schemas.audit import AuditEntry, AuditRecord, AuditVerdict
from tandem.schemas.base import JsonObject


class AuditLog(Protocol):
    """Append-only; each tenant's records are a chain of hashes. Nothing here changes or deletes a record."""

    async def append(self, tenant: TenantId, entry: AuditEntry) -> AuditRecord:
        """The record, once it is committed. Appends of one tenant take turns."""
        ...

    async def read(self, tenant: TenantId, *, after: int, limit: int, job_id: JobId | None = None) -> Sequence[AuditRecord]:
        """Records with a number above ``after``, oldest first."""
        ...

    async def verify(self, tenant: TenantId, *, kept_head: str | None = None) -> AuditVerdict:
        """Compute the whole chain anew; memory stays that of a page.

        ``kept_head`` is the hash of a record that somebody kept elsewhere: a chain without it was cut or written anew.
        """
        ...

    def export(self, tenant: TenantId) -> AsyncIterator[JsonObject]:
        """The whole chain, oldest first, each record as it was written (an ``AuditRecord`` of its time); memory stays that of a page."""
        ...

    async def tenants(self) -> Sequence[TenantId]:
        """Whoever has a chain."""
        ...
