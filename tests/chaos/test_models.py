"""A model server that refuses, fails, hangs, breaks off or talks nonsense (row 24): a typed error in bounded time, or an answer after all."""

import pytest

from tandem.schemas.jobs import JobStatus
from tandem.testing.chaos.scene import Scene
from tandem.testing.chaos.world import Order
from tandem.testing.scripted_answers import Answer, Fault, Rule, Script
from tandem.testing.scripted_model import ScriptedModelServer

CASES: dict[str, tuple[list[Answer], JobStatus, str]] = {
    "refused and back": ([Answer(fault=Fault.RESET), Answer(fault=Fault.RESET), Answer()], JobStatus.COMPLETED, ""),
    "503 and back": ([Answer(status=503), Answer()], JobStatus.COMPLETED, ""),
    "500": ([Answer(status=500)], JobStatus.FAILED, "model_"),
    "hang": ([Answer(fault=Fault.HANG)], JobStatus.FAILED, "model_timeout"),
    "cut": ([Answer(fault=Fault.CUT)], JobStatus.FAILED, "model_"),
    "garbage": ([Answer(fault=Fault.WRONG_TYPE)], JobStatus.FAILED, "model_bad_response"),
}


STEP_TIMEOUT_S = 8.0
"""Over the second and a half of pauses in which the good cases try again, with room for a busy machine; the bad ones end after it."""


@pytest.mark.workers(0)
async def test_row_24_a_bad_model_server_ends_in_an_answer_or_in_a_typed_error(scene: Scene) -> None:
    rules = [Rule(when=f"^{name}$", answers=answers) for name, (answers, _, _) in CASES.items()]
    async with ScriptedModelServer(Script(rules=rules)) as model:
        await scene.town.only_worker(SLOW_URL=model.url, WORKER_STEP_TIMEOUT_S=str(STEP_TIMEOUT_S), WORKER_CONCURRENCY=str(len(CASES)))
        ids = [await scene.submit(Order(do="model", prompt=name)) for name in CASES]
        jobs = await scene.ended(ids)
    for job, (name, (_, status, code)) in zip(jobs, CASES.items(), strict=True):
        assert job.status is status, (name, job.error)
        assert (job.error.code if job.error else "").startswith(code), (name, job.error)
        await scene.sound([job.id], status=status, note=f"{name}: {job.error.code if job.error else 'completed'}")
