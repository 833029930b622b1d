"""Schedules and retention in running dispatchers, on a real database."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.delivery import Courier, Keyring
from gateway.dispatcher import Dispatcher, Ports
from tandem.egress import GuardedClient
from tandem.errors import NotFound
from tandem.events import MemoryNotifier
from tandem.ids import DEFAULT_TENANT, IdFactory, JobId, KeyId, ScheduleId
from tandem.ports import JobFilter, Outcome, Storage
from tandem.schemas.jobs import Job, JobRequest, JobResult, JobStatus
from tandem.schemas.keys import DEFAULT_SCOPES
from tandem.schemas.schedules import Schedule, ScheduleCreate
from tandem.settings import DatabaseSettings, DispatcherSettings, RetentionSettings, Settings
from tandem.storage import open_storage
from tandem.telemetry.clock import SystemClock
from tandem.telemetry.metrics import new_metrics
from tandem.testing.services import throw_away_database

pytestmark = pytest.mark.integration

IDS = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)
SOON = DispatcherSettings(poll_s=0.02, rehint_after_s=60)
MISSED = timedelta(hours=9)


class Workers:
    """Counts the hints."""

    def __init__(self) -> None:
        self.hints = 0

    async def hint(self, count: int = 1) -> bool:
        self.hints += count
        return True

    async def close(self) -> None:
        return None


@pytest.fixture(params=["sqlite", "postgresql"])
async def settings(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Settings]:
    if request.param == "sqlite":
        yield Settings(home=tmp_path, dispatcher=SOON)
        return
    async with throw_away_database() as url:
        yield Settings(home=tmp_path, dispatcher=SOON, database=DatabaseSettings(url=SecretStr(url)))


@pytest.fixture
async def storage(settings: Settings) -> AsyncGenerator[Storage]:
    storage = open_storage(settings)
    await storage.migrate()
    yield storage
    await storage.close()


@asynccontextmanager
async def dispatching(settings: Settings) -> AsyncGenerator[Workers]:
    """A dispatcher as its process runs it, but for the broker."""
    workers, clock, stop = Workers(), SystemClock(), asyncio.Event()
    async with AsyncExitStack() as stack:
        storage = open_storage(settings)
        stack.push_async_callback(storage.close)
        courier = Courier(GuardedClient(settings.egress), Keyring.load(settings), clock, disable_after_s=3_600)
        ports = Ports(storage, workers, MemoryNotifier(), courier, clock, new_metrics(), IDS)
        running = asyncio.create_task(Dispatcher(ports, settings, settings.home / "run").run(stop))
        try:
            yield workers
        finally:
            stop.set()
            await running


async def scheduled(storage: Storage, name: str = "Plants", **fields: object) -> Schedule:
    """An hourly schedule whose turn came hours ago, while no dispatcher ran."""
    new = ScheduleCreate.model_validate({"name": name, "cron": "0 * * * *", "request": JobRequest(input=f"water {name}")} | fields)
    missed = (await storage.schedules.now()) - MISSED
    schedule, _ = await storage.schedules.add(IDS.schedule(), DEFAULT_TENANT, KeyId("key_1"), new, missed, max_schedules=100)
    return schedule


async def jobs_of(storage: Storage) -> Sequence[Job]:
    return await storage.jobs.list(DEFAULT_TENANT, where=JobFilter(), after=None, limit=100)


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(50):
        while not await fact():
            await asyncio.sleep(0.02)


async def test_a_turn_missed_for_hours_runs_once_and_the_next_is_ahead(settings: Settings, storage: Storage) -> None:
    schedule = await scheduled(storage)

    async def is_taken() -> bool:
        return (await storage.schedules.get(ScheduleId(schedule.id), DEFAULT_TENANT)).last_job_id is not None

    async with dispatching(settings) as workers:
        await until(is_taken)
        await asyncio.sleep(5 * SOON.poll_s)  # time for a second turn, were there one
    (job,) = await jobs_of(storage)
    assert (job.status, job.schedule_id, job.effort, job.view.title, workers.hints) == ("queued", schedule.id, "medium", "water Plants", 1)
    after = await storage.schedules.get(ScheduleId(schedule.id), DEFAULT_TENANT)
    now = await storage.schedules.now()
    assert after.next_run_at is not None
    assert timedelta() < after.next_run_at - now <= timedelta(hours=1)
    claim = await storage.work.claim("w1", 15, 5)
    assert claim is not None
    await storage.work.finish(claim.job_id, claim.epoch, Outcome(JobStatus.COMPLETED, JobResult(output_text="done")))
    assert (await storage.jobs.get(JobId(job.id), DEFAULT_TENANT)).output_text == "done"


async def test_two_dispatchers_take_each_turn_once(settings: Settings, storage: Storage) -> None:
    made = {(await scheduled(storage, f"plant {number}")).id for number in range(20)}

    async def are_taken() -> bool:
        return not await storage.schedules.due(1)

    async with dispatching(settings) as first, dispatching(settings) as second:
        await until(are_taken)
    jobs = await jobs_of(storage)
    assert sorted(job.schedule_id or "" for job in jobs) == sorted(made)
    assert first.hints + second.hints == 20


async def test_a_quota_that_is_used_up_is_told_in_the_schedule(settings: Settings, storage: Storage) -> None:
    await storage.keys.add(KeyId("key_1"), DEFAULT_TENANT, "gardener", DEFAULT_SCOPES, b"digest")
    first, second = await scheduled(storage, "roses"), await scheduled(storage, "lilies")
    tight = settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"max_queued_jobs": 1})})

    async def are_taken() -> bool:
        return not await storage.schedules.due(1)

    async with dispatching(tight) as workers:
        await until(are_taken)
    after = [await storage.schedules.get(ScheduleId(each.id), DEFAULT_TENANT) for each in (first, second)]
    assert sorted("" if each.last_error is None else each.last_error.code for each in after) == ["", "too_many_requests"]
    assert (len(await jobs_of(storage)), workers.hints) == (1, 1)


async def test_a_running_dispatcher_forgets_ended_jobs(settings: Settings, storage: Storage) -> None:
    await scheduled(storage)
    brief = settings.model_copy(update={"retention": RetentionSettings(jobs_days=1e-9, sweep_s=0.05)})
    async with dispatching(brief):
        job_id = await _next(storage)
        claim = await storage.work.claim("w1", 15, 5, job_id=job_id)
        assert claim is not None
        await storage.work.finish(job_id, claim.epoch, Outcome(JobStatus.COMPLETED, JobResult(output_text="done")))

        async def is_gone() -> bool:
            return not await jobs_of(storage)

        await until(is_gone)
    with pytest.raises(NotFound):
        await storage.jobs.get(job_id, DEFAULT_TENANT)


async def _next(storage: Storage) -> JobId:
    async with asyncio.timeout(50):
        while not (jobs := await jobs_of(storage)):
            await asyncio.sleep(0.02)
    return JobId(jobs[0].id)
