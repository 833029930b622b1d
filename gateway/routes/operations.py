"""``/v1/operations``: the work at hand, across tenants, for whoever runs the platform."""

from typing import Final

from fastapi import APIRouter

from gateway.routes.common import MayAdminister, UseServices
from tandem.schemas.operations import Operations

_MOST_KEYS: Final = 100
doors = APIRouter(prefix="/v1/operations", tags=["operations"])


@doors.get("")
async def read_operations(services: UseServices, caller: MayAdminister) -> Operations:
    """How long jobs wait and for whom, what workers hold, what is stuck, which webhooks are due."""
    del caller
    needs = services.dependencies
    counts = await needs.storage.jobs.counts()
    leases = await needs.storage.jobs.leases(stuck_after_s=services.settings.worker.step_timeout_s)
    webhooks = await needs.storage.outbox.counts()
    by_size = sorted(counts.queued_by_key.items(), key=lambda item: (-item[1], item[0]))
    return Operations(
        at=needs.clock.now(),
        by_status=dict(counts.by_status),
        oldest_queued_s=counts.oldest_queued_s,
        queued_by_key=dict(by_size[:_MOST_KEYS]),
        last_claim_s=counts.last_claim_s,
        leases=list(leases),
        webhooks=dict(webhooks),
    )
