"""The database restarts, locks and fills up (rows 8 and 25): a 202 is never false, and nothing is half-written."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from tandem.schemas.jobs import JobStatus
from tandem.testing.chaos.scene import Scene, staged
from tandem.testing.chaos.town import Town
from tandem.testing.chaos.world import Order

DISTURBANCES = 6
CUT_OFF = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@asynccontextmanager
async def disturbed(scene: Scene) -> AsyncGenerator[None]:
    """While inside, the database throws everybody out (PostgreSQL) or is locked by somebody else (SQLite), again and again."""
    task = asyncio.create_task(lock_often(scene) if scene.town.is_sqlite else terminate_often(scene))
    try:
        yield
        await task
    finally:
        task.cancel()


async def terminate_often(scene: Scene) -> None:
    connection = await asyncpg.connect(scene.town.database_url)
    try:
        for _ in range(DISTURBANCES):
            await asyncio.sleep(scene.rng.uniform(0.2, 0.7))
            await connection.execute(CUT_OFF)
    finally:
        await connection.close()


async def lock_often(scene: Scene) -> None:
    for _ in range(DISTURBANCES):
        await asyncio.sleep(scene.rng.uniform(0.1, 0.4))
        await asyncio.to_thread(hold_lock, scene.town.database_url, 0.6)


def hold_lock(url: str, seconds: float) -> None:
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")


async def test_row_08_a_database_that_throws_everybody_out_gets_no_false_202_and_no_second_end(scene: Scene) -> None:
    accepted: list[str] = []
    answers: list[int] = []
    async with disturbed(scene):
        for _ in range(24):
            answer = await scene.post("/v1/jobs", scene.body(Order(step_s=0.05)))
            answers.append(answer.status_code)
            if answer.status_code == 202:
                accepted.append(scene.note(answer.json()["id"]))
            await asyncio.sleep(0.1)

    assert set(answers) <= {202, 503}, answers
    assert accepted
    await scene.ended(accepted)
    await scene.sound(accepted, injections=DISTURBANCES, note=f"{answers.count(503)} refused with 503")


OwnTown = Callable[..., AbstractAsyncContextManager[Town]]


@pytest.mark.parametrize("own_town", ["sqlite"], indirect=True)
async def test_row_25_a_full_disk_refuses_jobs_and_corrupts_nothing(
    own_town: OwnTown, row: int, record_property: Callable[[str, object], None]
) -> None:
    async with own_town() as town:
        database = Path(town.database_url.removeprefix("sqlite:///"))
        await town.start_gateway(max_file_bytes=max(database.stat().st_size, 1_200_000))
        async with staged(town, row, 1) as scene:
            accepted, refused = await fill_up(scene)
            assert refused, "the disk was full"
            assert refused <= {503, 507}

            assert town.gateway is not None
            town.gateway.kill()
            with contextlib.closing(sqlite3.connect(database)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (len(accepted),), "what was refused is not there"

            await town.start_redis()
            await asyncio.gather(town.start_gateway(), town.start_dispatcher(), town.start_worker())
            for job_id in accepted[3:]:
                assert (await scene.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200
            jobs = await scene.ended(accepted[:3])
            assert {job.status for job in jobs} == {JobStatus.COMPLETED}
            await scene.sound(accepted[:3], kills=1, note=f"{len(accepted)} accepted before it was full, then {sorted(refused)}")
            record_property("chaos", scene.tally.as_json())


async def fill_up(scene: Scene) -> tuple[list[str], set[int]]:
    """Hand over jobs until five in a row are refused: the accepted ids, and the other statuses."""
    accepted: list[str] = []
    refused: list[int] = []
    filler = [{"name": "filler", "text": "x" * 60_000}]
    for _ in range(400):
        with contextlib.suppress(httpx.HTTPError):
            answer = await scene.post("/v1/jobs", scene.body(documents=filler))
            if answer.status_code == 202:
                accepted.append(scene.note(answer.json()["id"]))
            else:
                refused.append(answer.status_code)
        if len(refused) >= 5:
            break
    return accepted, set(refused)
