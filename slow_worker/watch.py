"""Beside the running graph: keep the lease, feed the watchdog, and see what callers, the operator and the deadline want of the job."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from langgraph.runtime import RunControl

from slow_worker.context import JobContext
from slow_worker.watchdog import Watchdog
from tandem.errors import LeaseLost, StorageUnavailable
from tandem.ports import Claim, Clock, JobWork, LeaseState
from tandem.schemas.jobs import JobView
from tandem.settings import WorkerSettings

LOOK_S: Final = 1.0
"""Longest seconds between two looks at what callers want."""
STEP_GRACE_S: Final = 30.0
"""A step that does not move for this much longer than ``worker.step_timeout_s`` is given up: what it waits for has had its own time-out by then."""


class Stop(StrEnum):
    """Why the graph is not waited for any longer."""

    CANCELLED = "cancelled"
    DRAINED = "drained"
    DEADLINE = "deadline"
    STUCK = "stuck"
    LOST = "lost"


@dataclass(slots=True)
class Course:
    """One claimed job on its way."""

    claim: Claim
    context: JobContext | None = None
    control: RunControl = field(default_factory=RunControl)
    """Of the graph's present run."""
    is_out_of_memory: bool = False

    @property
    def view(self) -> JobView:
        """As last reported, with what has been spent since."""
        if self.context is None:
            return self.claim.view
        return self.context.progress.view.model_copy(update={"usage": self.context.ledger.spent})


@dataclass(slots=True)
class Watch:
    """The watch over one course. A database that is away is borne until the lease must be over."""

    course: Course
    work: JobWork
    clock: Clock
    settings: WorkerSettings
    watchdog: Watchdog
    draining: asyncio.Event
    _started: float = 0.0
    _kept_until: float = 0.0
    _drain_until: float | None = None

    async def run(self) -> Stop:
        """Return when the job has to stop; until then ask the graph to stop at its next checkpoint where that is enough."""
        self._started = self.clock.monotonic()
        self._kept_until = self._started + self.settings.lease_s
        while True:
            self.watchdog.feed()
            self._heed_drain()
            if (stop := self._is_time_up()) is not None:
                return stop
            await self._pause()  # the claim has just set the lease: the first look comes after the first pause
            if (stop := await self._look()) is not None:
                return stop

    def _heed_drain(self) -> None:
        if self.draining.is_set():
            self.course.control.request_drain("the worker stops")
            if self._drain_until is None:
                self._drain_until = self.clock.monotonic() + self.settings.drain_s

    async def _look(self) -> Stop | None:
        """Extend the lease and hear what callers want."""
        try:
            wish = await heartbeat(self.work, self.course.claim, self.settings)
        except LeaseLost:
            return Stop.LOST
        except StorageUnavailable:
            return Stop.LOST if self.clock.monotonic() >= self._kept_until else None
        self._kept_until = self.clock.monotonic() + self.settings.lease_s
        if wish.is_pause_requested:
            self.course.control.request_drain("a pause was asked for")
        if wish.is_cancel_requested:
            return Stop.CANCELLED
        return Stop.STUCK if wish.silent_s > self.settings.step_timeout_s + STEP_GRACE_S else None

    def _is_time_up(self) -> Stop | None:
        if self._drain_until is not None and self.clock.monotonic() >= self._drain_until:
            return Stop.DRAINED
        return Stop.DEADLINE if self._deadline_left_s() <= 0 else None

    def _deadline_left_s(self) -> float:
        left_s = self.course.claim.deadline_left_s
        return float("inf") if left_s is None else left_s - (self.clock.monotonic() - self._started)

    async def _pause(self) -> None:
        """Wait for the next look, or until draining begins if that is not known yet."""
        seconds = min(LOOK_S, self.settings.lease_s / 4, self._deadline_left_s())
        if self._drain_until is not None:
            await asyncio.sleep(min(seconds, max(0.0, self._drain_until - self.clock.monotonic())))
            return
        try:
            async with asyncio.timeout(seconds):
                await self.draining.wait()
        except TimeoutError:
            return


async def heartbeat(work: JobWork, claim: Claim, settings: WorkerSettings) -> LeaseState:
    """Extend the lease of a claim. Raises ``LeaseLost``."""
    return await work.heartbeat(claim.job_id, claim.epoch, settings.lease_s)
