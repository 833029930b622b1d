"""What every ``JobStore.reap`` must mend, and what its operators see. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from datetime import datetime
from typing import Final

from tandem.ids import JobId
from tandem.ports import Outcome, Parking, Reaped, Storage
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import Job, JobFailure, JobResult, JobStatus
from tandem.testing.samples import ALICE, Samples
from tandem.testing.suites.job import ATTEMPTS, LEASE_S, SHORT_LEASE_S, claimed, created, event_types, moment, run_out

SOON_S: Final = 0.4
"""Far enough for a claim on a loaded machine to come before it."""
SPENT: Final = JobFailure(code="budget_reached", message="The job has used its 3 model calls.")


async def wait_for(at: datetime) -> None:
    """Let a moment pass."""
    await asyncio.sleep((at - moment(0)).total_seconds() + 0.01)


async def swept(storage: Storage) -> Reaped:
    """One sweep with the usual limits."""
    return await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)


async def parked(storage: Storage, samples: Samples, parking: Parking) -> JobId:
    """A job that its worker has let go of in this way."""
    claim = await claimed(storage, await created(storage, samples.job()))
    await storage.work.park(claim.job_id, claim.epoch, parking)
    return claim.job_id


async def read(storage: Storage, job_id: JobId) -> Job:
    """Alice's job."""
    return await storage.jobs.get(job_id, ALICE)


class ReaperConformance:
    """Lost hints and lost workers."""

    async def test_a_queued_job_is_hinted_again_after_its_wait(self, storage: Storage, samples: Samples) -> None:
        await created(storage, samples.job())
        fresh = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
        await asyncio.sleep(0.01)
        waiting = await storage.jobs.reap(rehint_after_s=0.001, max_attempts=ATTEMPTS)
        assert [each.due for each in (fresh, waiting)] == [0, 1]

    async def test_each_further_hint_waits_longer(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        await storage.work.release(job_id, (await claimed(storage, job_id)).epoch)
        hinted = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
        await asyncio.sleep(0.01)
        backed_off = await storage.jobs.reap(rehint_after_s=0.001, max_attempts=ATTEMPTS)
        assert [each.due for each in (hinted, backed_off)] == [1, 0]

    async def test_one_sweep_hints_no_more_than_its_limit_and_the_next_goes_on(self, storage: Storage, samples: Samples) -> None:
        for _ in range(3):
            claim = await claimed(storage, await created(storage, samples.job()))
            await storage.work.release(claim.job_id, claim.epoch)  # due for a hint whatever the time
        sweeps = [await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS, limit=2) for _ in range(3)]
        assert [each.due for each in sweeps] == [2, 1, 0]

    async def test_a_job_whose_worker_died_is_hinted_at_once(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        await claimed(storage, job_id, SHORT_LEASE_S)
        await run_out()
        reaped = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
        assert (reaped.due, list(reaped.failed)) == (1, [])

    async def test_a_job_that_loses_too_many_workers_fails(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        for _ in range(ATTEMPTS):
            await claimed(storage, job_id, SHORT_LEASE_S)
            await run_out()
        assert await storage.work.claim("w9", LEASE_S, ATTEMPTS, job_id=job_id) is None
        reaped = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
        job = await storage.jobs.get(job_id, ALICE)
        assert (reaped.due, list(reaped.failed), [each.stream for each in reaped.appended]) == (0, [job_id], [job_id])
        assert (job.status, job.attempt, job.error and job.error.code) == (JobStatus.FAILED, ATTEMPTS, "worker_lost")
        assert (await event_types(storage, job_id))[-2:] == [JobEvent.ATTEMPT_LOST, JobEvent.FAILED]

    async def test_a_cancelling_job_whose_worker_died_is_cancelled(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        await claimed(storage, job_id, SHORT_LEASE_S)
        await storage.jobs.request_cancel(job_id, ALICE)
        await run_out()
        assert await storage.work.claim("w2", LEASE_S, ATTEMPTS, job_id=job_id) is None
        reaped = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
        assert (reaped.due, list(reaped.failed)) == (0, [])
        assert (await storage.jobs.get(job_id, ALICE)).status is JobStatus.CANCELLED

    async def test_a_working_worker_is_left_alone(self, storage: Storage, samples: Samples) -> None:
        await claimed(storage, await created(storage, samples.job()))
        reaped = await storage.jobs.reap(rehint_after_s=0.0001, max_attempts=1)
        assert (reaped.due, list(reaped.failed), list(reaped.appended)) == (0, [], [])

    async def test_counts_show_states_waiting_time_and_the_last_sign_of_life(self, storage: Storage, samples: Samples) -> None:
        empty = await storage.jobs.counts()
        assert (dict(empty.by_status), empty.oldest_queued_s, empty.last_claim_s) == ({}, 0.0, None)
        await created(storage, samples.job())
        await claimed(storage, await created(storage, samples.job()))
        await asyncio.sleep(0.01)
        counts = await storage.jobs.counts()
        assert counts.by_status == {JobStatus.QUEUED: 1, JobStatus.IN_PROGRESS: 1}
        assert counts.queued_by_key == {ALICE: 1}
        assert counts.oldest_queued_s > 0
        assert counts.last_claim_s is not None
        assert 0 < counts.last_claim_s < LEASE_S

    async def test_leases_show_what_workers_hold_oldest_first(self, storage: Storage, samples: Samples) -> None:
        await created(storage, samples.job())
        first = await claimed(storage, await created(storage, samples.job()), SHORT_LEASE_S)
        await run_out()
        second = await claimed(storage, await created(storage, samples.job()), worker="w2")
        await asyncio.sleep(0.01)
        dead, alive = await storage.jobs.leases(stuck_after_s=0.005)
        assert [(each.job_id, each.worker) for each in (dead, alive)] == [(first.job_id, "w1"), (second.job_id, "w2")]
        assert (dead.lease_left_s < 0, dead.is_stuck) == (True, False)
        assert (alive.lease_left_s > 0, alive.silent_s > 0.005, alive.is_stuck) == (True, True, True)
        assert not (await storage.jobs.leases(stuck_after_s=LEASE_S))[1].is_stuck


class TimeConformance:
    """Moments that come and deadlines that pass."""

    async def test_a_scheduled_job_is_queued_when_its_time_has_come(self, storage: Storage, samples: Samples) -> None:
        run_at = moment(SOON_S)
        due, later = await created(storage, samples.job(run_at=run_at)), await created(storage, samples.job(run_at=moment(60)))
        await wait_for(run_at)
        reaped = await swept(storage)
        assert (reaped.due, [each.stream for each in reaped.appended]) == (1, [due])
        assert (await event_types(storage, due))[-1] == JobEvent.QUEUED
        assert [(await read(storage, each)).status for each in (due, later)] == [JobStatus.QUEUED, JobStatus.SCHEDULED]
        await claimed(storage, due)

    async def test_a_job_that_waits_beyond_its_deadline_ends_as_incomplete(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job(deadline=moment(0)))
        await created(storage, samples.job(deadline=moment(60)))
        reaped = await swept(storage)
        job = await read(storage, job_id)
        assert (list(reaped.expired), reaped.due) == ([job_id], 0)
        assert (job.status, job.error and job.error.code) == (JobStatus.INCOMPLETE, "deadline_exceeded")
        assert (await event_types(storage, job_id))[-1] == JobEvent.INCOMPLETE

    async def test_a_job_that_waits_for_a_budget_beyond_its_deadline_keeps_its_best(self, storage: Storage, samples: Samples) -> None:
        deadline = moment(SOON_S)
        claim = await claimed(storage, await created(storage, samples.job(deadline=deadline)))
        await storage.work.park(
            claim.job_id, claim.epoch, Parking(JobStatus.BUDGET_REACHED, wait_s=60, best=JobResult(output_text="4"), reason=SPENT)
        )
        await wait_for(deadline)
        await swept(storage)
        job = await read(storage, claim.job_id)
        assert (job.status, job.output_text, job.error and job.error.code) == (JobStatus.INCOMPLETE, "4", "deadline_exceeded")

    async def test_a_worker_that_lives_ends_its_job_itself_after_the_deadline(self, storage: Storage, samples: Samples) -> None:
        deadline = moment(SOON_S)
        claim = await claimed(storage, await created(storage, samples.job(deadline=deadline)))
        assert claim.deadline_left_s is not None
        assert 0 < claim.deadline_left_s <= SOON_S
        await wait_for(deadline)
        assert list((await swept(storage)).expired) == []
        late = Outcome(JobStatus.INCOMPLETE, JobResult(output_text="4"), JobFailure(code="deadline_exceeded", message="Too late."))
        await storage.work.finish(claim.job_id, claim.epoch, late)
        assert (await read(storage, claim.job_id)).output_text == "4"

    async def test_a_job_whose_worker_died_is_not_taken_up_again_after_the_deadline(self, storage: Storage, samples: Samples) -> None:
        deadline = moment(SOON_S)
        claim = await claimed(storage, await created(storage, samples.job(deadline=deadline)), SHORT_LEASE_S)
        await wait_for(deadline)
        reaped = await swept(storage)
        job = await read(storage, claim.job_id)
        assert (list(reaped.expired), reaped.due, job.status, job.lost) == ([claim.job_id], 0, JobStatus.INCOMPLETE, 1)
        assert (await event_types(storage, claim.job_id))[-2:] == [JobEvent.ATTEMPT_LOST, JobEvent.INCOMPLETE]

    async def test_a_question_that_nobody_answers_takes_its_default_and_the_job_goes_on(self, storage: Storage, samples: Samples) -> None:
        asks = [InputAsk(key="a", kind="text", prompt="Which?", default="red"), InputAsk(key="b", kind="approval", prompt="Go?", default="reject")]
        job_id = await parked(storage, samples, Parking(JobStatus.INPUT_REQUIRED, asks, wait_s=0.01))
        await asyncio.sleep(0.02)
        reaped = await swept(storage)
        job = await read(storage, job_id)
        assert (list(reaped.expired), reaped.due, job.status) == ([job_id], 1, JobStatus.QUEUED)
        assert [(each.status, each.value, each.decision) for each in job.inputs] == [("expired", "red", None), ("expired", None, "reject")]
        assert (await event_types(storage, job_id))[-3:] == [JobEvent.INPUT_EXPIRED, JobEvent.INPUT_EXPIRED, JobEvent.QUEUED]
        assert [each.value for each in (await claimed(storage, job_id)).inputs] == ["red", None]

    async def test_a_question_without_a_default_that_nobody_answers_fails_the_job(self, storage: Storage, samples: Samples) -> None:
        asks = [InputAsk(key="a", kind="text", prompt="Which?", default="red"), InputAsk(key="b", kind="text", prompt="And?")]
        job_id = await parked(storage, samples, Parking(JobStatus.INPUT_REQUIRED, asks, wait_s=0.01))
        await asyncio.sleep(0.02)
        reaped = await swept(storage)
        job = await read(storage, job_id)
        assert (list(reaped.expired), list(reaped.failed)) == ([job_id], [])
        assert (job.status, job.error and job.error.code, {each.status for each in job.inputs}) == (JobStatus.FAILED, "input_expired", {"expired"})
        assert (await event_types(storage, job_id))[-3:] == [JobEvent.INPUT_EXPIRED, JobEvent.INPUT_EXPIRED, JobEvent.FAILED]

    async def test_a_budget_that_nobody_raises_ends_the_job_with_its_best(self, storage: Storage, samples: Samples) -> None:
        job_id = await parked(storage, samples, Parking(JobStatus.BUDGET_REACHED, wait_s=0.01, best=JobResult(output_text="4"), reason=SPENT))
        await asyncio.sleep(0.02)
        reaped = await swept(storage)
        job = await read(storage, job_id)
        assert (list(reaped.expired), job.status, job.output_text, job.error) == ([job_id], JobStatus.INCOMPLETE, "4", SPENT)

    async def test_a_paused_job_waits_for_ever(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        await storage.jobs.request_pause(job_id, ALICE)
        reaped = await storage.jobs.reap(rehint_after_s=0.0, max_attempts=1)
        assert (reaped.due, list(reaped.expired), (await read(storage, job_id)).status) == (0, [], JobStatus.PAUSED)
