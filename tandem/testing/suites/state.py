"""The state machine of jobs, as a table: every state and every caller's act, and what comes of it. Part of ``storage``.

What no caller decides (claims, parking, ends, sweeps) is added in random walks, which check what must hold after every step.
"""
# ruff: noqa: S101, S311 - a conformance suite asserts, and its walks need no secrecy

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import pytest

from tandem.errors import Conflict, InputClosed, LeaseLost, NotFound
from tandem.ids import InputId, JobId, StreamId
from tandem.ports import Outcome, Parking, Storage
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputAnswer, InputAsk
from tandem.schemas.jobs import TERMINAL_STATUSES, Budget, Job, JobChange, JobFailure, JobResult, JobStatus
from tandem.testing.samples import ALICE, Samples
from tandem.testing.suites.job import DONE, LEASE_S, MANY, SHORT_LEASE_S, claimed, created, event_types, moment

ENDS: Final[Mapping[JobStatus, Outcome]] = {
    JobStatus.COMPLETED: DONE,
    JobStatus.FAILED: Outcome(JobStatus.FAILED, error=JobFailure(code="model_unavailable", message="The model server is down.")),
    JobStatus.CANCELLED: Outcome(JobStatus.CANCELLED),
    JobStatus.INCOMPLETE: Outcome(JobStatus.INCOMPLETE, JobResult(output_text="4"), JobFailure(code="budget_reached", message="Spent.")),
}
ASK: Final = InputAsk(key="colour", kind="text", prompt="Which colour?", default="red")
WAITS: Final[Mapping[JobStatus, Parking]] = {
    JobStatus.INPUT_REQUIRED: Parking(JobStatus.INPUT_REQUIRED, [ASK], wait_s=60),
    JobStatus.BUDGET_REACHED: Parking(JobStatus.BUDGET_REACHED, wait_s=60, best=JobResult(output_text="4")),
}
UNFINISHED: Final = [status for status in JobStatus if status not in TERMINAL_STATUSES]
ENDED: Final = sorted(TERMINAL_STATUSES)

Act = Callable[[Storage, Samples, JobId], Awaitable[object]]
Fate = JobStatus | type[Exception]
S: Final = JobStatus


async def _cancel(storage: Storage, _: Samples, job_id: JobId) -> object:
    return await storage.jobs.request_cancel(job_id, ALICE)


async def _pause(storage: Storage, _: Samples, job_id: JobId) -> object:
    return await storage.jobs.request_pause(job_id, ALICE)


async def _resume(storage: Storage, _: Samples, job_id: JobId) -> object:
    return await storage.jobs.resume(job_id, ALICE)


async def _hurry(storage: Storage, _: Samples, job_id: JobId) -> object:
    return await storage.jobs.change(job_id, ALICE, JobChange(priority=0))


async def _fund(storage: Storage, _: Samples, job_id: JobId) -> object:
    return await storage.jobs.change(job_id, ALICE, JobChange(budget=Budget(max_calls=9)))


async def _steer(storage: Storage, samples: Samples, job_id: JobId) -> object:
    return await storage.jobs.steer(job_id, ALICE, samples.ids.steer(), "In French, please")


async def _answer(storage: Storage, samples: Samples, job_id: JobId) -> object:
    asked = (await storage.jobs.get(job_id, ALICE)).inputs
    input_id = InputId(asked[0].id) if asked else samples.ids.input()
    return await storage.jobs.answer(job_id, ALICE, input_id, InputAnswer(value="blue"))


async def _retry(storage: Storage, samples: Samples, job_id: JobId) -> object:
    return await storage.jobs.retry(job_id, samples.job(), carries_steps=True, max_unfinished=MANY)


async def _adopt(storage: Storage, samples: Samples, job_id: JobId) -> object:
    return await storage.jobs.create(samples.job(parent_id=job_id), max_unfinished=MANY)


async def _purge(storage: Storage, _: Samples, job_id: JobId) -> object:
    return await storage.jobs.purge(job_id, ALICE)


def fates(change: Mapping[JobStatus, Fate], *, waiting: Fate | None = None, ended: Fate | None = None) -> dict[JobStatus, Fate]:
    """A full row of the table: what is not named stays as it is, or meets ``waiting`` before the end and ``ended`` after it."""
    return {status: change.get(status, (ended if status in TERMINAL_STATUSES else waiting) or status) for status in JobStatus}


TABLE: Final[Mapping[Act, Mapping[JobStatus, Fate]]] = {
    _cancel: fates(dict.fromkeys(UNFINISHED, S.CANCELLED) | {S.IN_PROGRESS: S.CANCELLING, S.CANCELLING: S.CANCELLING}),
    _pause: fates({S.SCHEDULED: S.PAUSED, S.QUEUED: S.PAUSED, S.IN_PROGRESS: S.IN_PROGRESS, S.PAUSED: S.PAUSED}, waiting=Conflict, ended=Conflict),
    _resume: fates(
        {S.SCHEDULED: S.SCHEDULED, S.QUEUED: S.QUEUED, S.IN_PROGRESS: S.IN_PROGRESS, S.PAUSED: S.QUEUED}, waiting=Conflict, ended=Conflict
    ),
    _hurry: fates({}, ended=Conflict),
    _fund: fates({S.BUDGET_REACHED: S.QUEUED}, ended=Conflict),
    _steer: fates({S.CANCELLING: Conflict}, ended=Conflict),
    _answer: fates({S.INPUT_REQUIRED: S.QUEUED}, waiting=NotFound, ended=NotFound),
    _retry: fates({S.COMPLETED: Conflict}, waiting=Conflict),
    _adopt: fates({S.CANCELLING: Conflict}, ended=Conflict),
    _purge: fates({}, waiting=Conflict, ended=NotFound),
}
"""What a caller's act makes of a job in each state: the state it is in afterwards, or the refusal (of a purged job: that it is gone)."""


async def reach(storage: Storage, samples: Samples, status: JobStatus) -> JobId:
    """A job in this state."""
    if status is JobStatus.SCHEDULED:
        return await created(storage, samples.job(run_at=moment(60)))
    job_id = await created(storage, samples.job(webhook_url="https://example.org/hook"))
    if status is JobStatus.PAUSED:
        await storage.jobs.request_pause(job_id, ALICE)
    elif status is not JobStatus.QUEUED:
        claim = await claimed(storage, job_id)
        if status is JobStatus.CANCELLING:
            await storage.jobs.request_cancel(job_id, ALICE)
        elif status in WAITS:
            await storage.work.park(job_id, claim.epoch, WAITS[status])
        elif status in ENDS:
            await storage.work.finish(job_id, claim.epoch, ENDS[status])
    assert (await storage.jobs.get(job_id, ALICE)).status is status
    return job_id


class StateConformance:
    """The state machine."""

    @pytest.mark.parametrize("act", TABLE, ids=lambda act: act.__name__.strip("_"))
    async def test_every_state_answers_every_act_as_the_table_says(self, storage: Storage, samples: Samples, act: Act) -> None:
        for status, fate in TABLE[act].items():
            job_id = await reach(storage, samples, status)
            before = await storage.jobs.get(job_id, ALICE)
            if isinstance(fate, JobStatus):
                await act(storage, samples, job_id)
                assert (status, (await storage.jobs.get(job_id, ALICE)).status) == (status, fate)
                assert (status, await _is_unchanged(storage, before)) == (status, True) or status not in TERMINAL_STATUSES
            elif act is _purge and status in TERMINAL_STATUSES:
                await act(storage, samples, job_id)
                with pytest.raises(NotFound):
                    await storage.jobs.get(job_id, ALICE)
                continue
            else:
                with pytest.raises(fate):
                    await act(storage, samples, job_id)
                assert (status, await _is_unchanged(storage, before)) == (status, True)
            await _check(storage, job_id)

    @pytest.mark.parametrize("seed", range(6))
    async def test_whatever_happens_in_whatever_order_the_promises_hold(self, storage: Storage, samples: Samples, seed: int) -> None:
        dice = random.Random(seed)
        job_id = await created(storage, samples.job(webhook_url="https://example.org/hook", deadline=moment(60)))
        old = await storage.jobs.get(job_id, ALICE)
        for _ in range(40):
            await _step(storage, samples, job_id, dice)
            new = await storage.jobs.get(job_id, ALICE)
            await _check(storage, job_id)
            assert new.last_seq >= old.last_seq
            assert new == old or old.status not in TERMINAL_STATUSES
            old = new
        ends = [each for each in await storage.outbox.claim(MANY, LEASE_S) if b'"type":"response.tandem' not in each.body]
        assert len(ends) == (old.status in TERMINAL_STATUSES)


async def _is_unchanged(storage: Storage, before: Job) -> bool:
    return await storage.jobs.get(JobId(before.id), ALICE) == before


async def _check(storage: Storage, job_id: JobId) -> None:
    """The log has no gap and ends with the one terminal event exactly when the job has ended, and the row knows its length."""
    job = await storage.jobs.get(job_id, ALICE)
    types = await event_types(storage, job_id)
    terminal = [index for index, each in enumerate(types) if each in JobEvent.TERMINAL]
    assert job.last_seq == len(types) - 1
    assert terminal == ([job.last_seq] if job.status in TERMINAL_STATUSES else [])
    assert (job.finished_at is not None) == (job.status in TERMINAL_STATUSES)
    assert job.status is not JobStatus.INPUT_REQUIRED or any(each.status == "pending" for each in job.inputs)
    assert job.status not in TERMINAL_STATUSES or all(each.status != "pending" for each in job.inputs)


async def _step(storage: Storage, samples: Samples, job_id: JobId, dice: random.Random) -> None:
    """Something that a caller, a worker or time may do next; ends are rare, so that walks are long."""
    try:
        match dice.choices(["caller", "claim", "park", "release", "reap", "cancel", "finish"], [8, 5, 4, 2, 3, 0.4, 0.3])[0]:
            case "caller":
                await dice.choice([_pause, _resume, _hurry, _fund, _steer, _answer])(storage, samples, job_id)
            case "claim":
                await storage.work.claim("w", dice.choice([LEASE_S, SHORT_LEASE_S]), 50, job_id=job_id)
            case "park":
                parking = dice.choice([*WAITS.values(), Parking(JobStatus.PAUSED), Parking(JobStatus.INPUT_REQUIRED, [ASK], wait_s=0.01)])
                await storage.work.park(job_id, await _epoch(storage, job_id, dice), parking)
            case "release":
                await storage.work.release(job_id, await _epoch(storage, job_id, dice))
            case "reap":
                await asyncio.sleep(dice.choice([0, 2 * SHORT_LEASE_S]))
                await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=50)
            case "cancel":
                await storage.jobs.request_cancel(job_id, ALICE, is_rollback=dice.random() < 0.5)
            case _:
                await storage.work.finish(job_id, await _epoch(storage, job_id, dice), dice.choice(list(ENDS.values())))
    except (Conflict, InputClosed, LeaseLost, NotFound):
        return


async def _epoch(storage: Storage, job_id: JobId, dice: random.Random) -> int:
    """The owner's epoch, as the number of claims and of times it was given up tells; now and then an older one."""
    owned = 0
    given_up = {JobEvent.PAUSED, JobEvent.INPUT_REQUIRED, JobEvent.BUDGET_REACHED, JobEvent.QUEUED}
    is_running = False
    for each in await storage.events.read(StreamId(job_id), -1, MANY):
        if each.type == JobEvent.ATTEMPT_STARTED:
            owned, is_running = owned + 1, True
        elif each.type in given_up and is_running:
            owned, is_running = owned + 1, False
    return owned - (dice.random() < 0.1)
