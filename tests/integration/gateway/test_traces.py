"""Steps and traces, through the doors."""

from typing import Any

import pytest

from tandem.ports import NewEvent
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobView, PlanStep
from tandem.schemas.traces import StepPage, Trace

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
async def test_a_jobs_course_is_read_back_whole(house: Any) -> None:
    async with house.http() as client:
        await client.post("/v1/jobs", json={"input": "add"})
        claim = await house.claim(await house.next_job())
        path = f"/v1/jobs/{claim.job_id}"
        await client.post(f"{path}/steer", json={"message": "in metres"})
        view = JobView(title="add", plan=[PlanStep(id="s1", title="Add", state="done")])
        await house.tell(claim, NewEvent(JobEvent.STEP_STARTED, {"step_id": "s1", "title": "Add"}))
        await house.storage.work.take_steers(claim.job_id, claim.epoch, "s1")
        # More text than one page of events: it is passed over.
        await house.tell(claim, *[NewEvent(JobEvent.TEXT_DELTA, {"delta": "x"})] * 1_100)
        await house.tell(claim, NewEvent(JobEvent.STEP_COMPLETED, {"step_id": "s1", "title": "Add", "note": "4"}), view=view)
        await house.storage.work.record_effect(claim.job_id, claim.epoch, "solve", {"text": "4", "usage": {"calls": 1}})
        await house.finish(claim)
        steps = StepPage.model_validate((await client.get(f"{path}/steps")).json())
        trace = Trace.model_validate((await client.get(f"{path}/trace")).json())
    [step] = steps.data
    assert (step.id, step.state, step.note, [steer.message for steer in step.steers]) == ("s1", "done", "4", ["in metres"])
    assert step.started_at is not None
    assert step.ended_at is not None
    assert (steps.is_partial, trace.is_partial) == (False, False)
    assert [span.kind for span in trace.spans] == ["job", "attempt", "step", "effect"]
    assert [span.status for span in trace.spans] == ["completed", "ok", "ok", "ok"]
