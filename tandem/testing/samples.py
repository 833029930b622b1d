"""Ids and requests for tests: fresh, ordered, and with nothing in them that a test did not ask for."""

from datetime import datetime
from itertools import count
from typing import Literal, TypedDict, Unpack

from tandem.ids import IdFactory, KeyId, ResponseId, ScheduleId, TenantId, ThreadId
from tandem.ports import NewJob, Once
from tandem.schemas.jobs import Budget, JobRequest
from tandem.schemas.routing import Decision

ALICE = TenantId("alice")
BOB = TenantId("bob")
DECISION = Decision(
    lane="slow", band="slow", effort="low", p_slow=0.75, check_at=0.35, threshold=0.5, margin=0.25, policy_version="p1", model_version="m1"
)


class Asked(TypedDict, total=False):
    """Fields of a ``JobRequest`` that a test may ask for."""

    webhook_url: str | None
    webhook_endpoints: list[str] | None
    priority: int
    metadata: dict[str, str]
    budget: Budget
    on_budget: Literal["finish", "wait"]
    run_at: datetime | None
    deadline: datetime | None
    parent_id: str | None


class Samples:
    """Makes ids in creation order, and jobs to be created."""

    def __init__(self) -> None:
        milliseconds = count(1_700_000_000_000)
        self.ids = IdFactory(now_ms=lambda: next(milliseconds))

    def job(
        self,
        *,
        tenant: TenantId = ALICE,
        key_id: KeyId | None = None,
        thread_id: str | None = None,
        once: Once | None = None,
        response_id: ResponseId | None = None,
        schedule_id: ScheduleId | None = None,
        is_stored: bool = True,
        **asked: Unpack[Asked],
    ) -> NewJob:
        """A small task of a tenant."""
        return NewJob(
            id=self.ids.job(),
            tenant=tenant,
            key_id=key_id,
            request=JobRequest.model_validate({"input": "add 2 and 3", "metadata": {"order": "17"}} | asked),
            effort="low",
            title="A sum",
            thread_id=None if thread_id is None else ThreadId(thread_id),
            once=once,
            response_id=response_id,
            schedule_id=schedule_id,
            is_stored=is_stored,
        )


def keyed(key: str = "k", fingerprint: str = "f", kind: Literal["key", "first", "retry"] = "key") -> Once:
    """What an ``Idempotency-Key`` comes down to."""
    return Once(scope="POST /v1/jobs", key=key, fingerprint=fingerprint, kind=kind)
