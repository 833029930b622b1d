"""What every ``Retention`` must do: forget what is old, and nothing else. Part of ``storage``.

Asks for the fixture ``forgetting``, which gives a ``Retention`` with these settings over the database of ``storage``.
"""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Final

import pytest

from tandem.errors import NotFound
from tandem.ids import ArtifactId, JobId, StreamId, ThreadId, TurnId
from tandem.ports import (
    Answered,
    NewArtifact,
    NewEvent,
    NewJob,
    Outcome,
    Retention,
    Storage,
    StoredCheckpoint,
    StoredResponse,
    StoredWrite,
    Swept,
)
from tandem.schemas.events import JobEvent, ThreadEvent
from tandem.schemas.jobs import JobFailure, JobStatus
from tandem.schemas.outcomes import Outcome as Label
from tandem.schemas.policies import RoutingPolicy
from tandem.settings import RetentionSettings
from tandem.testing.samples import ALICE, Samples, routed
from tandem.testing.suites.job import DONE, LEASE_S, MANY, claimed, created

Forgetting = Callable[[RetentionSettings], Retention]

NO_TIME: Final = 1e-9
"""Days after which all is old."""
KEEP: Final = RetentionSettings()
FORGET: Final = RetentionSettings(jobs_days=NO_TIME, events_days=NO_TIME, work_days=NO_TIME, deliveries_days=NO_TIME)
FORGET_DECISIONS: Final = RetentionSettings(decisions_days=NO_TIME)
FAILED: Final = Outcome(JobStatus.FAILED, error=JobFailure(code="model_unavailable", message="The model server is down."))
NOTHING: Final = Swept()


class RetentionConformance:
    """The sweep that forgets ended work."""

    async def test_an_ended_job_goes_with_all_it_has_written_when_its_time_is_over(
        self, storage: Storage, samples: Samples, forgetting: Forgetting
    ) -> None:
        job_id, artifact_id = await _worked(storage, samples, samples.job(), FAILED)
        await _age()
        assert await forgetting(KEEP).sweep() == NOTHING
        assert (await storage.jobs.artifact(job_id, ALICE, artifact_id))[1] == b"a,b"
        swept = await forgetting(FORGET).sweep()
        assert (swept.jobs, swept.events >= 5) == (1, True)
        with pytest.raises(NotFound):
            await storage.jobs.get(job_id, ALICE)
        with pytest.raises(NotFound):
            await storage.jobs.artifact(job_id, ALICE, artifact_id)
        assert await storage.work.recall_effect(job_id, "step:1") is None
        assert await storage.work.checkpoints.get(job_id, "", None) is None
        assert await storage.events.first_seq(StreamId(job_id)) is None

    async def test_a_job_that_has_not_ended_is_never_touched(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        running, _ = await _worked(storage, samples, samples.job(is_stored=False), None)
        queued = await created(storage, samples.job(is_stored=False))
        paused = await created(storage, samples.job())
        await storage.jobs.request_pause(paused, ALICE)
        before = [await _everything(storage, job_id) for job_id in (running, queued, paused)]
        await _age(1.1)
        assert await forgetting(FORGET.model_copy(update={"unstored_s": 1.0})).sweep() == NOTHING
        assert [await _everything(storage, job_id) for job_id in (running, queued, paused)] == before

    async def test_a_job_that_is_not_to_be_stored_goes_soon_after_its_end(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        unstored, _ = await _worked(storage, samples, samples.job(is_stored=False), DONE)
        stored, _ = await _worked(storage, samples, samples.job(), DONE)
        soon = forgetting(KEEP.model_copy(update={"unstored_s": 1.0}))
        assert (await forgetting(KEEP).sweep()).jobs == 0
        await _age(1.1)
        assert (await soon.sweep()).jobs == 1
        with pytest.raises(NotFound):
            await storage.jobs.get(unstored, ALICE)
        assert (await storage.jobs.get(stored, ALICE)).output_text == "5"

    async def test_old_events_of_an_ended_job_go_and_the_last_one_stays(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        job_id, _ = await _worked(storage, samples, samples.job(), DONE)
        job = await storage.jobs.get(job_id, ALICE)
        await _age()
        swept = await forgetting(KEEP.model_copy(update={"events_days": NO_TIME})).sweep()
        assert (swept.jobs, swept.events) == (0, job.last_seq)
        (left,) = await storage.events.read(StreamId(job_id), -1, MANY)
        assert (left.type, left.sequence_number) == (JobEvent.COMPLETED, job.last_seq)
        assert await storage.jobs.get(job_id, ALICE) == job

    async def test_recorded_steps_and_checkpoints_go_before_their_job(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        job_id, artifact_id = await _worked(storage, samples, samples.job(), FAILED)
        running, _ = await _worked(storage, samples, samples.job(), None)
        await _age()
        swept = await forgetting(KEEP.model_copy(update={"work_days": NO_TIME})).sweep()
        assert (swept.jobs, swept.events, swept.effects, swept.checkpoints) == (0, 0, 1, 1)
        assert await storage.work.recall_effect(job_id, "step:1") is None
        assert await storage.work.checkpoints.get(job_id, "", None) is None
        assert (await storage.jobs.artifact(job_id, ALICE, artifact_id))[1] == b"a,b"
        assert await storage.work.recall_effect(running, "step:1") is not None
        assert await storage.work.checkpoints.get(running, "", None) is not None

    async def test_old_events_of_a_thread_go_but_not_the_newest(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        thread_id = await _talked(storage, samples, turns=3)
        messages = await storage.threads.messages(thread_id, ALICE, after_seq=-1, limit=MANY)
        last_seq = (await storage.threads.get(thread_id, ALICE)).last_seq
        await _age()
        assert (await forgetting(KEEP).sweep()).events == 0
        assert (await forgetting(FORGET).sweep()).events == last_seq
        assert [event.sequence_number for event in await storage.events.read(StreamId(thread_id), -1, MANY)] == [last_seq]
        assert await storage.threads.messages(thread_id, ALICE, after_seq=-1, limit=MANY) == messages
        begun = await storage.threads.begin_turn(thread_id, ALICE, samples.ids.turn(), samples.ids.message(), "More?", LEASE_S)
        assert begun.user_message.seq == last_seq + 1

    async def test_events_of_a_turn_that_runs_stay(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        thread_id = await _talked(storage, samples, turns=1)
        work = await storage.threads.begin_turn(thread_id, ALICE, samples.ids.turn(), samples.ids.message(), "And?", LEASE_S)
        await storage.threads.append(TurnId(work.turn.id), [NewEvent(ThreadEvent.TEXT_DELTA, {"delta": "Well"})], LEASE_S)
        await _age()
        await forgetting(FORGET).sweep()
        left = [event.sequence_number for event in await storage.events.read(StreamId(thread_id), -1, MANY)]
        assert left == [work.user_message.seq + offset for offset in range(3)]

    async def test_deliveries_go_when_they_are_over_with_their_attempts(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        for _ in range(3):
            job_id = await created(storage, samples.job(webhook_url="https://example.org/hook"))
            await storage.work.finish(job_id, (await claimed(storage, job_id)).epoch, DONE)
        delivered, failed = await storage.outbox.claim(2, 0.001)
        await storage.outbox.succeed(delivered, Answered("http_200", 200))
        await storage.outbox.give_up(failed, Answered("http_500", 500), disable_after_s=3_600)
        await _age(0.02)
        assert (await forgetting(KEEP).sweep()).deliveries == 0
        assert (await forgetting(FORGET).sweep()).deliveries == 2
        assert await storage.outbox.counts() == {"pending": 1, "delivered": 0, "failed": 0}
        (pending,) = await storage.outbox.claim(10, LEASE_S)
        with pytest.raises(NotFound):
            await storage.webhooks.delivery(delivered.id, ALICE)
        assert (await storage.webhooks.delivery(pending.id, ALICE)).id == pending.id

    async def test_responses_go_with_their_job_or_when_none_answers_for_them(
        self, storage: Storage, samples: Samples, forgetting: Forgetting
    ) -> None:
        quick, unstored = _response(samples, None), _response(samples, None, is_stored=False)
        await storage.responses.begin(quick)
        await storage.responses.begin(unstored)
        job = samples.job()
        slow, running = _response(samples, job.id), _response(samples, (later := samples.job()).id)
        await storage.responses.begin_job(slow, job, max_unfinished=MANY)
        await storage.responses.begin_job(running, later, max_unfinished=MANY)
        await storage.work.finish(job.id, (await claimed(storage, job.id)).epoch, DONE)
        await _age(1.1)
        assert (await forgetting(KEEP).sweep()).responses == 0
        assert (await forgetting(KEEP.model_copy(update={"unstored_s": 1.0})).sweep()).responses == 1
        assert (await forgetting(FORGET).sweep()).responses == 1
        for gone in (quick, unstored, slow):
            with pytest.raises(NotFound):
                await storage.responses.get(gone.id, ALICE)
        assert (await storage.responses.get(running.id, ALICE)).job_id == later.id

    async def test_old_decisions_go_with_their_outcomes(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        logged = samples.logged()
        await storage.decisions.add([logged])
        pending, rejected = samples.outcome(logged.id), samples.outcome(logged.id, "thumbs_down")
        await storage.outcomes.add([pending, rejected])
        await storage.outcomes.judge(rejected.id, "rejected", None)
        await _age()
        assert await forgetting(KEEP).sweep() == NOTHING
        assert await forgetting(FORGET_DECISIONS).sweep() == Swept(decisions=1, outcomes=2)
        assert not await storage.decisions.recent(ALICE, 10)
        assert not await _labels(storage)

    async def test_an_approved_label_stays_with_its_text(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        logged, silent = samples.logged(text="二加三?"), samples.logged()
        await storage.decisions.add([logged, silent])
        own = samples.outcome(logged.id, "reask", status="approved", text="its own")
        labels = [samples.outcome(logged.id, status="approved"), own, samples.outcome(silent.id, status="approved")]
        await storage.outcomes.add(labels)
        await _age()
        before = await _labels(storage)
        assert await forgetting(FORGET_DECISIONS).sweep() == Swept(decisions=2)
        assert await _labels(storage) == before
        assert sorted(str(outcome.text) for outcome in before) == ["None", "its own", "二加三?"]
        assert await forgetting(FORGET_DECISIONS).sweep() == NOTHING

    async def test_old_outcomes_without_a_decision_go_unless_approved(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        pending = samples.outcome(samples.ids.decision(), "answer_scored", source="collect", text="2 + 3?")
        approved = samples.outcome(samples.ids.decision(), "answer_scored", source="collect", text="2 + 3?", status="approved")
        await storage.outcomes.add([pending, approved])
        await _age()
        assert await forgetting(KEEP).sweep() == NOTHING
        assert await forgetting(FORGET_DECISIONS).sweep() == Swept(outcomes=1)
        assert [outcome.id for outcome in await _labels(storage)] == [approved.id]

    async def test_policies_and_their_history_are_never_forgotten(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        first, second = samples.ids.policy_version(), samples.ids.policy_version()
        for version in (first, second):
            await storage.policies.add(version, RoutingPolicy(), author="key_1", note="")
        await storage.policies.change(routed(first), expected_revision=0)
        await storage.policies.change(routed(second), expected_revision=1)
        await _age()
        assert await forgetting(FORGET_DECISIONS).sweep() == NOTHING
        assert [each.status for each in await storage.policies.list(after=None, limit=9)] == ["active", "retired"]
        assert len(await storage.policies.history(before=None, limit=9)) == 4

    async def test_a_second_sweep_deletes_nothing(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        await _worked(storage, samples, samples.job(webhook_url="https://example.org/hook"), DONE)
        await _worked(storage, samples, samples.job(), None)
        await _talked(storage, samples, turns=2)
        await _age()
        first = forgetting(FORGET)
        assert await first.sweep() != NOTHING
        assert await first.sweep() == NOTHING
        assert await forgetting(FORGET).sweep() == NOTHING

    async def test_a_sweep_deletes_about_as_much_as_it_may(self, storage: Storage, samples: Samples, forgetting: Forgetting) -> None:
        jobs = [(await _worked(storage, samples, samples.job(), DONE))[0] for _ in range(3)]
        total = sum([(await storage.jobs.get(job_id, ALICE)).last_seq + 1 for job_id in jobs])
        await _age()
        retention, sweeps = forgetting(FORGET), list[Swept]()
        while (swept := await retention.sweep(limit=3)) != NOTHING:
            sweeps.append(swept)
        assert max(swept.events for swept in sweeps) <= 3 * 3
        assert (sum(swept.events for swept in sweeps), sum(swept.jobs for swept in sweeps)) == (total, 3)
        assert len(sweeps) > 1

    async def test_two_sweeps_at_once_delete_everything_once(self, peers: Sequence[Storage], samples: Samples, forgetting: Forgetting) -> None:
        for _ in range(30):
            await _worked(peers[0], samples, samples.job(), DONE)
        await _age()
        both = [forgetting(FORGET) for _ in peers]
        swept = [*await asyncio.gather(*(each.sweep() for each in both)), await both[0].sweep()]
        assert sum(each.jobs for each in swept) == 30
        assert await both[0].sweep() == NOTHING

    async def test_a_reader_that_pages_while_its_log_is_swept_comes_to_an_end(
        self, storage: Storage, samples: Samples, forgetting: Forgetting
    ) -> None:
        job_id, _ = await _worked(storage, samples, samples.job(), DONE, steps=200)
        await _age()

        async def read() -> list[int]:
            seen, after = list[int](), -1
            while page := await storage.events.read(StreamId(job_id), after, 3):
                seen += [event.sequence_number for event in page]
                after = seen[-1]
            return seen

        async def forget() -> None:
            retention, swept = forgetting(FORGET), Swept(jobs=1)
            while swept != NOTHING:
                swept = await retention.sweep(limit=20)

        seen, _ = await asyncio.gather(read(), forget())
        assert seen == sorted(set(seen))
        assert not await storage.events.read(StreamId(job_id), -1, 3)
        with pytest.raises(NotFound):
            await storage.jobs.get(job_id, ALICE)


async def _worked(storage: Storage, samples: Samples, new: NewJob, outcome: Outcome | None, *, steps: int = 1) -> tuple[JobId, ArtifactId]:
    """A job with a step, a checkpoint with a write, and an artifact; ended when an outcome is given."""
    job_id = await created(storage, new)
    epoch = (await claimed(storage, job_id)).epoch
    await storage.work.append(job_id, epoch, [NewEvent(JobEvent.STEP_STARTED, {"n": number}) for number in range(steps)])
    await storage.work.record_effect(job_id, epoch, "step:1", {"answer": 5})
    await storage.work.checkpoints.put(job_id, epoch, StoredCheckpoint("", "c1", None, "json", b"{}", b"{}"))
    await storage.work.checkpoints.put_writes(job_id, epoch, "", "c1", [StoredWrite("t1", 0, "answer", "json", b"5")])
    artifact, _ = await storage.work.add_artifact(job_id, epoch, NewArtifact(samples.ids.artifact(), "sums.csv", "text/csv", b"a,b"))
    if outcome is not None:
        await storage.work.finish(job_id, epoch, outcome)
    return job_id, ArtifactId(artifact.id)


async def _talked(storage: Storage, samples: Samples, *, turns: int) -> ThreadId:
    thread_id = samples.ids.thread()
    await storage.threads.create(thread_id, ALICE, "Sums")
    for _ in range(turns):
        work = await storage.threads.begin_turn(thread_id, ALICE, samples.ids.turn(), samples.ids.message(), "2 + 3?", LEASE_S)
        await storage.threads.complete_turn(TurnId(work.turn.id), samples.ids.message(), "5", lane="fast", decision_id=None, job_id=None)
    return thread_id


async def _labels(storage: Storage) -> list[Label]:
    return [*await storage.outcomes.list(status=None, kind=None, after=None, limit=MANY)]


def _response(samples: Samples, job_id: JobId | None, *, is_stored: bool = True) -> StoredResponse:
    return StoredResponse(samples.ids.response(), ALICE, job_id, None, "in_progress", {"model": "auto"}, [], is_stored=is_stored)


async def _everything(storage: Storage, job_id: JobId) -> object:
    """What a job is and has written."""
    checkpoint = await storage.work.checkpoints.get(job_id, "", None)
    events = await storage.events.read(StreamId(job_id), -1, MANY)
    return await storage.jobs.get(job_id, ALICE), events, await storage.work.recall_effect(job_id, "step:1"), checkpoint and astuple(checkpoint)


async def _age(seconds: float = 0.005) -> None:
    """Let the database's clock, which ticks in milliseconds on SQLite, go on."""
    await asyncio.sleep(seconds)
