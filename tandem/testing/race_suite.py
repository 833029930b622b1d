"""What must hold in every ``Storage`` when several processes act at once; each peer is a storage of its own. Part of ``storage_suite``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from tandem.errors import LeaseLost, TooManyRequests
from tandem.ids import StreamId, ThreadId, TurnId
from tandem.ports import NewEvent, Storage
from tandem.schemas.events import JobEvent, ThreadEvent
from tandem.schemas.jobs import JobStatus
from tandem.testing.job_suite import ATTEMPTS, DONE, LEASE_S, MANY, SHORT_LEASE_S, claimed, created, event_types, run_out
from tandem.testing.samples import ALICE, Samples

Result = TypeVar("Result")


async def together(*work: Coroutine[Any, Any, Result]) -> list[Result]:
    """Run at once; the first error is raised."""
    return await asyncio.gather(*work)


class RaceConformance:
    """Races between peers."""

    async def test_of_eight_claims_one_wins(self, peers: Sequence[Storage], samples: Samples) -> None:
        job_id = await created(peers[0], samples.job())
        claims = await together(*(peers[n % len(peers)].jobs.claim(job_id, f"w{n}", LEASE_S, ATTEMPTS) for n in range(8)))
        assert sum(claim is not None for claim in claims) == 1
        assert (await event_types(peers[0], job_id)).count(JobEvent.ATTEMPT_STARTED) == 1

    async def test_of_eight_claims_of_an_abandoned_job_one_wins(self, peers: Sequence[Storage], samples: Samples) -> None:
        job_id = await created(peers[0], samples.job())
        await claimed(peers[0], job_id, SHORT_LEASE_S)
        await run_out()
        claims = await together(*(peers[n % len(peers)].jobs.claim(job_id, f"w{n}", LEASE_S, ATTEMPTS) for n in range(8)))
        assert [claim.epoch for claim in claims if claim is not None] == [2]

    async def test_cancel_racing_finish_gives_one_terminal_event(self, peers: Sequence[Storage], samples: Samples) -> None:
        for _ in range(10):
            claim = await claimed(peers[0], await created(peers[0], samples.job(webhook_url="https://example.org/hook")))
            await together(peers[0].jobs.finish(claim.job_id, claim.epoch, DONE), _cancel(peers[1], claim.job_id))
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
            peers[0].jobs.finish(job_id, old.epoch, DONE), peers[1].jobs.finish(job_id, new.epoch, DONE), return_exceptions=True
        )
        assert isinstance(ends[0], LeaseLost)
        assert not isinstance(ends[1], BaseException)
        assert (await event_types(peers[0], job_id)).count(JobEvent.COMPLETED) == 1

    async def test_concurrent_appends_to_a_job_leave_no_gap(self, peers: Sequence[Storage], samples: Samples) -> None:
        claim = await claimed(peers[0], await created(peers[0], samples.job()))
        await together(*(peers[n % len(peers)].jobs.append(claim.job_id, claim.epoch, [NewEvent("a"), NewEvent("b")]) for n in range(20)))
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
        creations = (peers[n % len(peers)].jobs.create(samples.job(idempotency_key="k", fingerprint="f"), max_unfinished=MANY) for n in range(10))
        results = await together(*creations)
        assert len({result.job.id for result in results}) == 1
        assert [result.is_replay for result in results].count(False) == 1
        assert len(await peers[0].jobs.list(ALICE, status=None, after=None, limit=MANY)) == 1

    async def test_the_quota_holds_when_many_create_at_once(self, peers: Sequence[Storage], samples: Samples) -> None:
        creations = (peers[n % len(peers)].jobs.create(samples.job(), max_unfinished=3) for n in range(10))
        results = await asyncio.gather(*creations, return_exceptions=True)
        assert sum(isinstance(result, TooManyRequests) for result in results) == 7
        assert (await peers[0].jobs.counts()).by_status == {JobStatus.QUEUED: 3}

    async def test_two_reapers_hint_each_job_once_and_fail_it_once(self, peers: Sequence[Storage], samples: Samples) -> None:
        queued, poisoned = await created(peers[0], samples.job()), await created(peers[0], samples.job())
        await peers[0].jobs.release(queued, (await claimed(peers[0], queued)).epoch)  # due for a hint at once
        await claimed(peers[0], poisoned, SHORT_LEASE_S)
        await run_out()
        sweeps = await together(*(peer.jobs.reap(rehint_after_s=LEASE_S, max_attempts=1) for peer in peers))
        assert [job_id for sweep in sweeps for job_id in sweep.to_hint] == [queued]
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
        results = await together(*(peers[n % len(peers)].jobs.record_effect(claim.job_id, claim.epoch, "step", n) for n in range(6)))
        assert len({str(result) for result in results}) == 1

    async def test_a_reader_beside_writers_sees_a_prefix_without_gaps(self, peers: Sequence[Storage], samples: Samples) -> None:
        claim = await claimed(peers[0], await created(peers[0], samples.job()))
        writing = asyncio.gather(*(peers[0].jobs.append(claim.job_id, claim.epoch, [NewEvent("a")]) for _ in range(20)))
        seen: list[int] = []
        while len(seen) < 24:
            page = await peers[1].events.read(StreamId(claim.job_id), seen[-1] if seen else -1, 5)
            seen.extend(event.sequence_number for event in page)
        await writing
        assert seen == list(range(24))


async def _cancel(storage: Storage, job_id: Any) -> Sequence[Any]:
    return (await storage.jobs.request_cancel(job_id, ALICE))[1]


async def _converse(storage: Storage, samples: Samples, thread_id: ThreadId) -> None:
    work = await storage.threads.begin_turn(thread_id, ALICE, samples.ids.turn(), samples.ids.message(), "Hello", LEASE_S)
    turn_id = TurnId(work.turn.id)
    for _ in range(5):
        await storage.threads.append(turn_id, [NewEvent(ThreadEvent.TEXT_DELTA, {"delta": "."})], LEASE_S)
    await storage.threads.complete_turn(turn_id, samples.ids.message(), ".....", lane="fast", decision_id=None, job_id=None)


async def _work(storage: Storage, samples: Samples, thread_id: ThreadId) -> None:
    claim = await claimed(storage, await created(storage, samples.job(thread_id=thread_id)))
    for _ in range(5):
        await storage.jobs.append(claim.job_id, claim.epoch, [NewEvent(JobEvent.STEP_STARTED)], claim.view)
    await storage.jobs.finish(claim.job_id, claim.epoch, DONE)
