"""What every ``ScheduleStore`` must do: keep schedules, and give each turn to one dispatcher. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal

import pytest

from tandem.errors import IdempotencyKeyReused, NotFound, TooManyRequests
from tandem.ids import JobId, KeyId, ScheduleId, TenantId, ThreadId
from tandem.ports import DueSchedule, JobFilter, NewJob, Once, ScheduleUpdate, Storage
from tandem.schemas.jobs import JobFailure, JobRequest, JobStatus
from tandem.schemas.schedules import Schedule, ScheduleCreate
from tandem.testing.samples import ALICE, BOB, Samples
from tandem.testing.suites.job import DONE, MANY, claimed, created, event_types

HOUR: Final = timedelta(hours=1)
REQUEST: Final = JobRequest(input="water the plants", metadata={"room": "3"})
NIGHTLY: Final = ScheduleCreate(name="Plants", cron="0 3 * * *", timezone="Europe/Berlin", request=REQUEST)


class ScheduleConformance:
    """Schedules and their turns."""

    async def test_a_schedule_reads_back_as_it_was_made(self, storage: Storage, samples: Samples) -> None:
        later = (await storage.schedules.now()) + HOUR
        schedule, is_replay = await storage.schedules.add(samples.ids.schedule(), ALICE, KeyId("key_1"), NIGHTLY, later, max_schedules=MANY)
        assert await storage.schedules.get(ScheduleId(schedule.id), ALICE) == schedule
        assert (schedule.name, schedule.cron, schedule.timezone, schedule.request, schedule.overlap) == (
            "Plants",
            "0 3 * * *",
            "Europe/Berlin",
            REQUEST,
            "skip",
        )
        assert (schedule.next_run_at, schedule.last_run_at, schedule.last_job_id, schedule.last_error, is_replay) == (later, None, None, None, False)

    async def test_another_tenants_schedule_is_not_found(self, storage: Storage, samples: Samples) -> None:
        schedule = await _added(storage, samples, tenant=BOB)
        schedule_id = ScheduleId(schedule.id)
        for attempt in (
            storage.schedules.get(schedule_id, ALICE),
            storage.schedules.change(schedule_id, ALICE, _update(schedule)),
            storage.schedules.remove(schedule_id, ALICE),
            storage.schedules.list(ALICE, after=schedule_id, limit=3),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert not await storage.schedules.list(ALICE, after=None, limit=3)
        assert await storage.schedules.get(schedule_id, BOB) == schedule

    async def test_schedules_are_listed_newest_first_in_pages(self, storage: Storage, samples: Samples) -> None:
        made: list[str] = []
        for _ in range(5):
            made.append((await _added(storage, samples)).id)
            await asyncio.sleep(0.002)  # SQLite's clock ticks in milliseconds
        first = await storage.schedules.list(ALICE, after=None, limit=3)
        rest = await storage.schedules.list(ALICE, after=ScheduleId(first[-1].id), limit=3)
        assert [schedule.id for schedule in [*first, *rest]] == made[::-1]

    async def test_a_tenant_has_no_more_schedules_than_allowed(self, storage: Storage, samples: Samples) -> None:
        await _added(storage, samples)
        await _added(storage, samples, tenant=BOB)
        with pytest.raises(TooManyRequests, match="1 schedules already"):
            await storage.schedules.add(samples.ids.schedule(), ALICE, None, NIGHTLY, None, max_schedules=1)

    async def test_a_schedule_made_again_with_its_key_is_the_first_one(self, storage: Storage, samples: Samples) -> None:
        once = Once("POST /v1/schedules", "k1", "digest")
        first, _ = await storage.schedules.add(samples.ids.schedule(), ALICE, None, NIGHTLY, None, max_schedules=1, once=once)
        again, is_replay = await storage.schedules.add(samples.ids.schedule(), ALICE, None, NIGHTLY, None, max_schedules=1, once=once)
        assert (again, is_replay) == (first, True)
        with pytest.raises(IdempotencyKeyReused):
            await storage.schedules.add(samples.ids.schedule(), ALICE, None, NIGHTLY, None, max_schedules=1, once=replace(once, fingerprint="other"))
        await storage.schedules.remove(ScheduleId(first.id), ALICE)
        with pytest.raises(NotFound, match="is gone"):
            await storage.schedules.add(samples.ids.schedule(), ALICE, None, NIGHTLY, None, max_schedules=1, once=once)

    async def test_schedules_are_due_when_their_moment_has_passed_oldest_first(self, storage: Storage, samples: Samples) -> None:
        now = await storage.schedules.now()
        newer = await _added(storage, samples, next_run_at=now - HOUR)
        oldest = await _added(storage, samples, next_run_at=now - 2 * HOUR, tenant=BOB)
        await _added(storage, samples, next_run_at=now + HOUR)
        await _added(storage, samples, next_run_at=None)
        await storage.schedules.add(
            samples.ids.schedule(), ALICE, None, NIGHTLY.model_copy(update={"is_enabled": False}), now - HOUR, max_schedules=MANY
        )
        due = await storage.schedules.due(10)
        assert [each.schedule for each in due] == [oldest, newer]
        assert [each.tenant for each in due] == [BOB, ALICE]
        assert all(now <= each.now <= now + HOUR for each in due)
        assert [each.schedule for each in await storage.schedules.due(1)] == [oldest]

    async def test_a_turn_makes_a_job_and_moves_on(self, storage: Storage, samples: Samples) -> None:
        due = await _due(storage, samples)
        new = _turn(samples, due)
        made = await storage.schedules.fire(due, new, due.now + HOUR, max_unfinished=MANY)
        assert made is not None
        assert (made.job.id, made.job.schedule_id, made.job.status) == (new.id, due.schedule.id, JobStatus.QUEUED)
        assert [(each.stream, each.last_seq) for each in made.appended] == [(new.id, 1)]
        assert await storage.jobs.get(new.id, ALICE) == made.job
        after = await storage.schedules.get(ScheduleId(due.schedule.id), ALICE)
        assert (after.next_run_at, after.last_job_id, after.last_error) == (due.now + HOUR, new.id, None)
        assert after.last_run_at is not None
        assert after.last_run_at >= due.now
        assert not await storage.schedules.due(10)

    async def test_a_turn_may_make_a_job_and_leave_a_note(self, storage: Storage, samples: Samples) -> None:
        due, note = await _due(storage, samples), JobFailure(code="permission_denied", message="no tools")
        made = await storage.schedules.fire(due, _turn(samples, due), due.now + HOUR, max_unfinished=MANY, note=note)
        assert made is not None
        after = await storage.schedules.get(ScheduleId(due.schedule.id), ALICE)
        assert (after.last_job_id, after.last_error) == (made.job.id, note)

    async def test_a_schedule_belongs_to_the_key_that_set_its_request(self, storage: Storage, samples: Samples) -> None:
        due, other = await _due(storage, samples), samples.ids.key()
        kept = _update(due.schedule)
        await storage.schedules.change(ScheduleId(due.schedule.id), ALICE, kept)
        assert [each.key_id for each in await storage.schedules.due(MANY)] == [due.key_id]
        await storage.schedules.change(ScheduleId(due.schedule.id), ALICE, replace(kept, key_id=other))
        assert [each.key_id for each in await storage.schedules.due(MANY)] == [other]

    async def test_two_dispatchers_racing_for_a_turn_make_one_job(self, peers: Sequence[Storage], samples: Samples) -> None:
        for _ in range(5):
            await _added(peers[0], samples, next_run_at=(await peers[0].schedules.now()) - HOUR, overlap="allow")
        seen = [await peer.schedules.due(10) for peer in peers]
        turns = [(peer, due) for peer, dues in zip(peers, seen, strict=True) for due in dues]
        made = await asyncio.gather(*(peer.schedules.fire(due, _turn(samples, due), due.now + HOUR, max_unfinished=MANY) for peer, due in turns))
        jobs = await peers[0].jobs.list(ALICE, where=JobFilter(), after=None, limit=MANY)
        assert len(turns) == 5 * len(peers)
        assert len(jobs) == 5
        assert {job.schedule_id for job in jobs} == {due.schedule.id for due in seen[0]}
        assert {job.id for job in jobs} == {each.job.id for each in made if each is not None}

    @pytest.mark.parametrize("overlap", ["skip", "allow"])
    async def test_a_turn_beside_an_unfinished_job_follows_the_overlap(
        self, overlap: Literal["skip", "allow"], storage: Storage, samples: Samples
    ) -> None:
        due = await _due(storage, samples, overlap=overlap)
        await created(storage, samples.job(schedule_id=ScheduleId(due.schedule.id)))
        made = await storage.schedules.fire(due, _turn(samples, due), due.now + HOUR, max_unfinished=MANY)
        after = await storage.schedules.get(ScheduleId(due.schedule.id), ALICE)
        assert after.next_run_at == due.now + HOUR
        assert (made is None) == (overlap == "skip")
        assert (None if after.last_error is None else after.last_error.code) == ("overlap_skipped" if overlap == "skip" else None)

    async def test_a_turn_runs_again_once_the_job_before_has_ended(self, storage: Storage, samples: Samples) -> None:
        due = await _due(storage, samples)
        job_id = await created(storage, samples.job(schedule_id=ScheduleId(due.schedule.id)))
        assert await storage.schedules.fire(due, _turn(samples, due), due.now - HOUR, max_unfinished=MANY) is None
        await storage.work.finish(job_id, (await claimed(storage, job_id)).epoch, DONE)
        (due,) = await storage.schedules.due(10)
        assert due.schedule.last_error is not None
        assert await storage.schedules.fire(due, _turn(samples, due), due.now + HOUR, max_unfinished=MANY) is not None
        assert (await storage.schedules.get(ScheduleId(due.schedule.id), ALICE)).last_error is None

    async def test_a_turn_that_the_quota_refuses_is_recorded_and_not_made_up_for(self, storage: Storage, samples: Samples) -> None:
        await created(storage, samples.job())
        due = await _due(storage, samples)
        new = _turn(samples, due)
        assert await storage.schedules.fire(due, new, due.now + HOUR, max_unfinished=1) is None
        after = await storage.schedules.get(ScheduleId(due.schedule.id), ALICE)
        assert after.last_error is not None
        assert (after.last_error.code, after.next_run_at, after.is_enabled) == ("too_many_requests", due.now + HOUR, True)
        assert not await event_types(storage, new.id)

    async def test_a_turn_whose_thread_is_not_the_tenants_is_recorded(self, storage: Storage, samples: Samples) -> None:
        thread_id = ThreadId((await storage.threads.create(samples.ids.thread(), BOB, "Bob's")).id)
        due = await _due(storage, samples)
        assert await storage.schedules.fire(due, replace(_turn(samples, due), thread_id=thread_id), due.now + HOUR, max_unfinished=MANY) is None
        after = await storage.schedules.get(ScheduleId(due.schedule.id), ALICE)
        assert after.last_error is not None
        assert after.last_error.code == "not_found"

    async def test_a_schedule_that_changed_meanwhile_is_not_fired_as_it_was(self, storage: Storage, samples: Samples) -> None:
        due = await _due(storage, samples)
        schedule_id = ScheduleId(due.schedule.id)
        await storage.schedules.change(schedule_id, ALICE, replace(_update(due.schedule), is_enabled=False, next_run_at=None))
        assert await storage.schedules.fire(due, _turn(samples, due), due.now + HOUR, max_unfinished=MANY) is None
        assert (await storage.schedules.get(schedule_id, ALICE)).next_run_at is None
        await storage.schedules.remove(schedule_id, ALICE)
        assert await storage.schedules.fire(due, _turn(samples, due), due.now + HOUR, max_unfinished=MANY) is None
        assert not await storage.jobs.list(ALICE, where=JobFilter(), after=None, limit=10)

    async def test_a_schedule_without_a_next_moment_is_switched_off(self, storage: Storage, samples: Samples) -> None:
        for fails in (False, True):
            due = await _due(storage, samples)
            if fails:
                await storage.schedules.put_off(due, JobFailure(code="invalid_request", message="No such time zone."), None)
            else:
                await storage.schedules.fire(due, _turn(samples, due), None, max_unfinished=MANY)
            after = await storage.schedules.get(ScheduleId(due.schedule.id), ALICE)
            assert (after.is_enabled, after.next_run_at, after.last_error is not None) == (False, None, fails)

    async def test_a_turn_put_off_is_somebody_elses_no_more(self, storage: Storage, samples: Samples) -> None:
        due = await _due(storage, samples)
        error = JobFailure(code="internal_error", message="It broke.")
        await storage.schedules.put_off(due, error, due.now + HOUR)
        await storage.schedules.put_off(due, JobFailure(code="other", message="Too late."), None)
        after = await storage.schedules.get(ScheduleId(due.schedule.id), ALICE)
        assert (after.last_error, after.next_run_at, after.is_enabled) == (error, due.now + HOUR, True)

    async def test_a_change_that_leaves_the_time_alone_leaves_the_next_moment_alone(self, storage: Storage, samples: Samples) -> None:
        due = await _due(storage, samples)
        schedule_id, moment = ScheduleId(due.schedule.id), due.schedule.next_run_at
        stale = replace(_update(due.schedule), name="Flowers", request_json='{"input":"water the flowers"}', next_run_at=due.now + 5 * HOUR)
        renamed = await storage.schedules.change(schedule_id, ALICE, stale)
        assert (renamed.name, renamed.request and renamed.request.input, renamed.next_run_at) == ("Flowers", "water the flowers", moment)
        for change in ({"cron": "0 4 * * *"}, {"timezone": "UTC"}, {"is_enabled": False}):
            due = await _due(storage, samples)
            update = replace(_update(due.schedule), **change, next_run_at=due.now + HOUR)
            assert (await storage.schedules.change(ScheduleId(due.schedule.id), ALICE, update)).next_run_at == due.now + HOUR

    async def test_a_request_that_is_none_any_more_stops_no_other_schedule(self, storage: Storage, samples: Samples) -> None:
        stale = await _added(storage, samples, next_run_at=(await storage.schedules.now()) - 2 * HOUR)
        schedule_id = ScheduleId(stale.id)
        older = replace(_update(stale), request_json='{"input": "water", "effort": "enormous"}')
        assert (await storage.schedules.change(schedule_id, ALICE, older)).request is None
        good = await _due(storage, samples)
        due = await storage.schedules.due(10)
        assert [(each.schedule.id, each.schedule.request) for each in due] == [(stale.id, None), (good.schedule.id, REQUEST)]
        await storage.schedules.put_off(due[0], JobFailure(code="invalid_request", message="Set the request anew."), None)
        off = await storage.schedules.get(schedule_id, ALICE)
        assert (off.is_enabled, off.request, off.last_error and off.last_error.code) == (False, None, "invalid_request")
        assert [each.id for each in await storage.schedules.list(ALICE, after=None, limit=3)] == [good.schedule.id, stale.id]
        mended = await storage.schedules.change(schedule_id, ALICE, _update(stale))
        assert (mended.request, mended.is_enabled) == (REQUEST, True)

    async def test_jobs_outlive_their_schedule(self, storage: Storage, samples: Samples) -> None:
        due = await _due(storage, samples)
        made = await storage.schedules.fire(due, _turn(samples, due), due.now + HOUR, max_unfinished=MANY)
        await storage.schedules.remove(ScheduleId(due.schedule.id), ALICE)
        assert made is not None
        assert (await storage.jobs.get(JobId(made.job.id), ALICE)).schedule_id == due.schedule.id


async def _added(
    storage: Storage,
    samples: Samples,
    *,
    tenant: TenantId = ALICE,
    next_run_at: datetime | None = None,
    overlap: Literal["skip", "allow"] = "skip",
) -> Schedule:
    new = NIGHTLY.model_copy(update={"overlap": overlap})
    schedule, _ = await storage.schedules.add(samples.ids.schedule(), tenant, None, new, next_run_at, max_schedules=MANY)
    return schedule


async def _due(storage: Storage, samples: Samples, *, overlap: Literal["skip", "allow"] = "skip") -> DueSchedule:
    schedule = await _added(storage, samples, next_run_at=(await storage.schedules.now()) - HOUR, overlap=overlap)
    return next(each for each in await storage.schedules.due(MANY) if each.schedule.id == schedule.id)


def _turn(samples: Samples, due: DueSchedule) -> NewJob:
    return samples.job(tenant=due.tenant, schedule_id=ScheduleId(due.schedule.id))


def _update(schedule: Schedule) -> ScheduleUpdate:
    assert schedule.request is not None
    return ScheduleUpdate(
        name=schedule.name,
        cron=schedule.cron,
        timezone=schedule.timezone,
        request_json=schedule.request.model_dump_json(by_alias=True),
        overlap=schedule.overlap,
        is_enabled=schedule.is_enabled,
        next_run_at=schedule.next_run_at,
    )
