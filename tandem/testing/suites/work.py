"""What every ``JobWork`` must do for the worker that holds a job: leases, fenced writes, the log it keeps, release. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tandem.errors import LeaseLost
from tandem.ids import JobId, StreamId
from tandem.ports import NewArtifact, NewEvent, Parking, Storage, StoredCheckpoint, StoredWrite
from tandem.schemas.base import JsonObject
from tandem.schemas.events import JobEvent, ThreadEvent
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import JobFailure, JobStatus, JobView, PlanStep
from tandem.testing.samples import ALICE, Samples
from tandem.testing.suites.job import ATTEMPTS, DONE, LEASE_S, SHORT_LEASE_S, claimed, created, event_types, run_out


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
        assert [await storage.work.claim("w2", LEASE_S, ATTEMPTS, job_id=each) for each in (owned, ended, samples.ids.job())] == [None, None, None]

    async def test_a_job_whose_lease_ran_out_is_claimed_with_a_newer_epoch(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        await claimed(storage, job_id, SHORT_LEASE_S)
        await run_out()
        claim = await claimed(storage, job_id, worker="w2")
        assert (claim.epoch, claim.attempt) == (2, 2)
        assert (await event_types(storage, job_id))[-3:] == [JobEvent.ATTEMPT_LOST, JobEvent.IN_PROGRESS, JobEvent.ATTEMPT_STARTED]

    async def test_a_heartbeat_extends_the_lease(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id, SHORT_LEASE_S)
        assert not (await storage.work.heartbeat(job_id, claim.epoch, LEASE_S)).is_cancel_requested
        await run_out()
        assert await storage.work.claim("w2", LEASE_S, ATTEMPTS, job_id=job_id) is None

    async def test_a_zombie_can_write_nothing(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        zombie = (await claimed(storage, job_id, SHORT_LEASE_S)).epoch
        await storage.jobs.steer(job_id, ALICE, samples.ids.steer(), "be brief")
        await run_out()
        await claimed(storage, job_id, worker="w2")
        before, events = await storage.jobs.get(job_id, ALICE), await event_types(storage, job_id)
        work, checkpoints = storage.work, storage.work.checkpoints
        for write in (
            work.heartbeat(job_id, zombie, LEASE_S),
            work.defer(job_id, zombie, JobFailure(code="model_unavailable", message="Away."), patience_s=60),
            work.append(job_id, zombie, [NewEvent(JobEvent.TEXT_DELTA, {"delta": "x"})]),
            work.append(job_id, zombie, [], JobView(title="Zombie")),
            work.take_steers(job_id, zombie, "step"),
            work.begin_effect(job_id, zombie, "step"),
            work.record_effect(job_id, zombie, "step", 1),
            work.add_artifact(job_id, zombie, NewArtifact(samples.ids.artifact(), "a.txt", "text/plain", b"x")),
            work.park(job_id, zombie, Parking(JobStatus.INPUT_REQUIRED, [InputAsk(key="k", kind="text", prompt="Which?")], wait_s=60)),
            work.park(job_id, zombie, Parking(JobStatus.PAUSED)),
            work.park(job_id, zombie, Parking(JobStatus.BUDGET_REACHED, wait_s=60)),
            work.release(job_id, zombie),
            work.finish(job_id, zombie, DONE),
            checkpoints.put(job_id, zombie, StoredCheckpoint("", "1", None, "msgpack", b"state", b"{}")),
            checkpoints.put_writes(job_id, zombie, "", "1", [StoredWrite("task", 0, "channel", "msgpack", b"value")]),
        ):
            with pytest.raises(LeaseLost):
                await write
        assert (await storage.jobs.get(job_id, ALICE), await event_types(storage, job_id)) == (before, events)
        assert await work.recall_effect(job_id, "step") is None
        assert await checkpoints.get(job_id, "", None) is None

    async def test_appended_events_and_view_are_stored(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        view = JobView(title="A sum", plan=[PlanStep(id="1", title="add")])
        text = {"delta": "NUL \x00, surrogate \ud800, 你好"}
        appended = await storage.work.append(job_id, claim.epoch, [NewEvent(JobEvent.TEXT_DELTA, {**text}), NewEvent(JobEvent.TEXT_DONE)], view)
        assert [(each.stream, each.last_seq) for each in appended] == [(job_id, 5)]
        assert (await storage.jobs.get(job_id, ALICE)).view == view
        assert [event.data for event in await storage.events.read(StreamId(job_id), 3, 10)] == [text, {}]

    async def test_a_view_alone_appends_nothing(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        assert list(await storage.work.append(claim.job_id, claim.epoch, [], JobView(title="Adding"))) == []
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (job.view.title, job.last_seq) == ("Adding", 3)

    async def test_an_append_with_a_view_shows_the_jobs_questions_and_words_in_its_thread(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, ALICE, "Sums")
        claim = await claimed(storage, await created(storage, samples.job(thread_id=thread_id)))
        await storage.jobs.steer(claim.job_id, ALICE, samples.ids.steer(), "be brief")
        await storage.work.append(claim.job_id, claim.epoch, [NewEvent(JobEvent.STEP_STARTED)], JobView(title="Adding"))
        card = await last_data(storage, thread_id, ThreadEvent.JOB_UPDATED)
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert card == {
            "job_id": job.id,
            "status": "in_progress",
            "view": JobView(title="Adding").model_dump(mode="json"),
            "inputs": [],
            "inbox": [each.model_dump(mode="json") for each in job.inbox],
            "last_seq": job.last_seq,
        }

    async def test_a_heartbeat_tells_since_when_the_job_has_not_moved(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        moves: list[Callable[[], Awaitable[object]]] = [
            lambda: storage.work.append(job_id, claim.epoch, [NewEvent(JobEvent.STEP_STARTED)]),
            lambda: storage.work.record_effect(job_id, claim.epoch, "step", 1),
        ]
        for move in moves:
            await asyncio.sleep(0.1)
            assert (await storage.work.heartbeat(job_id, claim.epoch, LEASE_S)).silent_s >= 0.09
            await move()
            assert (await storage.work.heartbeat(job_id, claim.epoch, LEASE_S)).silent_s < 0.09

    async def test_a_heartbeat_hears_of_a_wish_to_pause(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        assert not (await storage.work.heartbeat(claim.job_id, claim.epoch, LEASE_S)).is_pause_requested
        await storage.jobs.request_pause(claim.job_id, ALICE)
        state = await storage.work.heartbeat(claim.job_id, claim.epoch, LEASE_S)
        assert (state.is_pause_requested, state.is_cancel_requested) == (True, False)

    async def test_release_queues_the_job_without_using_up_an_attempt(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        for round_number in range(1, ATTEMPTS + 2):
            claim = await claimed(storage, job_id)
            assert claim.attempt == round_number
            appended = await storage.work.release(job_id, claim.epoch)
            assert [each.stream for each in appended] == [job_id]
            with pytest.raises(LeaseLost):
                await storage.work.heartbeat(job_id, claim.epoch, LEASE_S)
            reaped = await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)
            assert (reaped.due, list(reaped.failed)) == (1, [])

    async def test_a_job_released_while_a_pause_is_asked_for_is_paused(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        await storage.jobs.request_pause(claim.job_id, ALICE)
        await storage.work.release(claim.job_id, claim.epoch)
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (job.status, job.is_pausing) == (JobStatus.PAUSED, False)
        assert (await event_types(storage, claim.job_id))[-1] == JobEvent.PAUSED
        assert await storage.work.claim("w2", LEASE_S, ATTEMPTS) is None


def item(kind: str, index: int, item_type: str = "message") -> NewEvent:
    """An event of the output item with this index."""
    return NewEvent(kind, {"item_id": f"item_{index}", "output_index": index, "item_type": item_type})


class TextConformance:
    """What the store remembers of the output items, so that a lost worker's half message is voided."""

    async def _abandoned(self, storage: Storage, samples: Samples, events: list[NewEvent]) -> JobId:
        """A job whose worker wrote these events and was lost."""
        claim = await claimed(storage, await created(storage, samples.job()), SHORT_LEASE_S)
        await storage.work.append(claim.job_id, claim.epoch, events)
        await run_out()
        return claim.job_id

    async def test_a_message_that_a_lost_worker_left_open_is_reset_once(self, storage: Storage, samples: Samples) -> None:
        thinking = [item(JobEvent.ITEM_ADDED, 0, "reasoning"), item(JobEvent.ITEM_DONE, 0, "reasoning")]
        job_id = await self._abandoned(storage, samples, [*thinking, item(JobEvent.ITEM_ADDED, 1), item(JobEvent.TEXT_DELTA, 1)])
        claim = await claimed(storage, job_id, SHORT_LEASE_S)
        assert claim.items == 2
        types = await event_types(storage, job_id)
        assert types[-4:] == [JobEvent.ATTEMPT_LOST, JobEvent.TEXT_RESET, JobEvent.IN_PROGRESS, JobEvent.ATTEMPT_STARTED]
        assert await last_data(storage, job_id, JobEvent.TEXT_RESET) == {"item_id": "item_1", "output_index": 1}
        await run_out()
        await claimed(storage, job_id)
        assert (await event_types(storage, job_id)).count(JobEvent.TEXT_RESET) == 1

    async def test_a_finished_message_is_not_reset(self, storage: Storage, samples: Samples) -> None:
        job_id = await self._abandoned(storage, samples, [item(JobEvent.ITEM_ADDED, 0), item(JobEvent.ITEM_DONE, 0)])
        assert (await claimed(storage, job_id)).items == 1
        assert JobEvent.TEXT_RESET not in await event_types(storage, job_id)

    async def test_open_thinking_is_not_reset(self, storage: Storage, samples: Samples) -> None:
        job_id = await self._abandoned(storage, samples, [item(JobEvent.ITEM_ADDED, 0, "reasoning")])
        assert (await claimed(storage, job_id)).items == 1
        assert JobEvent.TEXT_RESET not in await event_types(storage, job_id)

    async def test_a_worker_that_resets_its_own_message_leaves_nothing_to_reset(self, storage: Storage, samples: Samples) -> None:
        events = [item(JobEvent.ITEM_ADDED, 0), NewEvent(JobEvent.TEXT_RESET, {"item_id": "item_0", "output_index": 0})]
        job_id = await self._abandoned(storage, samples, events)
        await claimed(storage, job_id)
        assert (await event_types(storage, job_id)).count(JobEvent.TEXT_RESET) == 1

    async def test_of_two_messages_the_open_one_is_reset(self, storage: Storage, samples: Samples) -> None:
        first = [item(JobEvent.ITEM_ADDED, 0), item(JobEvent.ITEM_DONE, 0)]
        job_id = await self._abandoned(storage, samples, [*first, item(JobEvent.ITEM_ADDED, 1)])
        assert (await claimed(storage, job_id)).items == 2
        assert await last_data(storage, job_id, JobEvent.TEXT_RESET) == {"item_id": "item_1", "output_index": 1}

    async def test_a_message_left_open_at_a_release_is_reset_too(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        await storage.work.append(claim.job_id, claim.epoch, [item(JobEvent.ITEM_ADDED, 0)])
        await storage.work.release(claim.job_id, claim.epoch)
        await claimed(storage, claim.job_id)
        assert (await event_types(storage, claim.job_id))[-3:] == [JobEvent.TEXT_RESET, JobEvent.IN_PROGRESS, JobEvent.ATTEMPT_STARTED]


class SteerConformance:
    """Words that people add, as the worker takes them up."""

    async def test_words_are_taken_up_once_and_stay_readable(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        first = (await storage.jobs.steer(claim.job_id, ALICE, samples.ids.steer(), "use metres"))[0]
        taken, appended = await storage.work.take_steers(claim.job_id, claim.epoch, "attempt 2")
        second = (await storage.jobs.steer(claim.job_id, ALICE, samples.ids.steer(), "be brief"))[0]
        both, _ = await storage.work.take_steers(claim.job_id, claim.epoch, "attempt 3")
        again, nothing = await storage.work.take_steers(claim.job_id, claim.epoch, "attempt 4")
        assert [(each.id, each.applied_step, each.applied_at is not None) for each in taken] == [(first.id, "attempt 2", True)]
        assert [(each.id, each.message, each.applied_step) for each in both] == [
            (first.id, "use metres", "attempt 2"),
            (second.id, "be brief", "attempt 3"),
        ]
        assert (list(again), list(nothing), [each.stream for each in appended]) == (list(both), [], [claim.job_id])
        assert (await storage.jobs.get(claim.job_id, ALICE)).inbox == list(both)
        assert (await event_types(storage, claim.job_id)).count(JobEvent.STEER_APPLIED) == 2
        assert await last_data(storage, claim.job_id, JobEvent.STEER_APPLIED) == {"steer_id": second.id, "step": "attempt 3"}

    async def test_the_next_worker_sees_the_words_its_predecessor_took_up(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        await storage.jobs.steer(claim.job_id, ALICE, samples.ids.steer(), "use metres")
        taken, _ = await storage.work.take_steers(claim.job_id, claim.epoch, "attempt 1")
        await storage.work.release(claim.job_id, claim.epoch)
        after = await claimed(storage, claim.job_id)
        assert (await storage.work.take_steers(claim.job_id, after.epoch, "attempt 2"))[0] == taken

    async def test_an_empty_inbox_is_refused_to_a_zombie_too(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        assert await storage.work.take_steers(claim.job_id, claim.epoch, "attempt 1") == ([], ())
        with pytest.raises(LeaseLost):
            await storage.work.take_steers(claim.job_id, claim.epoch - 1, "attempt 1")


async def last_data(storage: Storage, stream: str, kind: str) -> JsonObject:
    """Data of the newest event of a type."""
    events = await storage.events.read(StreamId(stream), -1, 1_000)
    return next(event.data for event in reversed(events) if event.type == kind)
