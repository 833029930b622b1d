"""What must hold in every ``Storage`` when several processes act at once; each peer is a storage of its own. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from tandem.errors import Conflict, InputClosed, LeaseLost, TooManyRequests
from tandem.ids import InputId, StreamId, ThreadId, TurnId
from tandem.ports import Changed, JobFilter, NewEvent, Parking, Storage
from tandem.schemas.events import JobEvent, ThreadEvent
from tandem.schemas.inputs import InputAnswer, InputAsk
from tandem.schemas.jobs import Budget, JobChange, JobStatus
from tandem.testing.samples import ALICE, Samples, keyed
from tandem.testing.suites.job import ATTEMPTS, DONE, LEASE_S, MANY, SHORT_LEASE_S, claimed, created, event_types, run_out

Result = TypeVar("Result")


async def together(*work: Coroutine[Any, Any, Result]) -> list[Result]:
    """Run at once; the first error is raised."""
    return await asyncio.gather(*work)


class RaceConformance:
    """Races between peers."""

    async def test_of_eight_claims_one_wins(self, peers: Sequence[Storage], samples: Samples) -> None:
        job_id = await created(peers[0], samples.job())
        claims = await together(*(peers[n % len(peers)].work.claim(f"w{n}", LEASE_S, ATTEMPTS, job_id=job_id) for n in range(8)))
        assert sum(claim is not None for claim in claims) == 1
        assert (await event_types(peers[0], job_id)).count(JobEvent.ATTEMPT_STARTED) == 1

    async def test_of_eight_claims_of_an_abandoned_job_one_wins(self, peers: Sequence[Storage], samples: Samples) -> None:
        job_id = await created(peers[0], samples.job())
        await claimed(peers[0], job_id, SHORT_LEASE_S)
        await run_out()
        claims = await together(*(peers[n % len(peers)].work.claim(f"w{n}", LEASE_S, ATTEMPTS, job_id=job_id) for n in range(8)))
        assert [claim.epoch for claim in claims if claim is not None] == [2]

    async def test_cancel_racing_finish_gives_one_terminal_event(self, peers: Sequence[Storage], samples: Samples) -> None:
        for _ in range(10):
            claim = await claimed(peers[0], await created(peers[0], samples.job(webhook_url="https://example.org/hook")))
            await together(peers[0].work.finish(claim.job_id, claim.epoch, DONE), _cancel(peers[1], claim.job_id))
            types = await event_types(peers[0], claim.job_id)
            assert sum(each in JobEvent.TERMINAL for each in types) == 1
            assert types[-1] in {JobEvent.COMPLETED, JobEvent.CANCELLED}
            assert len(await peers[1].outbox.claim(10, LEASE_S)) == 1

    async def test_an_old_and_a_new_owner_finish_once(self, peers: Sequence[Storage], samples: Samples) -> None:
        job_id = await created(peers[0], samples.job())
        old = await claimed(peers[0], job_id, SHORT_LEASE_S)
        await run_out()
        new = await claimed(peers[1], job_id, worker="w2")
        ends = await asyncio.gather(
            peers[0].work.finish(job_id, old.epoch, DONE), peers[1].work.finish(job_id, new.epoch, DONE), return_exceptions=True
        )
        assert isinstance(ends[0], LeaseLost)
        assert not isinstance(ends[1], BaseException)
        assert (await event_types(peers[0], job_id)).count(JobEvent.COMPLETED) == 1

    async def test_cancel_racing_finish_of_a_family_cancels_each_child_once(self, peers: Sequence[Storage], samples: Samples) -> None:
        for _ in range(5):
            claim = await claimed(peers[0], await created(peers[0], samples.job()))
            children = [await created(peers[0], samples.job(parent_id=claim.job_id)) for _ in range(3)]
            adoption = samples.job(parent_id=claim.job_id)
            await asyncio.gather(
                *(_cancel(peer, claim.job_id) for peer in peers),
                peers[1].work.finish(claim.job_id, claim.epoch, DONE),
                peers[2].jobs.create(adoption, max_unfinished=MANY),
                return_exceptions=True,
            )
            for job_id in children:
                assert (await event_types(peers[0], job_id)).count(JobEvent.CANCELLED) == 1
            assert not [job for job in await peers[0].jobs.list(ALICE, where=JobFilter(), after=None, limit=MANY) if not job.status.is_terminal]

    async def test_of_two_answers_at_once_one_wins(self, peers: Sequence[Storage], samples: Samples) -> None:
        claim = await claimed(peers[0], await created(peers[0], samples.job()))
        ask = InputAsk(key="colour", kind="text", prompt="Which colour?")
        await peers[0].work.park(claim.job_id, claim.epoch, Parking(JobStatus.INPUT_REQUIRED, [ask], wait_s=60))
        input_id = InputId((await peers[0].jobs.get(claim.job_id, ALICE)).inputs[0].id)
        answers = [peers[n % len(peers)].jobs.answer(claim.job_id, ALICE, input_id, InputAnswer(value=f"{n}")) for n in range(6)]
        results = await asyncio.gather(*answers, return_exceptions=True)
        (won,) = [each for each in results if not isinstance(each, BaseException)]
        assert sum(isinstance(each, InputClosed) for each in results) == 5
        assert (won[1].is_queued, (await peers[1].jobs.get(claim.job_id, ALICE)).inputs[0].value) == (True, won[0].value)
        assert (await event_types(peers[0], claim.job_id)).count(JobEvent.INPUT_RECEIVED) == 1

    async def test_an_answer_racing_the_expiry_is_taken_or_refused_and_never_both(self, peers: Sequence[Storage], samples: Samples) -> None:
        for _ in range(5):
            claim = await claimed(peers[0], await created(peers[0], samples.job()))
            ask = InputAsk(key="colour", kind="text", prompt="Which colour?", default="red")
            await peers[0].work.park(claim.job_id, claim.epoch, Parking(JobStatus.INPUT_REQUIRED, [ask], wait_s=SHORT_LEASE_S))
            input_id = InputId((await peers[0].jobs.get(claim.job_id, ALICE)).inputs[0].id)
            await asyncio.sleep(SHORT_LEASE_S)
            answer = peers[1].jobs.answer(claim.job_id, ALICE, input_id, InputAnswer(value="blue"))
            sweeps = (peer.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS) for peer in peers)
            answered, *_ = await asyncio.gather(answer, *sweeps, return_exceptions=True)
            (asked,) = (await peers[0].jobs.get(claim.job_id, ALICE)).inputs
            assert asked.value == ("red" if isinstance(answered, InputClosed) else "blue")
            assert (await event_types(peers[0], claim.job_id)).count(JobEvent.QUEUED) == 2

    async def test_resume_racing_claims_gives_one_owner(self, peers: Sequence[Storage], samples: Samples) -> None:
        for _ in range(5):
            job_id = await created(peers[0], samples.job())
            await peers[0].jobs.request_pause(job_id, ALICE)
            resumes = [peer.jobs.resume(job_id, ALICE) for peer in peers]
            claims = [peer.work.claim("w", LEASE_S, ATTEMPTS, job_id=job_id) for peer in peers]
            results = await asyncio.gather(*resumes, *claims)
            await peers[0].work.claim("w", LEASE_S, ATTEMPTS, job_id=job_id)
            assert sum(isinstance(each, Changed) and each.is_queued for each in results) == 1
            types = await event_types(peers[0], job_id)
            assert [types.count(each) for each in (JobEvent.PAUSED, JobEvent.QUEUED, JobEvent.ATTEMPT_STARTED)] == [1, 2, 1]

    async def test_pause_racing_finish_never_holds_an_ended_job(self, peers: Sequence[Storage], samples: Samples) -> None:
        for _ in range(8):
            claim = await claimed(peers[0], await created(peers[0], samples.job()))
            finish = peers[0].work.finish(claim.job_id, claim.epoch, DONE)
            paused, finished = await asyncio.gather(peers[1].jobs.request_pause(claim.job_id, ALICE), finish, return_exceptions=True)
            job = await peers[1].jobs.get(claim.job_id, ALICE)
            assert (job.status, job.is_pausing, isinstance(finished, BaseException)) == (JobStatus.COMPLETED, False, False)
            assert isinstance(paused, Conflict | Changed)

    async def test_a_new_budget_racing_the_end_of_its_grace_queues_or_comes_too_late(self, peers: Sequence[Storage], samples: Samples) -> None:
        for _ in range(5):
            claim = await claimed(peers[0], await created(peers[0], samples.job()))
            await peers[0].work.park(claim.job_id, claim.epoch, Parking(JobStatus.BUDGET_REACHED, wait_s=SHORT_LEASE_S, best=DONE.result))
            await run_out()
            change = peers[1].jobs.change(claim.job_id, ALICE, JobChange(budget=Budget(max_calls=9)))
            sweeps = (peer.jobs.reap(rehint_after_s=LEASE_S, max_attempts=ATTEMPTS) for peer in peers)
            changed, *_ = await asyncio.gather(change, *sweeps, return_exceptions=True)
            status = (await peers[0].jobs.get(claim.job_id, ALICE)).status
            assert status is (JobStatus.INCOMPLETE if isinstance(changed, Conflict) else JobStatus.QUEUED)
            types = await event_types(peers[0], claim.job_id)
            assert (types.count(JobEvent.INCOMPLETE), types.count(JobEvent.CHANGED)) in {(1, 0), (0, 1)}

    async def test_concurrent_appends_to_a_job_leave_no_gap(self, peers: Sequence[Storage], samples: Samples) -> None:
        claim = await claimed(peers[0], await created(peers[0], samples.job()))
        await together(*(peers[n % len(peers)].work.append(claim.job_id, claim.epoch, [NewEvent("a"), NewEvent("b")]) for n in range(20)))
        types = await event_types(peers[0], claim.job_id)
        assert types[4:] == ["a", "b"] * 20

    async def test_concurrent_turns_and_jobs_in_one_thread_leave_no_gap(self, peers: Sequence[Storage], samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await peers[0].threads.create(thread_id, ALICE, "Busy")
        await together(*(_converse(peer, samples, thread_id) for peer in peers), *(_work(peer, samples, thread_id) for peer in peers))
        types = Counter(await event_types(peers[0], thread_id))
        assert types[ThreadEvent.TURN_COMPLETED] == len(peers)
        assert types[ThreadEvent.MESSAGE_CREATED] == 3 * len(peers)
        assert (await peers[0].threads.get(thread_id, ALICE)).last_seq == sum(types.values()) - 1

    async def test_ten_creations_with_one_key_make_one_job(self, peers: Sequence[Storage], samples: Samples) -> None:
        creations = (peers[n % len(peers)].jobs.create(samples.job(once=keyed()), max_unfinished=MANY) for n in range(10))
        results = await together(*creations)
        assert len({result.job.id for result in results}) == 1
        assert [result.is_replay for result in results].count(False) == 1
        assert len(await peers[0].jobs.list(ALICE, where=JobFilter(), after=None, limit=MANY)) == 1

    async def test_the_quota_holds_when_many_create_at_once(self, peers: Sequence[Storage], samples: Samples) -> None:
        creations = (peers[n % len(peers)].jobs.create(samples.job(), max_unfinished=3) for n in range(10))
        results = await asyncio.gather(*creations, return_exceptions=True)
        assert sum(isinstance(result, TooManyRequests) for result in results) == 7
        assert (await peers[0].jobs.counts()).by_status == {JobStatus.QUEUED: 3}

    async def test_two_reapers_hint_each_job_once_and_fail_it_once(self, peers: Sequence[Storage], samples: Samples) -> None:
        queued, poisoned = await created(peers[0], samples.job()), await created(peers[0], samples.job())
        await peers[0].work.release(queued, (await claimed(peers[0], queued)).epoch)  # due for a hint at once
        await claimed(peers[0], poisoned, SHORT_LEASE_S)
        await run_out()
        sweeps = await together(*(peer.jobs.reap(rehint_after_s=LEASE_S, max_attempts=1) for peer in peers))
        assert sum(sweep.due for sweep in sweeps) == 1
        assert [job_id for sweep in sweeps for job_id in sweep.failed] == [poisoned]

    async def test_dispatchers_never_claim_the_same_delivery(self, peers: Sequence[Storage], samples: Samples) -> None:
        for _ in range(12):
            job_id = await created(peers[0], samples.job(webhook_url="https://example.org/hook"))
            await peers[0].jobs.request_cancel(job_id, ALICE)
        claims = await together(*(peer.outbox.claim(3, LEASE_S) for peer in [*peers, *peers]))
        ids = [delivery.id for claim in claims for delivery in claim]
        assert len(ids) == len(set(ids))
        rest = await peers[0].outbox.claim(12, LEASE_S)
        assert len(ids) + len(rest) == 12

    async def test_an_effect_recorded_by_many_stands_once(self, peers: Sequence[Storage], samples: Samples) -> None:
        claim = await claimed(peers[0], await created(peers[0], samples.job()))
        results = await together(*(peers[n % len(peers)].work.record_effect(claim.job_id, claim.epoch, "step", n) for n in range(6)))
        assert len({str(result) for result in results}) == 1

    async def test_a_reader_beside_writers_sees_a_prefix_without_gaps(self, peers: Sequence[Storage], samples: Samples) -> None:
        claim = await claimed(peers[0], await created(peers[0], samples.job()))
        writing = asyncio.gather(*(peers[0].work.append(claim.job_id, claim.epoch, [NewEvent("a")]) for _ in range(20)))
        seen: list[int] = []
        while len(seen) < 24:
            page = await peers[1].events.read(StreamId(claim.job_id), seen[-1] if seen else -1, 5)
            seen.extend(event.sequence_number for event in page)
        await writing
        assert seen == list(range(24))


async def _cancel(storage: Storage, job_id: Any) -> Sequence[Any]:
    return (await storage.jobs.request_cancel(job_id, ALICE)).appended


async def _converse(storage: Storage, samples: Samples, thread_id: ThreadId) -> None:
    work = await storage.threads.begin_turn(thread_id, ALICE, samples.ids.turn(), samples.ids.message(), "Hello", LEASE_S)
    turn_id = TurnId(work.turn.id)
    for _ in range(5):
        await storage.threads.append(turn_id, [NewEvent(ThreadEvent.TEXT_DELTA, {"delta": "."})], LEASE_S)
    await storage.threads.complete_turn(turn_id, samples.ids.message(), ".....", lane="fast", decision_id=None, job_id=None)


async def _work(storage: Storage, samples: Samples, thread_id: ThreadId) -> None:
    claim = await claimed(storage, await created(storage, samples.job(thread_id=thread_id)))
    for _ in range(5):
        await storage.work.append(claim.job_id, claim.epoch, [NewEvent(JobEvent.STEP_STARTED)], claim.view)
    await storage.work.finish(claim.job_id, claim.epoch, DONE)
