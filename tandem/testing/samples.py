"""Ids and requests for tests: fresh, ordered, and with nothing in them that a test did not ask for."""

from itertools import count

from tandem.ids import IdFactory, TenantId, ThreadId
from tandem.ports import NewJob
from tandem.schemas.jobs import JobRequest
from tandem.schemas.routing import Decision

ALICE = TenantId("alice")
BOB = TenantId("bob")
DECISION = Decision(lane="slow", effort="low", p_slow=0.75, threshold=0.5, margin=0.25, policy_version="p1", model_version="m1")


class Samples:
    """Makes ids in creation order, and jobs to be created."""

    def __init__(self) -> None:
        milliseconds = count(1_700_000_000_000)
        self.ids = IdFactory(now_ms=lambda: next(milliseconds))

    def job(
        self,
        *,
        tenant: TenantId = ALICE,
        thread_id: str | None = None,
        webhook_url: str | None = None,
        priority: int = 5,
        idempotency_key: str | None = None,
        fingerprint: str | None = None,
    ) -> NewJob:
        """A small task of a tenant."""
        return NewJob(
            id=self.ids.job(),
            tenant=tenant,
            key_id=None,
            request=JobRequest(input="add 2 and 3", webhook_url=webhook_url, priority=priority, metadata={"order": "17"}),
            effort="low",
            title="A sum",
            thread_id=None if thread_id is None else ThreadId(thread_id),
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
        )
