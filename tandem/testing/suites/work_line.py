"""Which job a claim takes, in every ``JobWork``: the line, its fairness, and many claims at once. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tandem.ids import JobId, KeyId
from tandem.ports import Claim, NewJob, Storage
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobStatus
from tandem.testing.samples import ALICE, BOB, Samples
from tandem.testing.suites.job import ATTEMPTS, DONE, LEASE_S, SHORT_LEASE_S, claimed, created, event_types, run_out


async def taken(storage: Storage, *, ageing_s: float = 60.0, lease_s: float = LEASE_S) -> Claim | None:
    """Claim whatever is next."""
    return await storage.work.claim("w1", lease_s, ATTEMPTS, ageing_s=ageing_s)


async def order_of(storage: Storage, count: int, *, ageing_s: float = 60.0) -> list[JobId]:
    """The next jobs in line; they are left running."""
    claims = [await taken(storage, ageing_s=ageing_s) for _ in range(count)]
    return [claim.job_id for claim in claims if claim is not None]


async def made(storage: Storage, new: NewJob) -> JobId:
    """Create a job that is surely younger than those before: SQLite's clock ticks in milliseconds."""
    await asyncio.sleep(0.002)
    return await created(storage, new)


class LineConformance:
    """One claimer at a time."""

    async def test_an_empty_line_gives_nothing(self, storage: Storage) -> None:
        assert await taken(storage) is None

    async def test_jobs_of_one_key_are_served_by_priority_and_then_by_age(self, storage: Storage, samples: Samples) -> None:
        jobs = [await made(storage, samples.job(priority=priority)) for priority in (5, 9, 0, 5)]
        assert await order_of(storage, 5) == [jobs[2], jobs[0], jobs[3], jobs[1]]

    async def test_a_job_that_has_waited_long_overtakes_fresh_ones_of_higher_priority(self, storage: Storage, samples: Samples) -> None:
        old = await created(storage, samples.job(priority=9))
        await asyncio.sleep(0.2)
        fresh = await created(storage, samples.job(priority=5))
        assert await order_of(storage, 2, ageing_s=0.02) == [old, fresh]

    async def test_a_job_that_has_waited_shortly_overtakes_none(self, storage: Storage, samples: Samples) -> None:
        old = await created(storage, samples.job(priority=6))
        await asyncio.sleep(0.02)
        fresh = await created(storage, samples.job(priority=5))
        assert await order_of(storage, 2, ageing_s=60.0) == [fresh, old]

    async def test_a_key_with_many_jobs_does_not_keep_a_key_with_one_waiting(self, storage: Storage, samples: Samples) -> None:
        for _ in range(100):
            await created(storage, samples.job(priority=0, key_id=KeyId("key_busy")))
        lone = await created(storage, samples.job(priority=9, key_id=KeyId("key_lone")))
        assert lone in await order_of(storage, 2)

    async def test_the_key_with_fewest_running_jobs_is_next(self, storage: Storage, samples: Samples) -> None:
        for _ in range(4):
            await created(storage, samples.job(key_id=KeyId("key_a")))
        assert len(await order_of(storage, 2)) == 2
        others = [await created(storage, samples.job(key_id=KeyId("key_b"))) for _ in range(2)]
        assert await order_of(storage, 2) == others

    async def test_keys_with_equally_many_running_jobs_take_turns(self, storage: Storage, samples: Samples) -> None:
        keys = {await created(storage, samples.job(key_id=KeyId(key_id))): key_id for key_id in ["key_a"] * 4 + ["key_b"] * 4 + ["key_c"] * 4}
        served: list[str] = []
        for _ in keys:
            claim = await taken(storage)
            assert claim is not None
            served.append(keys[claim.job_id])
            await storage.work.finish(claim.job_id, claim.epoch, DONE)
            await asyncio.sleep(0.002)
        assert served == ["key_a", "key_b", "key_c"] * 4

    async def test_jobs_without_a_key_share_by_tenant(self, storage: Storage, samples: Samples) -> None:
        for _ in range(5):
            await created(storage, samples.job(tenant=ALICE))
        lone = await created(storage, samples.job(tenant=BOB))
        assert lone in await order_of(storage, 2)

    async def test_an_abandoned_job_goes_before_all_others(self, storage: Storage, samples: Samples) -> None:
        abandoned = await created(storage, samples.job(priority=9))
        await claimed(storage, abandoned, SHORT_LEASE_S)
        await created(storage, samples.job(priority=0))
        await run_out()
        claim = await taken(storage)
        assert claim is not None
        assert (claim.job_id, claim.attempt) == (abandoned, 2)

    async def test_a_job_out_of_attempts_is_left_to_the_reaper(self, storage: Storage, samples: Samples) -> None:
        await created(storage, samples.job())
        for _ in range(ATTEMPTS):
            assert await taken(storage, lease_s=SHORT_LEASE_S) is not None
            await run_out()
        assert await taken(storage) is None

    async def test_a_job_that_is_being_cancelled_is_never_claimed(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        await claimed(storage, job_id, SHORT_LEASE_S)
        await storage.jobs.request_cancel(job_id, ALICE)
        await run_out()
        assert await taken(storage) is None
        assert await storage.work.claim("w2", LEASE_S, ATTEMPTS, job_id=job_id) is None

    async def test_a_scheduled_and_a_paused_job_are_not_in_line(self, storage: Storage, samples: Samples) -> None:
        await created(storage, samples.job(run_at=datetime.now(UTC) + timedelta(hours=1)))
        await storage.jobs.request_pause(await created(storage, samples.job()), ALICE)
        assert await taken(storage) is None

    async def test_a_claim_says_how_long_is_left_and_a_job_past_its_deadline_is_not_claimed(self, storage: Storage, samples: Samples) -> None:
        now = datetime.now(UTC)
        late = await created(storage, samples.job(priority=0, deadline=now + timedelta(milliseconds=20)))
        in_time = await created(storage, samples.job(priority=9, deadline=now + timedelta(hours=1)))
        await asyncio.sleep(0.04)
        claim = await taken(storage)
        assert claim is not None
        assert claim.job_id == in_time
        assert claim.deadline_left_s is not None
        assert 3_500 < claim.deadline_left_s <= 3_600
        assert await storage.work.claim("w2", LEASE_S, ATTEMPTS, job_id=late) is None


class LineRaceConformance:
    """Many claimers at once."""

    async def test_eight_claimers_take_fifty_jobs_once_each(self, peers: Sequence[Storage], samples: Samples) -> None:
        jobs = [await created(peers[0], samples.job(priority=n % 3, key_id=KeyId(f"key_{n % 4}"))) for n in range(50)]

        async def drain(storage: Storage) -> list[JobId]:
            mine: list[JobId] = []
            while (claim := await taken(storage)) is not None:
                mine.append(claim.job_id)
            return mine

        shares = await asyncio.gather(*(drain(peers[n % len(peers)]) for n in range(8)))
        assert sorted(job_id for share in shares for job_id in share) == sorted(jobs)

    async def test_ten_hints_for_each_job_start_it_once(self, peers: Sequence[Storage], samples: Samples) -> None:
        jobs = [await created(peers[0], samples.job()) for _ in range(3)]
        claims = await asyncio.gather(*(taken(peers[n % len(peers)]) for n in range(30)))
        assert sorted(claim.job_id for claim in claims if claim is not None) == sorted(jobs)
        for job_id in jobs:
            assert (await event_types(peers[0], job_id)).count(JobEvent.ATTEMPT_STARTED) == 1
            assert (await peers[0].jobs.get(job_id, ALICE)).status is JobStatus.IN_PROGRESS
