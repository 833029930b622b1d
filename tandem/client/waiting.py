"""Waiting for a job's end over as many long polls, and as many gateways, as it takes. No I/O."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tandem.client.calls import Call
from tandem.client.job_calls import get_job
from tandem.client.streams import FIRST_DELAY_S, LONGEST_DELAY_S, MAX_FAILURES
from tandem.errors import TandemError
from tandem.schemas.jobs import Job

WAIT_STEP_S: Final = 25.0
"""One long poll, in seconds: below the 30 that common proxies allow."""


@dataclass(slots=True)
class Waiting:
    """One wait for one job: ask ``call``, then tell what came by ``is_over`` or ``failed``."""

    job_id: str
    timeout_s: float | None = None
    """Null waits for ever."""
    monotonic: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random  # noqa: S311 - spreads load, guards nothing
    """0..1; spreads the return of many clients."""
    _deadline: float | None = field(init=False)
    _was_answered: bool = field(default=False, init=False)
    _failures: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._deadline = None if self.timeout_s is None else self.monotonic() + self.timeout_s

    def call(self) -> Call[Job]:
        """The next long poll; the first one waits not at all, so that a wrong address or id is known at once."""
        if not self._was_answered:
            return get_job(self.job_id)
        left_s = WAIT_STEP_S if self._deadline is None else min(WAIT_STEP_S, self._deadline - self.monotonic())
        return get_job(self.job_id, max(left_s, 0.0))

    def is_over(self, job: Job) -> bool:
        """Whether this answer ends the waiting: the job has ended, somebody must act, or the time is over."""
        self._was_answered, self._failures = True, 0
        return job.status.is_terminal or job.status.is_parked or self._is_late()

    def failed(self, error: TandemError) -> None:
        """Note a failed call. Raises ``error`` when trying again cannot help, was tried often enough, or comes too late."""
        self._failures += 1
        if not error.retryable or not self._was_answered or self._failures >= MAX_FAILURES or self._is_late():
            raise error

    def delay_s(self) -> float:
        """Seconds before the next call after a failed one."""
        return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**self._failures) * (0.5 + self.jitter() / 2)

    def _is_late(self) -> bool:
        return self._deadline is not None and self.monotonic() >= self._deadline
