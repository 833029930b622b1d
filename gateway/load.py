"""What this gateway has lately done and what its jobs would wait for: the two figures a policy may steer by."""

import time
from collections.abc import Callable, Collection
from typing import Final

from router.share import SlowShare
from tandem.ports import JobTimes, Storage
from tandem.schemas.jobs import JobStatus
from tandem.schemas.routing import Decision

QUEUE_EVERY_S: Final = 2.0
JOB_TIMES_EVERY_S: Final = 60.0
JOB_TIMES_OVER_S: Final = 3_600.0


class SlowShares:
    """The slow share of the newest ``auto`` requests, for each policy version apart: a candidate's zeal must not cap the stable policy."""

    def __init__(self) -> None:
        self._shares: dict[str, SlowShare] = {}

    def of(self, version: str) -> float | None:
        """None while there are too few requests to say."""
        share = self._shares.get(version)
        return None if share is None else share.value

    def note(self, decision: Decision) -> None:
        """A decision of the version that it names."""
        self._shares.setdefault(decision.policy_version, SlowShare()).add(decision.lane, decision.override)

    def keep(self, versions: Collection[str]) -> None:
        """Forget the versions that decide no more."""
        for version in self._shares.keys() - set(versions):
            del self._shares[version]


class QueueWait:
    """How long a new job would wait for a worker, looked at only while a policy prices the waiting."""

    def __init__(self, storage: Storage, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._monotonic = monotonic
        self._looked_at = self._timed_at = -JOB_TIMES_EVERY_S
        self._times: JobTimes | None = None
        self.seconds = 0.0

    async def refresh(self, *, is_priced: bool) -> None:
        """At most every ``QUEUE_EVERY_S``. Raises ``OperatorError`` when the database is away; the last figure then stays."""
        if not is_priced:
            self.seconds = 0.0
            return
        now = self._monotonic()
        if now - self._looked_at < QUEUE_EVERY_S:
            return
        if self._times is None or now - self._timed_at >= JOB_TIMES_EVERY_S:
            self._times, self._timed_at = await self._storage.decisions.job_times(JOB_TIMES_OVER_S), now
        counts = await self._storage.jobs.counts()
        self.seconds = projected_wait_s(counts.by_status.get(JobStatus.QUEUED, 0), counts.oldest_queued_s, self._times)
        self._looked_at = now


def projected_wait_s(queued: int, oldest_queued_s: float, times: JobTimes) -> float:
    """The queue's length in work; where no job has ended lately, what the oldest one has waited already."""
    if not queued:
        return 0.0
    if not times.jobs:
        return oldest_queued_s
    return queued * times.mean_run_s / max(times.workers, 1)
