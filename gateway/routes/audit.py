"""``/v1/audit``: what the tools of this tenant's jobs did and were not let do, as a chain of hashes. A tenant reads its own chain and no other."""

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.routes.common import MayReadJobs, UseServices, known_id
from tandem.ids import JobId
from tandem.schemas.audit import AuditPage, AuditVerdict

doors = APIRouter(prefix="/v1/audit", tags=["audit"])


@doors.get("")
async def read_audit(
    services: UseServices,
    caller: MayReadJobs,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    job_id: str | None = None,
) -> AuditPage:
    """The tenant's records, oldest first; with ``job_id`` those of one job, also after it was deleted."""
    job = None if job_id is None else JobId(known_id(job_id, "job", "job"))
    found = await services.dependencies.storage.audit.read(caller.tenant, after=after, limit=limit + 1, job_id=job)
    records = list(found)[:limit]
    return AuditPage(data=records, next_after=records[-1].seq if len(found) > limit else None)


@doors.get("/verify")
async def verify_audit(
    services: UseServices, caller: MayReadJobs, head: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None
) -> AuditVerdict:
    """Compute the tenant's chain anew. ``head`` is a hash kept from an earlier answer: without its record the chain was cut or written anew."""
    return await services.dependencies.storage.audit.verify(caller.tenant, kept_head=head)
