"""What every ``JobStore`` must do: creation, reading, claims and leases, fenced writes, ends, the reaper. Part of ``storage_suite``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from typing import Final

import pytest

from tandem.errors import IdempotencyKeyReused, LeaseLost, NotFound, TooManyRequests
from tandem.ids import JobId, StreamId
from tandem.ports import Claim, NewEvent, NewJob, Outcome, Storage
from tandem.schemas.events import JobEvent, ThreadEvent
from tandem.schemas.jobs import JobFailure, JobResult, JobStatus, JobView, PlanStep, Usage
from tandem.schemas.webhooks import WebhookEvent
from tandem.testing.samples import ALICE, BOB, Samples

MANY: Final = 1_000
LEASE_S: Final = 30.0
SHORT_LEASE_S: Final = 0.02
ATTEMPTS: Final = 3
DONE: Final = Outcome(JobStatus.COMPLETED, JobResult(output_text="5", answer=5, confidence=1.0, usage=Usage(calls=2)))


async def run_out() -> None:
    """Let a short lease run out by the database's own clock."""
    await asyncio.sleep(2 * SHORT_LEASE_S)


async def event_types(storage: Storage, stream: str) -> list[str]:
    """Types of a whole log, after checking that its numbers have no gap."""
    events = await storage.events.read(StreamId(stream), -1, MANY)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return [event.type for event in events]


async def created(storage: Storage, new: NewJob) -> JobId:
    """Create a job without a limit."""
    await storage.jobs.create(new, max_unfinished=MANY)
    return new.id


async def claimed(storage: Storage, job_id: JobId, lease_s: float = LEASE_S, worker: str = "w1") -> Claim:
    """Claim a job that must be free."""
    claim = await storage.jobs.claim(job_id, worker, lease_s, ATTEMPTS)
    assert claim is not None
    return claim


class CreationConformance:
    """Creating and reading jobs."""

    async def test_a_created_job_is_queued_with_its_first_two_events(self, storage: Storage, samples: Samples) -> None:
        new = samples.job()
        result = await storage.jobs.create(new, max_unfinished=MANY)
        assert (result.job.id, result.job.status, result.job.last_seq, result.is_replay) == (new.id, JobStatus.QUEUED, 1, False)
        assert [(each.stream, each.last_seq) for each in result.appended] == [(new.id, 1)]
        assert await event_types(storage, new.id) == [JobEvent.CREATED, JobEvent.QUEUED]

    async def test_a_job_reads_back_as_it_was_created(self, storage: Storage, samples: Samples) -> None:
        new = samples.job(webhook_url="https://example.org/hook")
        result = await storage.jobs.create(new, max_unfinished=MANY)
        job = await storage.jobs.get(new.id, ALICE)
        assert job == result.job
        assert (job.request, job.view.title, job.effort) == (new.request, "A sum", "low")

    async def test_another_tenants_job_is_not_found(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        with pytest.raises(NotFound):
            await storage.jobs.get(job_id, BOB)
        with pytest.raises(NotFound):
            await storage.jobs.request_cancel(job_id, BOB)
        assert not await storage.jobs.list(BOB, status=None, after=None, limit=10)

    async def test_jobs_are_listed_newest_first_in_pages(self, storage: Storage, samples: Samples) -> None:
        made: list[str] = []
        for _ in range(5):
            made.append(await created(storage, samples.job()))
            await asyncio.sleep(0.002)  # SQLite's clock ticks in milliseconds
        first = await storage.jobs.list(ALICE, status=None, after=None, limit=3)
        rest = await storage.jobs.list(ALICE, status=None, after=JobId(first[-1].id), limit=3)
        assert [job.id for job in [*first, *rest]] == made[::-1]

    async def test_a_cursor_of_another_tenant_is_not_found(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job(tenant=BOB))
        with pytest.raises(NotFound):
            await storage.jobs.list(ALICE, status=None, after=job_id, limit=3)

    async def test_jobs_are_listed_by_status(self, storage: Storage, samples: Samples) -> None:
        running = await created(storage, samples.job())
        await created(storage, samples.job())
        await claimed(storage, running)
        assert [job.id for job in await storage.jobs.list(ALICE, status=JobStatus.IN_PROGRESS, after=None, limit=10)] == [running]

    async def test_the_same_key_and_body_give_the_same_job(self, storage: Storage, samples: Samples) -> None:
        first = await storage.jobs.create(samples.job(idempotency_key="k", fingerprint="f"), max_unfinished=MANY)
        again = await storage.jobs.create(samples.job(idempotency_key="k", fingerprint="f"), max_unfinished=1)
        assert (again.job.id, again.is_replay, list(again.appended)) == (first.job.id, True, [])

    async def test_the_same_key_with_another_body_is_refused(self, storage: Storage, samples: Samples) -> None:
        await storage.jobs.create(samples.job(idempotency_key="k", fingerprint="f"), max_unfinished=MANY)
        with pytest.raises(IdempotencyKeyReused):
            await storage.jobs.create(samples.job(idempotency_key="k", fingerprint="g"), max_unfinished=MANY)

    async def test_another_tenants_key_is_another_key(self, storage: Storage, samples: Samples) -> None:
        first = await storage.jobs.create(samples.job(idempotency_key="k", fingerprint="f"), max_unfinished=MANY)
        other = await storage.jobs.create(samples.job(tenant=BOB, idempotency_key="k", fingerprint="g"), max_unfinished=MANY)
        assert (other.is_replay, other.job.id == first.job.id) == (False, False)

    async def test_the_quota_counts_only_the_tenants_unfinished_jobs(self, storage: Storage, samples: Samples) -> None:
        first = await created(storage, samples.job())
        await created(storage, samples.job(tenant=BOB))
        await storage.jobs.create(samples.job(), max_unfinished=2)
        with pytest.raises(TooManyRequests) as refused:
            await storage.jobs.create(samples.job(), max_unfinished=2)
        assert refused.value.retry_after_s
        await storage.jobs.request_cancel(first, ALICE)
        await storage.jobs.create(samples.job(), max_unfinished=2)

    async def test_a_job_in_a_foreign_thread_is_refused_and_leaves_nothing(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, BOB, "Bob's")
        new = samples.job(thread_id=thread_id)
        with pytest.raises(NotFound):
            await storage.jobs.create(new, max_unfinished=MANY)
        assert await storage.events.last_seq(StreamId(new.id)) == -1


class LeaseConformance:
    """Claims, leases and fenced writes."""

    async def test_a_claim_owns_the_job_and_says_so_in_the_log(self, storage: Storage, samples: Samples) -> None:
        new = samples.job()
        claim = await claimed(storage, await created(storage, new))
        assert (claim.epoch, claim.attempt, claim.request, claim.tenant) == (1, 1, new.request, ALICE)
        assert await event_types(storage, new.id) == [JobEvent.CREATED, JobEvent.QUEUED, JobEvent.IN_PROGRESS, JobEvent.ATTEMPT_STARTED]
        job = await storage.jobs.get(new.id, ALICE)
        assert (job.status, job.attempt, job.last_seq, job.started_at is not None) == (JobStatus.IN_PROGRESS, 1, 3, True)

    async def test_an_owned_an_ended_and_an_unknown_job_cannot_be_claimed(self, storage: Storage, samples: Samples) -> None:
        owned, ended = await created(storage, samples.job()), await created(storage, samples.job())
        await claimed(storage, owned)
        await storage.jobs.request_cancel(ended, ALICE)
        assert [await storage.jobs.claim(each, "w2", LEASE_S, ATTEMPTS) for each in (owned, ended, samples.ids.job())] == [None, None, None]

    async def test_a_job_whose_lease_ran_out_is_claimed_with_a_newer_epoch(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        await claimed(storage, job_id, SHORT_LEASE_S)
        await run_out()
        claim = await claimed(storage, job_id, worker="w2")
        assert (claim.epoch, claim.attempt) == (2, 2)
        assert (await event_types(storage, job_id))[-2:] == [JobEvent.ATTEMPT_LOST, JobEvent.ATTEMPT_STARTED]

    async def test_a_heartbeat_extends_the_lease(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id, SHORT_LEASE_S)
        assert not (await storage.jobs.heartbeat(job_id, claim.epoch, LEASE_S)).is_cancel_requested
        await run_out()
        assert await storage.jobs.claim(job_id, "w2", LEASE_S, ATTEMPTS) is None

    async def test_a_zombie_can_write_nothing(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        zombie = await claimed(storage, job_id, SHORT_LEASE_S)
        await run_out()
        await claimed(storage, job_id, worker="w2")
        before = await event_types(storage, job_id)
        for write in (
            storage.jobs.heartbeat(job_id, zombie.epoch, LEASE_S),
            storage.jobs.append(job_id, zombie.epoch, [NewEvent(JobEvent.TEXT_DELTA, {"delta": "x"})]),
            storage.jobs.record_effect(job_id, zombie.epoch, "step", 1),
            storage.jobs.release(job_id, zombie.epoch),
            storage.jobs.finish(job_id, zombie.epoch, DONE),
        ):
            with pytest.raises(LeaseLost):
                await write
        assert await event_types(storage, job_id) == before
        assert await storage.jobs.recall_effect(job_id, "step") is None

    async def test_appended_events_and_view_are_stored(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        view = JobView(title="A sum", plan=[PlanStep(id="1", title="add")])
        text = {"delta": "NUL \x00, surrogate \ud800, 你好"}
        appended = await storage.jobs.append(job_id, claim.epoch, [NewEvent(JobEvent.TEXT_DELTA, {**text}), NewEvent(JobEvent.TEXT_DONE)], view)
        assert [(each.stream, each.last_seq) for each in appended] == [(job_id, 5)]
        assert (await storage.jobs.get(job_id, ALICE)).view == view
        assert [event.data for event in await storage.events.read(StreamId(job_id), 3, 10)] == [text, {}]

    async def test_a_view_alone_appends_nothing(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        assert list(await storage.jobs.append(claim.job_id, claim.epoch, [], JobView(title="Adding"))) == []
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (job.view.title, job.last_seq) == ("Adding", 3)

    async def test_release_queues_the_job_without_using_up_an_attempt(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        for round_number in range(1, ATTEMPTS + 2):
            claim = await claimed(storage, job_id)
            assert claim.attempt == round_number
            await storage.jobs.release(job_id, claim.epoch)
            with pytest.raises(LeaseLost):
                await storage.jobs.heartbeat(job_id, claim.epoch, LEASE_S)
            reaped = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
            assert (list(reaped.to_hint), list(reaped.failed)) == ([job_id], [])

    async def test_an_effect_is_recorded_once(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        assert await storage.jobs.recall_effect(job_id, "step") is None
        assert await storage.jobs.record_effect(job_id, claim.epoch, "step", {"sent": 1}) == {"sent": 1}
        assert await storage.jobs.record_effect(job_id, claim.epoch, "step", {"sent": 2}) == {"sent": 1}
        assert await storage.jobs.recall_effect(job_id, "step") == {"sent": 1}


class EndConformance:
    """How jobs end: finished, cancelled, given up."""

    async def test_a_finished_job_shows_its_result_and_one_terminal_event(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        await storage.jobs.finish(job_id, claim.epoch, DONE)
        job = await storage.jobs.get(job_id, ALICE)
        assert (job.status, job.output_text, job.answer, job.usage.calls) == (JobStatus.COMPLETED, "5", 5, 2)
        last = (await storage.events.read(StreamId(job_id), job.last_seq - 1, 1))[0]
        assert (last.type, last.data["output_text"], last.data["status"]) == (JobEvent.COMPLETED, "5", "completed")
        with pytest.raises(LeaseLost):
            await storage.jobs.finish(job_id, claim.epoch, DONE)

    async def test_a_failed_job_says_why(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        error = JobFailure(code="model_unavailable", message="The model server is down.")
        await storage.jobs.finish(job_id, claim.epoch, Outcome(JobStatus.FAILED, error=error))
        job = await storage.jobs.get(job_id, ALICE)
        assert (job.status, job.error, job.output_text) == (JobStatus.FAILED, error, None)

    async def test_a_queued_job_is_cancelled_at_once_and_only_once(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        job, appended = await storage.jobs.request_cancel(job_id, ALICE)
        again, nothing = await storage.jobs.request_cancel(job_id, ALICE)
        assert (job.status, len(appended), again, list(nothing)) == (JobStatus.CANCELLED, 1, job, [])
        assert (await event_types(storage, job_id))[-1] == JobEvent.CANCELLED

    async def test_a_running_jobs_worker_hears_of_the_cancellation(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        job, _ = await storage.jobs.request_cancel(job_id, ALICE)
        again, nothing = await storage.jobs.request_cancel(job_id, ALICE)
        assert (job.status, again, list(nothing)) == (JobStatus.CANCELLING, job, [])
        assert (await storage.jobs.heartbeat(job_id, claim.epoch, LEASE_S)).is_cancel_requested

    async def test_an_answer_after_the_cancellation_comes_too_late(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        await storage.jobs.request_cancel(job_id, ALICE)
        await storage.jobs.finish(job_id, claim.epoch, DONE)
        job = await storage.jobs.get(job_id, ALICE)
        assert (job.status, job.answer, job.usage.calls) == (JobStatus.CANCELLED, None, 2)

    async def test_a_worker_that_stops_while_cancelling_leaves_a_cancelled_job(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        await storage.jobs.request_cancel(job_id, ALICE)
        await storage.jobs.release(job_id, claim.epoch)
        assert (await storage.jobs.get(job_id, ALICE)).status is JobStatus.CANCELLED

    async def test_the_end_in_a_thread_brings_a_message_and_then_the_card(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, ALICE, "Sums")
        job_id = await created(storage, samples.job(thread_id=thread_id))
        assert list(await storage.threads.running_jobs(thread_id, ALICE)) == [job_id]
        claim = await claimed(storage, job_id)
        appended = await storage.jobs.finish(job_id, claim.epoch, DONE)
        assert await event_types(storage, thread_id) == [ThreadEvent.JOB_UPDATED] * 2 + [ThreadEvent.MESSAGE_CREATED, ThreadEvent.JOB_UPDATED]
        assert [each.stream for each in appended] == [job_id, thread_id]
        message = (await storage.threads.messages(thread_id, ALICE, after_seq=-1, limit=10))[0]
        assert (message.content, message.job_id, message.lane, message.seq, message.error) == ("5", job_id, "slow", 2, None)
        card = (await storage.events.read(StreamId(thread_id), 2, 1))[0].data
        assert (card["job_id"], card["status"], card["last_seq"]) == (job_id, "completed", 4)
        assert not await storage.threads.running_jobs(thread_id, ALICE)

    async def test_a_cancelled_job_in_a_thread_leaves_a_message_that_says_so(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, ALICE, "Sums")
        await storage.jobs.request_cancel(await created(storage, samples.job(thread_id=thread_id)), ALICE)
        message = (await storage.threads.messages(thread_id, ALICE, after_seq=-1, limit=10))[0]
        assert message.error is not None
        assert message.error.code == "job_cancelled"

    async def test_a_view_is_mirrored_to_the_thread(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, ALICE, "Sums")
        claim = await claimed(storage, await created(storage, samples.job(thread_id=thread_id)))
        appended = await storage.jobs.append(claim.job_id, claim.epoch, [NewEvent(JobEvent.STEP_STARTED)], JobView(title="Adding"))
        assert [(each.stream, each.last_seq) for each in appended] == [(claim.job_id, 4), (thread_id, 2)]
        card = (await storage.events.read(StreamId(thread_id), 1, 1))[0]
        assert (card.type, card.data["view"]) == (ThreadEvent.JOB_UPDATED, JobView(title="Adding").model_dump(mode="json"))

    async def test_the_end_puts_one_webhook_into_the_outbox(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job(webhook_url="https://example.org/hook")))
        await storage.jobs.finish(claim.job_id, claim.epoch, DONE)
        (delivery,) = await storage.outbox.claim(10, LEASE_S)
        body = WebhookEvent.model_validate_json(delivery.body)
        assert (delivery.url, delivery.job_id, delivery.tenant, delivery.attempt) == ("https://example.org/hook", claim.job_id, ALICE, 1)
        assert (body.id, body.type, body.data.job_id, body.data.sequence_number) == (delivery.id, "response.completed", claim.job_id, 4)
        assert (body.data.status, body.data.metadata) == ("completed", {"order": "17"})


class ReaperConformance:
    """Lost hints and lost workers."""

    async def test_a_queued_job_is_hinted_again_after_its_wait(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        fresh = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
        await asyncio.sleep(0.01)
        waiting = await storage.jobs.reap(rehint_after_s=0.001, max_attempts=ATTEMPTS)
        assert [list(each.to_hint) for each in (fresh, waiting)] == [[], [job_id]]

    async def test_each_further_hint_waits_longer(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        await storage.jobs.release(job_id, (await claimed(storage, job_id)).epoch)
        hinted = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
        await asyncio.sleep(0.01)
        backed_off = await storage.jobs.reap(rehint_after_s=0.001, max_attempts=ATTEMPTS)
        assert [list(each.to_hint) for each in (hinted, backed_off)] == [[job_id], []]

    async def test_hints_come_in_order_of_priority_and_within_the_limit(self, storage: Storage, samples: Samples) -> None:
        made = [await created(storage, samples.job(priority=priority)) for priority in (5, 9, 0)]
        await asyncio.sleep(0.01)
        reaped = await storage.jobs.reap(rehint_after_s=0.001, max_attempts=ATTEMPTS, limit=2)
        assert list(reaped.to_hint) == [made[2], made[0]]

    async def test_a_job_whose_worker_died_is_hinted_at_once(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        await claimed(storage, job_id, SHORT_LEASE_S)
        await run_out()
        reaped = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
        assert (list(reaped.to_hint), list(reaped.failed)) == ([job_id], [])

    async def test_a_job_that_loses_too_many_workers_fails(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        for _ in range(ATTEMPTS):
            await claimed(storage, job_id, SHORT_LEASE_S)
            await run_out()
        assert await storage.jobs.claim(job_id, "w9", LEASE_S, ATTEMPTS) is None
        reaped = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
        job = await storage.jobs.get(job_id, ALICE)
        assert (list(reaped.to_hint), list(reaped.failed), [each.stream for each in reaped.appended]) == ([], [job_id], [job_id])
        assert (job.status, job.attempt, job.error and job.error.code) == (JobStatus.FAILED, ATTEMPTS, "worker_lost")
        assert (await event_types(storage, job_id))[-2:] == [JobEvent.ATTEMPT_LOST, JobEvent.FAILED]

    async def test_a_cancelling_job_whose_worker_died_is_cancelled(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        await claimed(storage, job_id, SHORT_LEASE_S)
        await storage.jobs.request_cancel(job_id, ALICE)
        await run_out()
        assert await storage.jobs.claim(job_id, "w2", LEASE_S, ATTEMPTS) is None
        reaped = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
        assert [list(reaped.to_hint), list(reaped.failed)] == [[], []]
        assert (await storage.jobs.get(job_id, ALICE)).status is JobStatus.CANCELLED

    async def test_a_working_worker_is_left_alone(self, storage: Storage, samples: Samples) -> None:
        await claimed(storage, await created(storage, samples.job()))
        reaped = await storage.jobs.reap(rehint_after_s=0.0001, max_attempts=1)
        assert (list(reaped.to_hint), list(reaped.failed), list(reaped.appended)) == ([], [], [])

    async def test_counts_show_states_waiting_time_and_the_last_sign_of_life(self, storage: Storage, samples: Samples) -> None:
        empty = await storage.jobs.counts()
        assert (dict(empty.by_status), empty.oldest_queued_s, empty.last_claim_s) == ({}, 0.0, None)
        await created(storage, samples.job())
        await claimed(storage, await created(storage, samples.job()))
        await asyncio.sleep(0.01)
        counts = await storage.jobs.counts()
        assert counts.by_status == {JobStatus.QUEUED: 1, JobStatus.IN_PROGRESS: 1}
        assert counts.oldest_queued_s > 0
        assert counts.last_claim_s is not None
        assert 0 < counts.last_claim_s < LEASE_S
