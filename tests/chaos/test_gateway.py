"""The gateway is killed while clients stream and submit (row 9), and its log is swept under a reader (row 28)."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest

from tandem.client.aio import AsyncTandemClient
from tandem.ids import DEFAULT_TENANT, StreamId
from tandem.ports import Outcome
from tandem.schemas.events import STREAM_RESET
from tandem.schemas.jobs import JobResult, JobStatus
from tandem.testing.chaos.processes import PATIENCE_S, until
from tandem.testing.chaos.scene import Scene, is_long, staged
from tandem.testing.chaos.town import Town
from tandem.testing.chaos.world import Order


async def kill_gateway(scene: Scene) -> None:
    assert scene.town.gateway is not None
    scene.town.gateway.kill()
    await scene.town.start_gateway()


async def test_row_09_a_reader_resumes_after_the_gateways_death_without_a_gap(scene: Scene) -> None:
    job_id = await scene.submit(Order(step_s=1.2))
    numbers: list[int] = []

    async def read() -> None:
        async with AsyncTandemClient(scene.town.url, scene.town.key) as client:
            async for event in client.job_events(job_id):
                numbers.append(event.sequence_number)  # noqa: PERF401 - the test looks at it meanwhile

    reading = asyncio.create_task(read())
    kills = 2
    for _ in range(kills):
        await scene.outside(job_id, "plan" if not numbers else "branch:0")
        await kill_gateway(scene)
    await scene.ended([job_id])
    async with asyncio.timeout(PATIENCE_S):
        await reading

    assert numbers == [event.sequence_number for event in await scene.events(job_id)]
    await scene.sound([job_id], injections=kills, kills=kills)


async def test_row_09_a_raw_stream_resumes_by_its_last_event_id(scene: Scene) -> None:
    job_id = await scene.submit(Order(do="ask"))
    numbers: list[int] = []
    reading = asyncio.create_task(scene.streamed(job_id, numbers))
    await until(lambda: len(numbers) >= 4, "four events have come", scene.town.logs, every_s=0.01)
    assert scene.town.gateway is not None
    scene.town.gateway.kill()
    with pytest.raises(httpx.HTTPError):
        await reading  # the job waits for its answer: the stream cannot have ended by itself
    await scene.town.start_gateway()
    reading = asyncio.create_task(scene.streamed(job_id, numbers, last_event_id=numbers[-1]))
    job = await scene.reaches(job_id, JobStatus.INPUT_REQUIRED)
    assert (await scene.post(f"/v1/jobs/{job_id}/inputs/{job.inputs[0].id}", {"value": "yes"})).status_code == 200
    await reading

    assert numbers == [event.sequence_number for event in await scene.events(job_id)]
    await scene.sound([job_id], kills=1)


async def test_row_09_a_submit_repeated_with_its_key_after_a_kill_gives_the_same_job(scene: Scene) -> None:
    rounds = 10 if is_long() else 3
    keys: list[str] = []
    known: dict[str, str] = {}

    async def submit(key: str) -> None:
        try:
            answer = await scene.post("/v1/jobs", scene.body(), idempotency_key=key)
        except httpx.HTTPError:
            return  # whether it was committed is what the next call will tell
        if answer.status_code == 202:
            known[key] = answer.json()["id"]

    for number in range(rounds):
        batch = [f"key-{scene.rng.random()}-{number}-{index}" for index in range(12)]
        keys += batch
        submitting = [asyncio.create_task(submit(key)) for key in batch]
        await asyncio.sleep(scene.rng.uniform(0.0, 0.12))
        await kill_gateway(scene)
        await asyncio.gather(*submitting)

    again = [await scene.submit_patiently(Order(), key) for key in keys]
    assert len(set(again)) == len(keys), "each key has one job of its own"
    assert {key: job_id for key, job_id in zip(keys, again, strict=True) if key in known} == known
    await scene.ended(again)
    await scene.sound(again, injections=rounds, kills=rounds, note=f"{len(keys) - len(known)} replies were lost")


OwnTown = Callable[..., AbstractAsyncContextManager[Town]]


async def test_row_28_a_sweep_under_a_reader_is_told_as_a_reset(own_town: OwnTown, row: int, record_property: Callable[[str, object], None]) -> None:
    async with own_town(RETENTION_EVENTS_DAYS="0.00001", RETENTION_SWEEP_S="0.3") as town:
        await town.start_gateway()
        async with staged(town, row, 1) as scene:
            job_id = await scene.submit()
            claim = await scene.storage.work.claim("by hand", 60, 4)
            assert claim is not None
            async with scene.http.stream("GET", f"/v1/jobs/{job_id}/events", headers={"accept": "text/event-stream"}) as live:
                lines = live.aiter_lines()
                while not (await anext(lines)).startswith("id: 2"):
                    pass
                await scene.storage.work.finish(claim.job_id, claim.epoch, Outcome(JobStatus.COMPLETED, result=JobResult(output_text="done")))
                rest = [line async for line in lines]
            # Whoever keeps up is told the end by the table alone; the sweeper begins now.
            await town.start_dispatcher()
            assert any("response.completed" in line for line in rest), "a reader who keeps up sees the end"

            async def is_swept() -> bool:
                # The last event is kept, for the numbers to go on.
                return await scene.storage.events.first_seq(StreamId(job_id)) == await scene.storage.events.last_seq(StreamId(job_id))

            await until(is_swept, "the log is swept", town.logs)
            late = await scene.http.get(f"/v1/jobs/{job_id}/events", headers={"accept": "text/event-stream", "last-event-id": "1"})
            assert late.status_code == 200
            assert STREAM_RESET in late.text
            assert '"completed"' in late.text, "the reset carries the job as it is now"
            assert (await scene.storage.jobs.get(claim.job_id, DEFAULT_TENANT)).status is JobStatus.COMPLETED
            assert town.gateway is not None
            assert town.gateway.is_alive
            scene.tally.injections, scene.tally.jobs = 1, 1
            record_property("chaos", scene.tally.as_json())
