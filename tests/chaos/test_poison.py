"""Jobs that kill, block or starve their worker (rows 11 and 12): each ends with a code of its own, and the queue moves on."""

from datetime import UTC, datetime, timedelta

import pytest

from tandem.schemas.jobs import JobStatus
from tandem.testing.chaos.processes import until
from tandem.testing.chaos.scene import Scene
from tandem.testing.chaos.town import MAX_ATTEMPTS
from tandem.testing.chaos.world import Order

WORKER_LOST = frozenset({"worker_lost"})
MEMORY_BYTES = 1_400_000_000
"""Address space of each process; an idle one has half of it."""

POISONS = (
    (Order(do="exit"), WORKER_LOST),
    (Order(do="segv"), WORKER_LOST),
    (Order(do="unpicklable"), frozenset({"internal_error"})),
    (Order(do="loop"), WORKER_LOST),
)


async def test_row_11_poisonous_jobs_fail_after_their_attempts_and_others_go_on(scene: Scene) -> None:
    poisons = [await scene.submit(order) for order, _ in POISONS]
    others = [await scene.submit() for _ in range(5)]

    jobs = await scene.ended(poisons)
    await scene.ended(others)
    after = await scene.submit()
    await scene.ended([after])

    for job, (order, codes) in zip(jobs, POISONS, strict=True):
        assert job.status is JobStatus.FAILED
        assert job.error is not None
        assert job.error.code in codes, (order.do, job.error)
        assert job.lost <= MAX_ATTEMPTS
        counts = scene.town.world.counts(job.id)
        # One call may be cut off between the outside and the ledger, by a machine that stalls for longer than the lease: it is made again.
        assert counts.total() <= len(counts) + 1, ("no attempt repeats what was recorded", counts)
    note = ", ".join(f"{order.do}: {job.error.code if job.error else ''} after {job.attempt}" for job, (order, _) in zip(jobs, POISONS, strict=True))
    await scene.sound(poisons, injections=sum(job.attempt for job in jobs), note=note, status=JobStatus.FAILED)
    await scene.sound([*others, after], injections=0)


async def test_row_11_a_job_that_waits_for_ever_is_shown_as_stuck_and_ends_by_its_deadline_or_a_cancel(scene: Scene) -> None:
    until_then = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    dated, endless = await scene.submit(Order(do="hang"), deadline=until_then), await scene.submit(Order(do="hang"))

    async def is_shown() -> bool:
        leases = (await scene.http.get("/v1/operations")).json()["leases"]
        return any(lease["job_id"] == endless and lease["is_stuck"] for lease in leases)

    await until(is_shown, "the endless job is shown as stuck", scene.town.logs)
    assert (await scene.post(f"/v1/jobs/{endless}/cancel")).status_code == 200
    jobs = await scene.ended([dated, endless])

    assert [job.status for job in jobs] == [JobStatus.INCOMPLETE, JobStatus.CANCELLED]
    assert jobs[0].error is not None
    assert jobs[0].error.code == "deadline_exceeded"
    await scene.sound([dated, endless], injections=2, status=None)


@pytest.mark.workers(0)
async def test_row_12_a_job_that_eats_all_memory_fails_alone(scene: Scene) -> None:
    await scene.town.only_worker(max_memory_bytes=MEMORY_BYTES)
    hungry = await scene.submit(Order(do="memory"))
    others = [await scene.submit() for _ in range(3)]

    [job] = await scene.ended([hungry])
    await scene.ended(others)

    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code in {"internal_error", "worker_lost"}, job.error
    await scene.sound([hungry], note=f"{job.error.code} after {job.attempt}", status=JobStatus.FAILED)
    await scene.sound(others, injections=0)
