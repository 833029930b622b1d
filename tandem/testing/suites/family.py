"""What every ``JobStore`` must do with jobs that belong together: children, rollbacks, retries, purges. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import pytest

from tandem.errors import Conflict, NotFound
from tandem.ids import ArtifactId, JobId, StreamId
from tandem.ports import JobFilter, NewArtifact, Outcome, Storage, StoredCheckpoint
from tandem.schemas.events import JobEvent, ThreadEvent
from tandem.schemas.jobs import Attempt, JobFailure, JobStatus, JobView, PlanStep, Usage
from tandem.testing.samples import ALICE, BOB, Samples, keyed
from tandem.testing.suites.job import DONE, LEASE_S, MANY, claimed, created, event_types

FAILED = Outcome(JobStatus.FAILED, error=JobFailure(code="model_unavailable", message="The model server is down."))


async def statuses(storage: Storage, *job_ids: JobId) -> list[JobStatus]:
    """Where Alice's jobs stand."""
    return [(await storage.jobs.get(each, ALICE)).status for each in job_ids]


async def worked(storage: Storage, samples: Samples, **asked: str) -> JobId:
    """A running job that has made an artifact, a checkpoint and two effects, the second a failure."""
    claim = await claimed(storage, await created(storage, samples.job(thread_id=asked.get("thread_id"), webhook_url=asked.get("webhook_url"))))
    await storage.work.add_artifact(claim.job_id, claim.epoch, NewArtifact(samples.ids.artifact(), "a.txt", "text/plain", b"a"))
    await storage.work.checkpoints.put(claim.job_id, claim.epoch, StoredCheckpoint("", "1", None, "msgpack", b"s", b"m"))
    await storage.work.record_effect(claim.job_id, claim.epoch, "good", {"text": "4", "failure": None})
    await storage.work.record_effect(claim.job_id, claim.epoch, "bad", {"failure": {"code": "model_timeout"}})
    await storage.work.record_effect(claim.job_id, claim.epoch, "plain", "done")
    await storage.work.begin_effect(claim.job_id, claim.epoch, "begun")
    view = JobView(
        title="A sum", plan=[PlanStep(id="1", title="add", state="done")], attempts=[Attempt(id="1", strategy="cot")], usage=Usage(calls=3)
    )
    await storage.work.append(claim.job_id, claim.epoch, [], view)
    return claim.job_id


class FamilyConformance:
    """Parents and children."""

    async def test_a_cancellation_reaches_all_that_descend(self, storage: Storage, samples: Samples) -> None:
        root = await created(storage, samples.job())
        queued = await created(storage, samples.job(parent_id=root))
        running = await created(storage, samples.job(parent_id=root))
        below = await created(storage, samples.job(parent_id=running))
        stranger = await created(storage, samples.job())
        for job_id in (root, running):
            await claimed(storage, job_id)
        changed = await storage.jobs.request_cancel(root, ALICE)
        assert (changed.job.id, changed.job.status) == (root, JobStatus.CANCELLING)
        assert await statuses(storage, root, queued, running, below, stranger) == [
            JobStatus.CANCELLING,
            JobStatus.CANCELLED,
            JobStatus.CANCELLING,
            JobStatus.CANCELLED,
            JobStatus.QUEUED,
        ]
        assert {each.stream for each in changed.appended} == {root, queued, running, below}

    async def test_cancelling_an_ended_parent_cancels_what_still_runs_below(self, storage: Storage, samples: Samples) -> None:
        root = await created(storage, samples.job())
        child = await created(storage, samples.job(parent_id=root))
        below = await created(storage, samples.job(parent_id=child))
        for job_id in (root, child):
            await storage.work.finish(job_id, (await claimed(storage, job_id)).epoch, DONE)
        before = await storage.jobs.get(root, ALICE)
        changed = await storage.jobs.request_cancel(root, ALICE)
        assert (changed.job, await statuses(storage, child, below)) == (before, [JobStatus.COMPLETED, JobStatus.CANCELLED])

    async def test_a_cancellation_reaches_below_a_member_that_was_purged(self, storage: Storage, samples: Samples) -> None:
        root = await created(storage, samples.job())
        middle = await created(storage, samples.job(parent_id=root))
        below = await created(storage, samples.job(parent_id=middle))
        lowest = await created(storage, samples.job(parent_id=below))
        stranger = await created(storage, samples.job(parent_id=await created(storage, samples.job())))
        await storage.work.finish(middle, (await claimed(storage, middle)).epoch, DONE)
        await storage.jobs.purge(middle, ALICE)
        await storage.jobs.request_cancel(root, ALICE)
        assert await statuses(storage, root, below, lowest, stranger) == [JobStatus.CANCELLED] * 3 + [JobStatus.QUEUED]

    async def test_the_end_of_a_parent_leaves_its_children_alone(self, storage: Storage, samples: Samples) -> None:
        root = await created(storage, samples.job())
        child = await created(storage, samples.job(parent_id=root))
        await storage.work.finish(root, (await claimed(storage, root)).epoch, DONE)
        assert await statuses(storage, child) == [JobStatus.QUEUED]

    async def test_a_parent_must_be_the_tenants_and_go_on(self, storage: Storage, samples: Samples) -> None:
        foreign = await created(storage, samples.job(tenant=BOB))
        ended, cancelling = await created(storage, samples.job()), await created(storage, samples.job())
        await claimed(storage, cancelling)
        for job_id in (ended, cancelling):
            await storage.jobs.request_cancel(job_id, ALICE)
        for parent_id, error in ((foreign, NotFound), (samples.ids.job(), NotFound), (ended, Conflict), (cancelling, Conflict)):
            with pytest.raises(error) as refused:
                await storage.jobs.create(samples.job(parent_id=parent_id), max_unfinished=MANY)
            assert refused.value.param == "parent_id"
        assert len(await storage.jobs.list(ALICE, where=JobFilter(), after=None, limit=MANY)) == 2

    async def test_rolling_back_discards_what_the_job_made_and_says_nothing_in_its_thread(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, ALICE, "Sums")
        job_id = await worked(storage, samples, thread_id=thread_id)
        artifact_id = (await storage.jobs.get(job_id, ALICE)).artifacts[0].id
        await storage.jobs.request_cancel(job_id, ALICE, is_rollback=True)
        assert (await storage.jobs.get(job_id, ALICE)).artifacts
        await storage.work.finish(job_id, 1, DONE)
        job = await storage.jobs.get(job_id, ALICE)
        assert (job.status, job.artifacts, list(await storage.jobs.effects(job_id, ALICE))) == (JobStatus.CANCELLED, [], [])
        assert await storage.work.checkpoints.get(job_id, "", None) is None
        assert not await storage.threads.messages(thread_id, ALICE, after_seq=-1, limit=10)
        assert set(await event_types(storage, thread_id)) == {ThreadEvent.JOB_UPDATED}
        with pytest.raises(NotFound):
            await storage.jobs.artifact(job_id, ALICE, artifact_id)  # pyright: ignore[reportArgumentType] - wire ids are plain

    async def test_an_interruption_keeps_what_the_job_made(self, storage: Storage, samples: Samples) -> None:
        job_id = await worked(storage, samples)
        await storage.jobs.request_cancel(job_id, ALICE)
        await storage.work.release(job_id, 1)
        job = await storage.jobs.get(job_id, ALICE)
        assert (job.status, len(job.artifacts), len(await storage.jobs.effects(job_id, ALICE))) == (JobStatus.CANCELLED, 1, 4)

    async def test_a_cancellation_may_become_a_rollback_but_not_the_reverse(self, storage: Storage, samples: Samples) -> None:
        job_id = await worked(storage, samples)
        for is_rollback in (False, True, False):
            changed = await storage.jobs.request_cancel(job_id, ALICE, is_rollback=is_rollback)
            assert changed.job.status is JobStatus.CANCELLING
        await storage.work.release(job_id, 1)
        assert (await storage.jobs.get(job_id, ALICE)).artifacts == []
        assert (await event_types(storage, job_id)).count(JobEvent.CANCELLING) == 1


class RetryConformance:
    """Trying again, and forgetting."""

    async def test_a_retry_carries_over_what_was_recorded_but_no_failure(self, storage: Storage, samples: Samples) -> None:
        ended = await worked(storage, samples)
        await storage.work.finish(ended, 1, FAILED)
        before = await storage.jobs.get(ended, ALICE)
        new = samples.job()
        created_ = await storage.jobs.retry(ended, new, carries_steps=True, max_unfinished=MANY)
        job = await storage.jobs.get(new.id, ALICE)
        assert (created_.job, job.status, job.retry_of, job.usage) == (job, JobStatus.QUEUED, ended, Usage())
        assert (job.view.plan, job.view.attempts, job.view.usage) == (before.view.plan, before.view.attempts, Usage())
        assert {each.key: each.result for each in await storage.jobs.effects(new.id, ALICE)} == {
            "good": {"text": "4", "failure": None},
            "plain": "done",
        }
        effect = await storage.work.recall_effect(new.id, "plain")
        assert effect is not None
        assert (effect.is_done, await storage.jobs.get(ended, ALICE)) == (True, before)
        assert (await claimed(storage, new.id)).view.plan == before.view.plan

    async def test_a_retry_carries_over_files_that_are_its_own_from_then_on(self, storage: Storage, samples: Samples) -> None:
        ended = await worked(storage, samples)
        await storage.work.finish(ended, 1, FAILED)
        (old,) = (await storage.jobs.get(ended, ALICE)).artifacts
        new = samples.job()
        await storage.jobs.retry(ended, new, carries_steps=True, max_unfinished=MANY)
        await storage.jobs.purge(ended, ALICE)
        (copy,) = (await storage.jobs.get(new.id, ALICE)).artifacts
        assert (copy.name, copy.id != old.id) == (old.name, True)
        assert (await storage.jobs.artifact(new.id, ALICE, ArtifactId(copy.id)))[1] == b"a"

    async def test_a_retry_from_the_start_carries_nothing(self, storage: Storage, samples: Samples) -> None:
        ended = await worked(storage, samples)
        await storage.work.finish(ended, 1, FAILED)
        new = samples.job()
        await storage.jobs.retry(ended, new, carries_steps=False, max_unfinished=MANY)
        job = await storage.jobs.get(new.id, ALICE)
        assert (job.retry_of, job.view, list(await storage.jobs.effects(new.id, ALICE))) == (ended, JobView(title="A sum"), [])
        assert job.artifacts == []

    async def test_a_retry_with_a_key_is_made_once_even_after_a_purge(self, storage: Storage, samples: Samples) -> None:
        ended = await created(storage, samples.job())
        await storage.jobs.request_cancel(ended, ALICE)
        first = await storage.jobs.retry(ended, samples.job(once=keyed()), carries_steps=True, max_unfinished=MANY)
        await storage.jobs.purge(ended, ALICE)
        again = await storage.jobs.retry(ended, samples.job(once=keyed()), carries_steps=True, max_unfinished=MANY)
        assert (again.job.id, again.is_replay) == (first.job.id, True)

    async def test_a_purge_leaves_nothing_but_what_is_still_to_be_delivered(self, storage: Storage, samples: Samples) -> None:
        job_id = await worked(storage, samples, webhook_url="https://example.org/hook")
        await storage.work.finish(job_id, 1, DONE)
        await storage.jobs.purge(job_id, ALICE)
        for reading in (storage.jobs.get(job_id, ALICE), storage.jobs.effects(job_id, ALICE), storage.jobs.purge(job_id, ALICE)):
            with pytest.raises(NotFound):
                await reading
        assert await storage.events.last_seq(StreamId(job_id)) == -1
        assert await storage.work.recall_effect(job_id, "good") is None
        assert [each.job_id for each in await storage.outbox.claim(10, LEASE_S)] == [job_id]
