"""The watch beside a running graph: why it tells the graph to stop."""

import asyncio
from typing import Any, cast

from slow_worker.watch import STEP_GRACE_S, Course, Stop, Watch
from tandem.ids import DEFAULT_TENANT, JobId
from tandem.ports import Claim, JobWork, LeaseState
from tandem.schemas.jobs import JobRequest, JobView
from tandem.settings import WorkerSettings
from tandem.testing.clock import FakeClock

CLAIM = Claim(JobId("job_a"), DEFAULT_TENANT, 1, 1, JobRequest(input="x"), "low", JobView(title="x"), None)
SETTINGS = WorkerSettings(lease_s=1, step_timeout_s=60)


class Lease:
    """The part of ``JobWork`` that a watch uses."""

    def __init__(self, *states: LeaseState) -> None:
        self.states = list(states)

    async def heartbeat(self, job_id: JobId, epoch: int, lease_s: float) -> LeaseState:
        return self.states.pop(0)


class Fed:
    def feed(self) -> None:
        return None

    def rest(self) -> None:
        return None


async def stop_of(*states: LeaseState) -> Stop:
    settings = SETTINGS.model_copy(update={"lease_s": 0.004})
    watch = Watch(Course(CLAIM), cast("JobWork", cast("Any", Lease(*states))), FakeClock(), settings, Fed(), asyncio.Event())
    return await watch.run()


async def test_a_step_that_does_not_move_is_given_up_after_its_grace() -> None:
    limit_s = SETTINGS.step_timeout_s + STEP_GRACE_S
    moving = LeaseState(is_cancel_requested=False, silent_s=limit_s - 1)
    still = LeaseState(is_cancel_requested=False, silent_s=limit_s + 1)
    assert await stop_of(moving, moving, still) is Stop.STUCK


async def test_a_wish_to_cancel_goes_before_everything() -> None:
    assert await stop_of(LeaseState(is_cancel_requested=True, silent_s=1e9)) is Stop.CANCELLED
