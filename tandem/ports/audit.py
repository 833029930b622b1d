"""The log of what tools did and were not let do."""

from collections.abc import Sequence
from typing import Protocol

from tandem.ids import JobId, TenantId
from tandem.schemas.audit import AuditEntry, AuditRecord, AuditVerdict


class AuditLog(Protocol):
    """Append-only; each tenant's records are a chain of hashes. Nothing here changes or deletes a record."""

    async def append(self, tenant: TenantId, entry: AuditEntry) -> AuditRecord:
        """The record, once it is committed. Appends of one tenant take turns."""
        ...

    async def read(self, tenant: TenantId, *, after: int, limit: int, job_id: JobId | None = None) -> Sequence[AuditRecord]:
        """Records with a number above ``after``, oldest first."""
        ...

    async def verify(self, tenant: TenantId) -> AuditVerdict:
        """Compute the whole chain anew; memory stays that of a page."""
        ...

    async def tenants(self) -> Sequence[TenantId]:
        """Whoever has a chain."""
        ...
