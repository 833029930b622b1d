"""What every ``JobStore`` must do: creation, reading, listing, ends. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from tandem.errors import IdempotencyKeyReused, LeaseLost, NotFound, TooManyRequests
from tandem.ids import JobId, ScheduleId, StreamId
from tandem.ports import Claim, JobFilter, NewEvent, NewJob, Outcome, Storage
from tandem.schemas.events import JobEvent, ThreadEvent
from tandem.schemas.jobs import JobFailure, JobResult, JobStatus, JobView, Usage
from tandem.schemas.webhooks import EndpointCreate, WebhookData, WebhookEvent
from tandem.testing.samples import ALICE, BOB, Samples, keyed

MANY: Final = 1_000
LEASE_S: Final = 30.0
SHORT_LEASE_S: Final = 0.02
ATTEMPTS: Final = 3
DONE: Final = Outcome(JobStatus.COMPLETED, JobResult(output_text="5", answer=5, confidence=1.0, usage=Usage(calls=2)))


def moment(seconds: float) -> datetime:
    """That many seconds from now, as a caller would write it."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


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
    claim = await storage.work.claim(worker, lease_s, ATTEMPTS, job_id=job_id)
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
        assert not await storage.jobs.list(BOB, where=JobFilter(), after=None, limit=10)

    async def test_jobs_are_listed_newest_first_in_pages(self, storage: Storage, samples: Samples) -> None:
        made: list[str] = []
        for _ in range(5):
            made.append(await created(storage, samples.job()))
            await asyncio.sleep(0.002)  # SQLite's clock ticks in milliseconds
        first = await storage.jobs.list(ALICE, where=JobFilter(), after=None, limit=3)
        rest = await storage.jobs.list(ALICE, where=JobFilter(), after=JobId(first[-1].id), limit=3)
        assert [job.id for job in [*first, *rest]] == made[::-1]

    async def test_a_cursor_of_another_tenant_is_not_found(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job(tenant=BOB))
        with pytest.raises(NotFound):
            await storage.jobs.list(ALICE, where=JobFilter(), after=job_id, limit=3)

    async def test_jobs_are_listed_by_status(self, storage: Storage, samples: Samples) -> None:
        running = await created(storage, samples.job())
        await created(storage, samples.job())
        await claimed(storage, running)
        assert [job.id for job in await storage.jobs.list(ALICE, where=JobFilter(status=JobStatus.IN_PROGRESS), after=None, limit=10)] == [running]

    async def test_the_same_key_and_body_give_the_same_job(self, storage: Storage, samples: Samples) -> None:
        first = await storage.jobs.create(samples.job(once=keyed()), max_unfinished=MANY)
        again = await storage.jobs.create(samples.job(once=keyed()), max_unfinished=1)
        assert (again.job.id, again.is_replay, list(again.appended)) == (first.job.id, True, [])

    async def test_the_same_key_with_another_body_is_refused(self, storage: Storage, samples: Samples) -> None:
        await storage.jobs.create(samples.job(once=keyed()), max_unfinished=MANY)
        with pytest.raises(IdempotencyKeyReused):
            await storage.jobs.create(samples.job(once=keyed(fingerprint="g")), max_unfinished=MANY)

    async def test_another_tenants_key_is_another_key(self, storage: Storage, samples: Samples) -> None:
        first = await storage.jobs.create(samples.job(once=keyed()), max_unfinished=MANY)
        other = await storage.jobs.create(samples.job(tenant=BOB, once=keyed(fingerprint="g")), max_unfinished=MANY)
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

    async def test_without_a_key_only_a_counted_retry_finds_the_first_job(self, storage: Storage, samples: Samples) -> None:
        first = await storage.jobs.create(samples.job(once=keyed(kind="first")), max_unfinished=MANY)
        another = await storage.jobs.create(samples.job(once=keyed(kind="first")), max_unfinished=MANY)
        again = await storage.jobs.create(samples.job(once=keyed(kind="retry")), max_unfinished=MANY)
        assert [each.is_replay for each in (first, another, again)] == [False, False, True]
        assert again.job.id == another.job.id

    async def test_a_key_whose_job_was_purged_makes_a_job_anew(self, storage: Storage, samples: Samples) -> None:
        first = await created(storage, samples.job(once=keyed()))
        await storage.jobs.request_cancel(first, ALICE)
        await storage.jobs.purge(first, ALICE)
        again = await storage.jobs.create(samples.job(once=keyed()), max_unfinished=MANY)
        assert (again.is_replay, again.job.status) == (False, JobStatus.QUEUED)

    async def test_a_job_for_later_is_scheduled_and_cannot_be_claimed(self, storage: Storage, samples: Samples) -> None:
        run_at = moment(60)
        result = await storage.jobs.create(samples.job(run_at=run_at, deadline=moment(90)), max_unfinished=MANY)
        assert (result.job.status, result.job.run_at) == (JobStatus.SCHEDULED, run_at)
        assert await event_types(storage, result.job.id) == [JobEvent.CREATED, JobEvent.SCHEDULED]
        assert await storage.work.claim("w1", LEASE_S, ATTEMPTS) is None
        assert (await storage.jobs.counts()).by_status == {JobStatus.SCHEDULED: 1}

    async def test_a_job_whose_moment_has_passed_is_queued_at_once(self, storage: Storage, samples: Samples) -> None:
        result = await storage.jobs.create(samples.job(run_at=moment(-60)), max_unfinished=MANY)
        assert result.job.status is JobStatus.QUEUED
        assert await event_types(storage, result.job.id) == [JobEvent.CREATED, JobEvent.QUEUED]

    async def test_a_job_keeps_where_it_came_from(self, storage: Storage, samples: Samples) -> None:
        new = samples.job(response_id=samples.ids.response(), schedule_id=ScheduleId("sch_1"))
        await created(storage, new)
        job = await storage.jobs.get(new.id, ALICE)
        assert (job.response_id, job.schedule_id) == (new.response_id, "sch_1")

    async def test_only_the_tenants_own_endpoints_may_be_named(self, storage: Storage, samples: Samples) -> None:
        own, foreign = samples.ids.endpoint(), samples.ids.endpoint()
        for endpoint_id, tenant in ((own, ALICE), (foreign, BOB)):
            await storage.webhooks.add(endpoint_id, tenant, EndpointCreate(url="https://example.org/hook"), b"sealed", max_endpoints=9)
        await created(storage, samples.job(webhook_endpoints=[own]))
        refused = samples.job(webhook_endpoints=[own, foreign])
        with pytest.raises(NotFound) as error:
            await storage.jobs.create(refused, max_unfinished=MANY)
        assert error.value.param == "webhook_endpoints"
        with pytest.raises(NotFound):
            await storage.jobs.get(refused.id, ALICE)

    async def test_a_job_in_a_foreign_thread_is_refused_and_leaves_nothing(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, BOB, "Bob's")
        new = samples.job(thread_id=thread_id)
        with pytest.raises(NotFound):
            await storage.jobs.create(new, max_unfinished=MANY)
        assert await storage.events.last_seq(StreamId(new.id)) == -1


class ListingConformance:
    """Finding jobs again."""

    async def test_jobs_are_found_by_what_they_belong_to(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, ALICE, "Sums")
        plain = await created(storage, samples.job())
        in_thread = await created(storage, samples.job(thread_id=thread_id))
        child = await created(storage, samples.job(parent_id=plain))
        fired = await created(storage, samples.job(schedule_id=ScheduleId("sch_1")))
        found = {
            in_thread: JobFilter(thread_id=thread_id),
            child: JobFilter(parent_id=plain),
            fired: JobFilter(schedule_id=ScheduleId("sch_1")),
        }
        for job_id, where in found.items():
            assert [job.id for job in await storage.jobs.list(ALICE, where=where, after=None, limit=10)] == [job_id]

    @pytest.mark.parametrize("pair", [("order", "17"), ('a"b', "100%_"), ("k", "\\"), ("名", "é😀"), ("k", "")])
    async def test_metadata_are_matched_exactly(self, storage: Storage, samples: Samples, pair: tuple[str, str]) -> None:
        key, value = pair
        wanted = await created(storage, samples.job(metadata={"first": "1", key: value}))
        await created(storage, samples.job(metadata={key: f"{value}x"}))
        await created(storage, samples.job(metadata={f"{key}x": value}))
        await created(storage, samples.job(metadata={"other": f'"{key}":"{value}"'[:500]}))
        found = await storage.jobs.list(ALICE, where=JobFilter(metadata={key: value}), after=None, limit=10)
        assert [job.id for job in found] == [wanted]

    async def test_all_pairs_must_match_and_case_counts(self, storage: Storage, samples: Samples) -> None:
        both = await created(storage, samples.job(metadata={"team": "red", "order": "17"}))
        await created(storage, samples.job(metadata={"team": "red", "order": "18"}))
        await created(storage, samples.job(metadata={"team": "RED", "order": "17"}))
        found = await storage.jobs.list(ALICE, where=JobFilter(metadata={"team": "red", "order": "17"}), after=None, limit=10)
        assert [job.id for job in found] == [both]

    async def test_a_page_of_a_filtered_listing_is_full_although_the_database_offers_others(self, storage: Storage, samples: Samples) -> None:
        made: list[str] = []
        for case in ("red", "RED", "red", "RED", "RED", "red"):
            job_id = await created(storage, samples.job(metadata={"team": case}))
            made += [job_id] if case == "red" else []
            await asyncio.sleep(0.002)  # SQLite's clock ticks in milliseconds
        where = JobFilter(metadata={"team": "red"})
        first = await storage.jobs.list(ALICE, where=where, after=None, limit=2)
        rest = await storage.jobs.list(ALICE, where=where, after=JobId(first[-1].id), limit=2)
        assert [[job.id for job in page] for page in (first, rest)] == [made[:0:-1], made[:1]]


class EndConformance:
    """How jobs end: finished, cancelled, given up."""

    async def test_a_finished_job_shows_its_result_and_one_terminal_event(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        await storage.work.finish(job_id, claim.epoch, DONE)
        job = await storage.jobs.get(job_id, ALICE)
        assert (job.status, job.output_text, job.answer, job.usage.calls) == (JobStatus.COMPLETED, "5", 5, 2)
        last = (await storage.events.read(StreamId(job_id), job.last_seq - 1, 1))[0]
        assert (last.type, last.data["output_text"], last.data["status"]) == (JobEvent.COMPLETED, "5", "completed")
        with pytest.raises(LeaseLost):
            await storage.work.finish(job_id, claim.epoch, DONE)

    async def test_a_failed_job_says_why(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        error = JobFailure(code="model_unavailable", message="The model server is down.")
        await storage.work.finish(job_id, claim.epoch, Outcome(JobStatus.FAILED, error=error))
        job = await storage.jobs.get(job_id, ALICE)
        assert (job.status, job.error, job.output_text) == (JobStatus.FAILED, error, None)

    async def test_a_queued_job_is_cancelled_at_once_and_only_once(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        first = await storage.jobs.request_cancel(job_id, ALICE)
        again = await storage.jobs.request_cancel(job_id, ALICE)
        assert (first.job.status, len(first.appended), again.job, list(again.appended)) == (JobStatus.CANCELLED, 1, first.job, [])
        assert (await event_types(storage, job_id))[-1] == JobEvent.CANCELLED

    async def test_a_running_jobs_worker_hears_of_the_cancellation(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        first = await storage.jobs.request_cancel(job_id, ALICE)
        again = await storage.jobs.request_cancel(job_id, ALICE)
        assert (first.job.status, again.job, list(again.appended)) == (JobStatus.CANCELLING, first.job, [])
        assert (await storage.work.heartbeat(job_id, claim.epoch, LEASE_S)).is_cancel_requested

    async def test_an_answer_after_the_cancellation_comes_too_late(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        await storage.jobs.request_cancel(job_id, ALICE)
        await storage.work.finish(job_id, claim.epoch, DONE)
        job = await storage.jobs.get(job_id, ALICE)
        assert (job.status, job.answer, job.usage.calls) == (JobStatus.CANCELLED, None, 2)

    async def test_a_worker_that_stops_while_cancelling_leaves_a_cancelled_job(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        await storage.jobs.request_cancel(job_id, ALICE)
        await storage.work.release(job_id, claim.epoch)
        assert (await storage.jobs.get(job_id, ALICE)).status is JobStatus.CANCELLED

    async def test_the_end_in_a_thread_brings_a_message_and_then_the_card(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, ALICE, "Sums")
        job_id = await created(storage, samples.job(thread_id=thread_id))
        assert list(await storage.threads.running_jobs(thread_id, ALICE)) == [job_id]
        claim = await claimed(storage, job_id)
        appended = await storage.work.finish(job_id, claim.epoch, DONE)
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
        appended = await storage.work.append(claim.job_id, claim.epoch, [NewEvent(JobEvent.STEP_STARTED)], JobView(title="Adding"))
        assert [(each.stream, each.last_seq) for each in appended] == [(claim.job_id, 4), (thread_id, 2)]
        card = (await storage.events.read(StreamId(thread_id), 1, 1))[0]
        assert (card.data["inputs"], card.data["inbox"]) == ([], [])
        assert (card.type, card.data["view"]) == (ThreadEvent.JOB_UPDATED, JobView(title="Adding").model_dump(mode="json"))

    async def test_the_end_puts_one_webhook_into_the_outbox(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job(webhook_url="https://example.org/hook")))
        await storage.work.finish(claim.job_id, claim.epoch, DONE)
        (delivery,) = await storage.outbox.claim(10, LEASE_S)
        body = WebhookEvent.model_validate_json(delivery.body)
        assert (delivery.url, delivery.job_id, delivery.tenant, delivery.attempt) == ("https://example.org/hook", claim.job_id, ALICE, 1)
        assert isinstance(body.data, WebhookData)
        assert (body.id, body.type, body.data.job_id, body.data.sequence_number) == (delivery.id, "response.completed", claim.job_id, 4)
        assert (body.data.status, body.data.metadata) == ("completed", {"order": "17"})
