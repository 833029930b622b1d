"""How a job waits without a worker, in every ``JobWork``: questions, pauses, budgets. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

from collections.abc import Sequence

import pytest

from tandem.errors import LeaseLost
from tandem.ids import InputId, JobId, StreamId
from tandem.ports import Claim, Delivery, Outcome, Parking, Storage
from tandem.schemas.events import JobEvent, ThreadEvent
from tandem.schemas.inputs import InputAnswer, InputAsk
from tandem.schemas.jobs import Budget, JobChange, JobFailure, JobResult, JobStatus, JobView
from tandem.schemas.webhooks import WebhookEvent
from tandem.testing.samples import ALICE, Samples
from tandem.testing.suites.job import ATTEMPTS, DONE, LEASE_S, claimed, created, event_types

UNIT = InputAsk(key="unit", kind="text", prompt="Which unit?")
SEND = InputAsk(key="send", kind="approval", prompt="Send it?", proposal={"to": "bob"})
BUDGET_GONE = Parking(
    JobStatus.BUDGET_REACHED,
    wait_s=60,
    best=JobResult(output_text="4, perhaps"),
    reason=JobFailure(code="budget_calls", message="All calls are used."),
)

AWAY = JobFailure(code="model_unavailable", message="The model server is away.")
PATIENCE_S = 60.0


def questions(*asks: InputAsk) -> Parking:
    """To wait a minute for the answers."""
    return Parking(JobStatus.INPUT_REQUIRED, asks, wait_s=60)


async def parked(storage: Storage, samples: Samples, parking: Parking, webhook_url: str | None = None) -> Claim:
    """A job that waits; its worker's claim."""
    claim = await claimed(storage, await created(storage, samples.job(webhook_url=webhook_url)))
    await storage.work.park(claim.job_id, claim.epoch, parking)
    return claim


async def deliveries(storage: Storage) -> Sequence[tuple[Delivery, WebhookEvent]]:
    """Webhooks that wait to be sent."""
    return [(each, WebhookEvent.model_validate_json(each.body)) for each in await storage.outbox.claim(10, LEASE_S)]


class ParkingConformance:
    """Letting go of a job to wait for somebody."""

    async def test_each_question_is_stored_and_told_once(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        appended = await storage.work.park(claim.job_id, claim.epoch, questions(UNIT, SEND), JobView(title="Asking"))
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (job.status, job.view.title) == (JobStatus.INPUT_REQUIRED, "Asking")
        assert [(each.key, each.kind, each.status, each.proposal, each.job_id) for each in job.inputs] == [
            ("unit", "text", "pending", None, job.id),
            ("send", "approval", "pending", {"to": "bob"}, job.id),
        ]
        assert all((each.expires_at - each.created_at).total_seconds() == 60 for each in job.inputs)
        assert (await event_types(storage, job.id))[-2:] == [JobEvent.INPUT_REQUIRED] * 2
        assert [(each.stream, each.last_seq) for each in appended] == [(job.id, job.last_seq)]

    async def test_a_parked_job_is_nobodys(self, storage: Storage, samples: Samples) -> None:
        for parking in (questions(UNIT), BUDGET_GONE):
            claim = await parked(storage, samples, parking)
            assert await storage.work.claim("w2", LEASE_S, ATTEMPTS) is None
            assert claim.job_id not in [lease.job_id for lease in await storage.jobs.leases(stuck_after_s=LEASE_S)]

    async def test_the_answers_bring_the_job_back_with_what_was_said(self, storage: Storage, samples: Samples) -> None:
        claim = await parked(storage, samples, questions(UNIT, SEND))
        unit, send = (await storage.jobs.get(claim.job_id, ALICE)).inputs
        await storage.jobs.answer(claim.job_id, ALICE, InputId(unit.id), InputAnswer(value="metres"))
        assert await storage.work.claim("w2", LEASE_S, ATTEMPTS) is None
        await storage.jobs.answer(claim.job_id, ALICE, InputId(send.id), InputAnswer(decision="approve"))
        again = await storage.work.claim("w2", LEASE_S, ATTEMPTS)
        assert again is not None
        assert [(each.key, each.value, each.decision) for each in again.inputs] == [("unit", "metres", None), ("send", None, "approve")]
        assert again.epoch > claim.epoch

    async def test_an_answered_question_is_not_asked_again(self, storage: Storage, samples: Samples) -> None:
        claim = await parked(storage, samples, questions(UNIT))
        (unit,) = (await storage.jobs.get(claim.job_id, ALICE)).inputs
        await storage.jobs.answer(claim.job_id, ALICE, InputId(unit.id), InputAnswer(value="metres"))
        again = await claimed(storage, claim.job_id)
        await storage.work.park(claim.job_id, again.epoch, questions(UNIT, SEND))
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (job.status, [(each.key, each.status) for each in job.inputs]) == (
            JobStatus.INPUT_REQUIRED,
            [("unit", "answered"), ("send", "pending")],
        )
        assert (await event_types(storage, job.id)).count(JobEvent.INPUT_REQUIRED) == 2

    async def test_a_job_whose_questions_are_all_answered_is_queued_instead(self, storage: Storage, samples: Samples) -> None:
        claim = await parked(storage, samples, questions(UNIT))
        (unit,) = (await storage.jobs.get(claim.job_id, ALICE)).inputs
        await storage.jobs.answer(claim.job_id, ALICE, InputId(unit.id), InputAnswer(value="metres"))
        again = await claimed(storage, claim.job_id)
        await storage.work.park(claim.job_id, again.epoch, questions(UNIT))
        assert (await storage.jobs.get(claim.job_id, ALICE)).status is JobStatus.QUEUED
        assert (await event_types(storage, claim.job_id))[-1] == JobEvent.QUEUED
        assert (await storage.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS)).due == 1

    async def test_a_job_with_questions_that_is_being_cancelled_ends(self, storage: Storage, samples: Samples) -> None:
        for parking in (questions(UNIT), Parking(JobStatus.PAUSED), BUDGET_GONE):
            claim = await claimed(storage, await created(storage, samples.job()))
            await storage.jobs.request_cancel(claim.job_id, ALICE)
            await storage.work.park(claim.job_id, claim.epoch, parking)
            job = await storage.jobs.get(claim.job_id, ALICE)
            assert (job.status, job.inputs) == (JobStatus.CANCELLED, [])
            assert (await event_types(storage, claim.job_id))[-1] == JobEvent.CANCELLED

    async def test_the_end_withdraws_open_questions(self, storage: Storage, samples: Samples) -> None:
        claim = await parked(storage, samples, questions(UNIT))
        await storage.jobs.request_cancel(claim.job_id, ALICE)
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (job.status, [each.status for each in job.inputs]) == (JobStatus.CANCELLED, ["withdrawn"])

    async def test_a_waiting_job_tells_its_webhook(self, storage: Storage, samples: Samples) -> None:
        for parking, kind in (
            (questions(UNIT, SEND), "response.tandem.input_required"),
            (BUDGET_GONE, "response.tandem.budget_reached"),
        ):
            claim = await parked(storage, samples, parking, "https://example.org/hook")
            ((delivery, body),) = await deliveries(storage)
            assert (delivery.job_id, body.type, body.data.sequence_number) == (claim.job_id, kind, 4)  # type: ignore[union-attr]

    async def test_a_pause_that_was_asked_for_is_followed(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job(webhook_url="https://example.org/hook")))
        await storage.jobs.request_pause(claim.job_id, ALICE)
        await storage.work.park(claim.job_id, claim.epoch, Parking(JobStatus.PAUSED))
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (job.status, job.is_pausing, (await event_types(storage, job.id))[-1]) == (JobStatus.PAUSED, False, JobEvent.PAUSED)
        assert await deliveries(storage) == []
        await storage.jobs.resume(claim.job_id, ALICE)
        again = await claimed(storage, claim.job_id)
        assert not (await storage.work.heartbeat(claim.job_id, again.epoch, LEASE_S)).is_pause_requested

    async def test_a_pause_withdrawn_in_the_last_moment_leaves_the_job_queued(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        await storage.jobs.request_pause(claim.job_id, ALICE)
        await storage.jobs.resume(claim.job_id, ALICE)
        await storage.work.park(claim.job_id, claim.epoch, Parking(JobStatus.PAUSED))
        assert (await storage.jobs.get(claim.job_id, ALICE)).status is JobStatus.QUEUED

    async def test_a_job_without_budget_shows_its_best_and_why_it_waits(self, storage: Storage, samples: Samples) -> None:
        claim = await parked(storage, samples, BUDGET_GONE)
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (job.status, job.output_text, job.error) == (JobStatus.BUDGET_REACHED, "4, perhaps", BUDGET_GONE.reason)
        await self._raise_budget(storage, claim.job_id)
        again = await claimed(storage, claim.job_id)
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (again.request.budget.max_calls, job.output_text, job.error) == (99, None, None)
        await storage.work.finish(claim.job_id, again.epoch, DONE)
        assert (await storage.jobs.get(claim.job_id, ALICE)).output_text == "5"

    async def test_a_budget_raised_while_the_worker_ran_into_the_old_one_queues_the_job(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        await self._raise_budget(storage, claim.job_id)
        await storage.work.park(claim.job_id, claim.epoch, BUDGET_GONE)
        assert (await storage.jobs.get(claim.job_id, ALICE)).status is JobStatus.QUEUED
        again = await claimed(storage, claim.job_id)
        assert again.request.budget.max_calls == 99
        await storage.work.park(claim.job_id, again.epoch, BUDGET_GONE)
        assert (await storage.jobs.get(claim.job_id, ALICE)).status is JobStatus.BUDGET_REACHED

    async def _raise_budget(self, storage: Storage, job_id: JobId) -> None:
        await storage.jobs.change(job_id, ALICE, JobChange(budget=Budget(max_calls=99)))

    async def test_a_question_shows_on_the_card_in_the_thread(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, ALICE, "Sums")
        claim = await claimed(storage, await created(storage, samples.job(thread_id=thread_id)))
        appended = await storage.work.park(claim.job_id, claim.epoch, questions(UNIT))
        job = await storage.jobs.get(claim.job_id, ALICE)
        card = (await storage.events.read(appended[1].stream, appended[1].last_seq - 1, 1))[0]
        assert (appended[1].stream, card.type, card.data["status"]) == (thread_id, ThreadEvent.JOB_UPDATED, "input_required")
        assert card.data["inputs"] == [each.model_dump(mode="json", by_alias=True) for each in job.inputs]


class DeferConformance:
    """A job whose model server is away."""

    async def test_a_deferred_job_comes_again_by_itself_and_says_why(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        assert await storage.work.defer(claim.job_id, claim.epoch, AWAY, patience_s=PATIENCE_S, view=JobView(title="Waiting"))
        job = await storage.jobs.get(claim.job_id, ALICE)
        assert (job.status, job.view.title, job.error) == (JobStatus.SCHEDULED, "Waiting", None)
        last = (await storage.events.read(StreamId(job.id), job.last_seq - 1, 1))[0]
        assert (last.type, last.data["reason"]) == (JobEvent.DEFERRED, AWAY.model_dump())
        assert job.run_at is not None
        assert 4.9 <= (job.run_at - last.created_at).total_seconds() <= 5.1
        with pytest.raises(LeaseLost):
            await storage.work.finish(claim.job_id, claim.epoch, DONE)
        assert await storage.work.claim("w2", LEASE_S, ATTEMPTS) is None

    async def test_patience_ends_and_leaves_the_job_with_its_worker(self, storage: Storage, samples: Samples) -> None:
        claim = await claimed(storage, await created(storage, samples.job()))
        assert await storage.work.defer(claim.job_id, claim.epoch, AWAY, patience_s=0) is None
        await storage.work.finish(claim.job_id, claim.epoch, Outcome(JobStatus.FAILED, error=AWAY))
        assert (await storage.jobs.get(claim.job_id, ALICE)).error == AWAY

    async def test_a_wish_to_cancel_or_to_pause_wins(self, storage: Storage, samples: Samples) -> None:
        for wish, fate in ((storage.jobs.request_cancel, JobStatus.CANCELLED), (storage.jobs.request_pause, JobStatus.PAUSED)):
            claim = await claimed(storage, await created(storage, samples.job()))
            await wish(claim.job_id, ALICE)
            await storage.work.defer(claim.job_id, claim.epoch, AWAY, patience_s=PATIENCE_S)
            assert (await storage.jobs.get(claim.job_id, ALICE)).status is fate
