"""A schedule on a whole platform: the dispatcher's process takes the turn, the worker's does the job."""

import asyncio
import time
from datetime import timedelta

import pytest

from tandem.client import TandemClient
from tandem.ids import DEFAULT_TENANT, IdFactory, ScheduleId
from tandem.schemas.jobs import JobRequest, JobStatus
from tandem.schemas.schedules import Schedule, ScheduleCreate
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.testing.platform import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

IDS = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)
YEARLY = ScheduleCreate(name="New year", cron="0 0 1 1 *", timezone="Asia/Shanghai", request=JobRequest(input="How much is 5 + 7?", effort="low"))


async def taken(platform: Platform, timeout_s: float = 100) -> Schedule:
    """A schedule whose turn came two hours ago, once the dispatcher has taken that turn."""
    storage = open_storage(Settings(home=platform.home))
    try:
        missed = (await storage.schedules.now()) - timedelta(hours=2)
        schedule, _ = await storage.schedules.add(IDS.schedule(), DEFAULT_TENANT, None, YEARLY, missed, max_schedules=1_000)
        async with asyncio.timeout(timeout_s):
            while schedule.last_job_id is None:
                await asyncio.sleep(0.05)
                schedule = await storage.schedules.get(ScheduleId(schedule.id), DEFAULT_TENANT)
        return schedule
    finally:
        await storage.close()


def test_a_turn_that_is_due_runs_to_its_end(scripted_platform: Platform) -> None:
    schedule = asyncio.run(taken(scripted_platform))
    assert schedule.last_job_id is not None
    assert schedule.next_run_at is not None
    assert (schedule.next_run_at.month, schedule.next_run_at.day, schedule.next_run_at.hour) == (12, 31, 16)
    with TandemClient(scripted_platform.gateway, scripted_platform.key) as client:
        job = client.wait_for_job(schedule.last_job_id, timeout_s=120)
    assert (job.status, job.schedule_id) == (JobStatus.COMPLETED, schedule.id)
