"""What every ``JobStore`` must do with what callers say to a job: pauses, changes, words, answers. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from typing import Final

import pytest

from tandem.errors import Conflict, IdempotencyKeyReused, InputClosed, NotFound
from tandem.ids import InputId, JobId, StreamId
from tandem.ports import NewArtifact, Parking, Storage
from tandem.schemas.events import JobEvent, ThreadEvent
from tandem.schemas.inputs import InputAnswer, InputAsk, InputRequest
from tandem.schemas.jobs import Budget, JobChange, JobFailure, JobResult, JobStatus
from tandem.testing.samples import ALICE, BOB, Samples, keyed
from tandem.testing.suites.job import LEASE_S, MANY, claimed, created, event_types, moment

SPENT: Final = Parking(
    JobStatus.BUDGET_REACHED, wait_s=60, best=JobResult(output_text="4"), reason=JobFailure(code="budget_reached", message="3 calls are used.")
)
ASKS: Final = (InputAsk(key="colour", kind="text", prompt="Which colour?"), InputAsk(key="go", kind="approval", prompt="Go?"))


async def asking(storage: Storage, samples: Samples, *asks: InputAsk, wait_s: float = 60) -> tuple[JobId, list[InputRequest]]:
    """A job that waits for answers, and its questions."""
    claim = await claimed(storage, await created(storage, samples.job(webhook_url="https://example.org/hook")))
    await storage.work.park(claim.job_id, claim.epoch, Parking(JobStatus.INPUT_REQUIRED, asks or ASKS[:1], wait_s=wait_s))
    return claim.job_id, (await storage.jobs.get(claim.job_id, ALICE)).inputs


class PauseConformance:
    """Pausing and going on."""

    async def test_a_queued_job_is_paused_at_once_and_goes_on_when_asked(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        paused = await storage.jobs.request_pause(job_id, ALICE)
        again = await storage.jobs.request_pause(job_id, ALICE)
        assert (paused.job.status, again.job, list(again.appended)) == (JobStatus.PAUSED, paused.job, [])
        assert await storage.work.claim("w1", LEASE_S, 3) is None
        resumed = await storage.jobs.resume(job_id, ALICE)
        assert (resumed.job.status, resumed.is_queued) == (JobStatus.QUEUED, True)
        assert await event_types(storage, job_id) == [JobEvent.CREATED, JobEvent.QUEUED, JobEvent.PAUSED, JobEvent.QUEUED]
        await claimed(storage, job_id)

    async def test_a_running_jobs_worker_hears_of_the_pause_and_parks(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        pausing = await storage.jobs.request_pause(claim.job_id, ALICE)
        again = await storage.jobs.request_pause(claim.job_id, ALICE)
        assert (pausing.job.status, pausing.job.is_pausing, list(again.appended)) == (JobStatus.IN_PROGRESS, True, [])
        assert (await storage.work.heartbeat(claim.job_id, claim.epoch, LEASE_S)).is_pause_requested
        await storage.work.park(claim.job_id, claim.epoch, Parking(JobStatus.PAUSED))
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (job.status, job.is_pausing) == (JobStatus.PAUSED, False)
        assert (await event_types(storage, claim.job_id))[-2:] == [JobEvent.PAUSING, JobEvent.PAUSED]

    async def test_a_wish_to_pause_can_be_withdrawn(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        await storage.jobs.request_pause(claim.job_id, ALICE)
        resumed = await storage.jobs.resume(claim.job_id, ALICE)
        assert (resumed.job.status, resumed.job.is_pausing, resumed.is_queued) == (JobStatus.IN_PROGRESS, False, False)
        assert not (await storage.work.heartbeat(claim.job_id, claim.epoch, LEASE_S)).is_pause_requested

    async def test_resuming_what_is_not_paused_changes_nothing(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        resumed = await storage.jobs.resume(job_id, ALICE)
        assert (resumed.job.status, resumed.is_queued, list(resumed.appended)) == (JobStatus.QUEUED, False, [])

    async def test_a_paused_job_whose_moment_is_yet_to_come_is_scheduled_again(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job(run_at=moment(60)))
        await storage.jobs.request_pause(job_id, ALICE)
        resumed = await storage.jobs.resume(job_id, ALICE)
        assert (resumed.job.status, resumed.is_queued) == (JobStatus.SCHEDULED, False)

    async def test_another_tenants_job_cannot_be_changed(self, storage: Storage, samples: Samples) -> None:
        job_id, (asked,) = await asking(storage, samples)
        for change in (
            storage.jobs.request_pause(job_id, BOB),
            storage.jobs.resume(job_id, BOB),
            storage.jobs.change(job_id, BOB, JobChange(priority=1)),
            storage.jobs.steer(job_id, BOB, samples.ids.steer(), "Hello"),
            storage.jobs.answer(job_id, BOB, InputId(asked.id), InputAnswer(value="red")),
            storage.jobs.retry(job_id, samples.job(tenant=BOB), carries_steps=False, max_unfinished=MANY),
            storage.jobs.purge(job_id, BOB),
            storage.jobs.effects(job_id, BOB),
            storage.jobs.artifact(job_id, BOB, samples.ids.artifact()),
        ):
            with pytest.raises(NotFound):
                await change
        assert (await storage.jobs.get(job_id, ALICE)).status is JobStatus.INPUT_REQUIRED


class ChangeConformance:
    """New limits, labels and words."""

    async def test_given_limits_replace_theirs_and_the_others_stay(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job(budget=Budget(max_calls=3, max_tokens=1_000)))
        changed = await storage.jobs.change(job_id, ALICE, JobChange(budget=Budget(max_calls=9), priority=1, metadata={"a": "b"}))
        request = changed.job.request
        assert (request.budget, request.priority, request.metadata) == (Budget(max_calls=9, max_tokens=1_000), 1, {"a": "b"})
        (event,) = await storage.events.read(StreamId(job_id), 1, 10)
        assert (event.type, event.data["priority"], event.data["metadata"]) == (JobEvent.CHANGED, 1, {"a": "b"})
        assert (await claimed(storage, job_id)).request == request

    async def test_a_changed_priority_moves_the_job_in_line(self, storage: Storage, samples: Samples) -> None:
        await created(storage, samples.job())
        urgent = await created(storage, samples.job())
        await storage.jobs.change(urgent, ALICE, JobChange(priority=0))
        claim = await storage.work.claim("w1", LEASE_S, 3)
        assert claim is not None
        assert claim.job_id == urgent

    async def test_changing_nothing_says_nothing(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        changed = await storage.jobs.change(job_id, ALICE, JobChange(budget=Budget()))
        assert (list(changed.appended), changed.job.last_seq) == ([], 1)

    async def test_a_job_that_waits_for_a_budget_shows_its_best_and_goes_on_with_a_new_one(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        await storage.work.park(claim.job_id, claim.epoch, SPENT)
        waiting = await storage.jobs.get(claim.job_id, ALICE)
        assert (waiting.status, waiting.output_text, waiting.error) == (JobStatus.BUDGET_REACHED, "4", SPENT.reason)
        urgent = await storage.jobs.change(claim.job_id, ALICE, JobChange(priority=0))
        assert (urgent.job.status, urgent.is_queued) == (JobStatus.BUDGET_REACHED, False)
        changed = await storage.jobs.change(claim.job_id, ALICE, JobChange(budget=Budget(max_calls=9)))
        assert (changed.job.status, changed.is_queued, changed.job.output_text, changed.job.error) == (JobStatus.QUEUED, True, None, None)
        assert (await event_types(storage, claim.job_id))[-2:] == [JobEvent.CHANGED, JobEvent.QUEUED]
        assert (await claimed(storage, claim.job_id)).request.budget.max_calls == 9

    async def test_words_reach_the_worker_and_the_card(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, ALICE, "Sums")
        claim = await claimed(storage, await created(storage, samples.job(thread_id=thread_id)))
        steer, changed = await storage.jobs.steer(claim.job_id, ALICE, samples.ids.steer(), "In French, please")
        assert (steer.message, steer.applied_at, changed.job.inbox) == ("In French, please", None, [steer])
        assert (await event_types(storage, claim.job_id))[-1] == JobEvent.STEERED
        card = (await storage.events.read(StreamId(thread_id), 1, 10))[-1]
        assert (card.type, card.data["inbox"]) == (ThreadEvent.JOB_UPDATED, [steer.model_dump(mode="json")])
        taken, _ = await storage.work.take_steers(claim.job_id, claim.epoch, "draft")
        assert [(each.id, each.applied_step) for each in taken] == [(steer.id, "draft")]

    async def test_words_sent_twice_with_a_key_are_kept_once(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        first, _ = await storage.jobs.steer(job_id, ALICE, samples.ids.steer(), "Hello", once=keyed())
        again, changed = await storage.jobs.steer(job_id, ALICE, samples.ids.steer(), "Hello", once=keyed())
        assert (again, list(changed.appended), changed.job.inbox) == (first, [], [first])
        with pytest.raises(IdempotencyKeyReused):
            await storage.jobs.steer(job_id, ALICE, samples.ids.steer(), "Bye", once=keyed(fingerprint="g"))

    async def test_an_inbox_takes_no_more_than_64_messages(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        for number in range(64):
            await storage.jobs.steer(job_id, ALICE, samples.ids.steer(), f"{number}")
        with pytest.raises(Conflict):
            await storage.jobs.steer(job_id, ALICE, samples.ids.steer(), "64")
        assert [each.message for each in (await storage.jobs.get(job_id, ALICE)).inbox] == [f"{number}" for number in range(64)]


class InputConformance:
    """Questions and their answers."""

    async def test_the_last_answer_queues_the_job(self, storage: Storage, samples: Samples) -> None:
        job_id, (colour, go) = await asking(storage, samples, *ASKS)
        first, waits = await storage.jobs.answer(job_id, ALICE, InputId(colour.id), InputAnswer(value="red"))
        assert (first.status, first.value, waits.job.status, waits.is_queued) == ("answered", "red", JobStatus.INPUT_REQUIRED, False)
        key_id = samples.ids.key()
        second, goes_on = await storage.jobs.answer(job_id, ALICE, InputId(go.id), InputAnswer(decision="approve"), answered_by=key_id)
        assert (first.answered_by, second.answered_by) == (None, key_id)
        assert (second.decision, goes_on.job.status, goes_on.is_queued) == ("approve", JobStatus.QUEUED, True)
        assert goes_on.job.inputs == [first, second]
        received = (await storage.events.read(StreamId(job_id), goes_on.job.last_seq - 2, 10))[0]
        assert (received.type, received.data) == (
            JobEvent.INPUT_RECEIVED,
            {"input_id": go.id, "key": "go", "decision": "approve", "value": None},
        )
        assert [(each.key, each.value, each.decision) for each in (await claimed(storage, job_id)).inputs] == [
            ("colour", "red", None),
            ("go", None, "approve"),
        ]

    async def test_what_was_answered_first_stands(self, storage: Storage, samples: Samples) -> None:
        job_id, (asked,) = await asking(storage, samples)
        await storage.jobs.answer(job_id, ALICE, InputId(asked.id), InputAnswer(value="red"))
        with pytest.raises(InputClosed) as closed:
            await storage.jobs.answer(job_id, ALICE, InputId(asked.id), InputAnswer(value="blue"))
        assert "'red'" in closed.value.message
        assert (await storage.jobs.get(job_id, ALICE)).inputs[0].value == "red"

    async def test_an_answer_sent_twice_with_a_key_finds_itself(self, storage: Storage, samples: Samples) -> None:
        job_id, (asked,) = await asking(storage, samples)
        first, _ = await storage.jobs.answer(job_id, ALICE, InputId(asked.id), InputAnswer(value="red"), once=keyed())
        again, changed = await storage.jobs.answer(job_id, ALICE, InputId(asked.id), InputAnswer(value="red"), once=keyed())
        assert (again, list(changed.appended), changed.is_queued) == (first, [], False)
        with pytest.raises(IdempotencyKeyReused):
            await storage.jobs.answer(job_id, ALICE, InputId(asked.id), InputAnswer(value="blue"), once=keyed(fingerprint="g"))

    async def test_an_answer_to_what_was_never_asked_is_not_found(self, storage: Storage, samples: Samples) -> None:
        job_id, _ = await asking(storage, samples)
        with pytest.raises(NotFound):
            await storage.jobs.answer(job_id, ALICE, samples.ids.input(), InputAnswer(value="red"))

    async def test_an_answer_that_comes_too_late_is_refused_before_any_sweep(self, storage: Storage, samples: Samples) -> None:
        job_id, (asked,) = await asking(storage, samples, wait_s=0.01)
        await asyncio.sleep(0.02)
        with pytest.raises(InputClosed):
            await storage.jobs.answer(job_id, ALICE, InputId(asked.id), InputAnswer(value="red"))

    async def test_the_end_of_a_job_withdraws_its_questions(self, storage: Storage, samples: Samples) -> None:
        job_id, (asked,) = await asking(storage, samples)
        cancelled = await storage.jobs.request_cancel(job_id, ALICE)
        assert [each.status for each in cancelled.job.inputs] == ["withdrawn"]
        with pytest.raises(InputClosed):
            await storage.jobs.answer(job_id, ALICE, InputId(asked.id), InputAnswer(value="red"))


class ReadingConformance:
    """What callers read of a job's work."""

    async def test_an_artifact_reads_back_with_its_bytes(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        new = NewArtifact(samples.ids.artifact(), "plot.png", "image/png", b"\x89PNG\x00")
        made, _ = await storage.work.add_artifact(claim.job_id, claim.epoch, new)
        assert await storage.jobs.artifact(claim.job_id, ALICE, new.id) == (made, new.content)
        other = await created(storage, samples.job())
        with pytest.raises(NotFound):
            await storage.jobs.artifact(other, ALICE, new.id)

    async def test_the_ledger_shows_what_was_begun_and_what_was_done(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        assert list(await storage.jobs.effects(claim.job_id, ALICE)) == []
        await storage.work.record_effect(claim.job_id, claim.epoch, "a", {"sent": 1})
        await asyncio.sleep(0.002)  # SQLite's clock ticks in milliseconds
        await storage.work.begin_effect(claim.job_id, claim.epoch, "b")
        ledger = await storage.jobs.effects(claim.job_id, ALICE)
        assert [(each.key, each.is_done, each.result, each.epoch) for each in ledger] == [("a", True, {"sent": 1}, 1), ("b", False, None, 1)]
