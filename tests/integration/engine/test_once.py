"""What happens once: recorded steps, side effects, reports and files, over crashes and retries."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from pydantic import JsonValue

from slow_worker.auditing import ToolCall
from slow_worker.context import JobContext
from slow_worker.effects import Effects
from slow_worker.testing import PLANNING, PROBLEM, WRITTEN, Workshop, plans, prompt, solves
from slow_worker.tool_calls import call_tool
from tandem.errors import BudgetReached, LeaseLost, OutcomeUnknown
from tandem.ids import DEFAULT_TENANT, ArtifactId, JobId
from tandem.ports import Claim, NewJob, ToolContext
from tandem.schemas.chat import ChatRequest
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import AnswerContract, Budget, Job, JobRequest, JobStatus
from tandem.schemas.tools import SideEffect, ToolResult, ToolSpec
from tandem.settings import ToolSettings
from tools.authority import Authority

pytestmark = pytest.mark.integration


@dataclass
class Till:
    """A tool that counts its calls."""

    side_effect: SideEffect
    calls: list[ToolContext] = field(default_factory=list[ToolContext])
    is_broken: bool = False

    @property
    def spec(self) -> ToolSpec:
        schema = cast("dict[str, JsonValue]", {"type": "object"})
        return ToolSpec(name="till", description="", parameters=schema, side_effect=self.side_effect, timeout_s=5, max_output_bytes=100)

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        self.calls.append(context)
        if self.is_broken:
            raise asyncio.CancelledError("the worker is gone")
        return ToolResult(ok=True, output=len(self.calls))


async def till_call(context: JobContext, arguments: dict[str, JsonValue]) -> ToolResult:
    return (await call_tool(context, ToolCall("step:1", "till", arguments), Authority())).result


async def claimed(workshop: Workshop, job_id: JobId) -> Claim:
    claim = await workshop.storage.work.claim("test", 60, 9, job_id=job_id)
    assert claim is not None
    return claim


async def again(workshop: Workshop, claim: Claim) -> Claim:
    """The job changes hands."""
    await workshop.storage.work.release(claim.job_id, claim.epoch)
    return await claimed(workshop, claim.job_id)


@pytest.mark.parametrize("side_effect", ["write", "read_external"])
async def test_a_recorded_tool_call_is_recalled_not_repeated_not_charged_and_not_shown_again(workshop: Workshop, side_effect: SideEffect) -> None:
    till = Till(side_effect)
    workshop = workshop.with_tools({"till": till}).with_tool_settings(ToolSettings(approval="tainted"))
    job_id = await workshop.submit(JobRequest(input=PROBLEM))
    claim = await claimed(workshop, job_id)
    first = await till_call(await workshop.services.open_context(claim), {"a": 1})

    claim = await again(workshop, claim)
    context = await workshop.services.open_context(claim)
    second = await till_call(context, {"a": 1})

    assert (first.output, second.output, [each.call_id for each in till.calls]) == (1, 1, ["step:1"])
    assert context.ledger.spent.tool_calls == 1
    assert (await workshop.types(job_id)).count(JobEvent.TOOL_STARTED) == 1


async def test_a_write_whose_outcome_is_unknown_is_not_repeated(workshop: Workshop) -> None:
    till = Till("write", is_broken=True)
    workshop = workshop.with_tools({"till": till}).with_tool_settings(ToolSettings(approval="tainted"))
    claim = await claimed(workshop, await workshop.submit(JobRequest(input=PROBLEM)))
    with pytest.raises(asyncio.CancelledError):
        await till_call(await workshop.services.open_context(claim), {})

    till.is_broken = False
    claim = await again(workshop, claim)

    async def effect() -> JsonValue:
        return (await till.run({}, ToolContext(DEFAULT_TENANT, claim.job_id, "step:1"))).output

    with pytest.raises(OutcomeUnknown, match="find out whether it happened"):
        await Effects(workshop.storage.work, claim.job_id, claim.epoch).act("tool:step:1:till", effect)

    assert len(till.calls) == 1


async def test_a_read_that_broke_off_is_made_again(workshop: Workshop) -> None:
    till = Till("read_external", is_broken=True)
    workshop = workshop.with_tools({"till": till}).with_tool_settings(ToolSettings(approval="tainted"))
    claim = await claimed(workshop, await workshop.submit(JobRequest(input=PROBLEM)))
    with pytest.raises(asyncio.CancelledError):
        await till_call(await workshop.services.open_context(claim), {})

    till.is_broken = False
    context = await workshop.services.open_context(await again(workshop, claim))

    assert (await till_call(context, {})).ok
    assert len(till.calls) == 2


async def test_a_write_that_the_budget_refuses_leaves_no_trace(workshop: Workshop) -> None:
    till = Till("write")
    workshop = workshop.with_tools({"till": till}).with_tool_settings(ToolSettings(approval="tainted"))
    claim = await claimed(workshop, await workshop.submit(JobRequest(input=PROBLEM, budget=Budget(max_tool_calls=0))))

    with pytest.raises(BudgetReached):
        await till_call(await workshop.services.open_context(claim), {})

    assert await workshop.storage.jobs.effects(claim.job_id, DEFAULT_TENANT) == []


async def test_a_worker_that_lost_its_job_calls_nothing_that_writes(workshop: Workshop) -> None:
    claim = await claimed(workshop, await workshop.submit(JobRequest(input=PROBLEM)))
    await again(workshop, claim)
    called: list[bool] = []

    async def effect() -> JsonValue:
        called.append(True)
        return None

    with pytest.raises(LeaseLost):
        await Effects(workshop.storage.work, claim.job_id, claim.epoch).act("key", effect)

    assert called == []


async def retry(workshop: Workshop, ended: Job) -> Job:
    new = NewJob(id=workshop.ids.job(), tenant=DEFAULT_TENANT, key_id=None, request=ended.request, effort=ended.effort, title="again")
    created = await workshop.storage.jobs.retry(JobId(ended.id), new, carries_steps=True, max_unfinished=100)
    await workshop.run()
    return await workshop.job(created.job.id)


async def test_a_retry_makes_only_what_failed_and_charges_and_reports_nothing_twice(workshop: Workshop) -> None:
    def fail_to_write(request: ChatRequest) -> str:
        if "Notes:" in prompt(request):
            raise KeyError("a bug")
        return plans(request)

    workshop.model.answer = fail_to_write
    ended = await workshop.do(JobRequest(input=PLANNING))
    assert (ended.status, len(workshop.model.asked)) == (JobStatus.FAILED, 5)

    workshop.model.answer = plans
    job = await retry(workshop, ended)

    assert (job.status, job.output_text, job.usage.calls, len(workshop.model.asked)) == (JobStatus.COMPLETED, WRITTEN, 1, 6)
    types = await workshop.types(job.id)
    assert [types.count(kind) for kind in (JobEvent.PLAN_CREATED, JobEvent.TEXT_DONE)] == [0, 1]
    completed = [event.data["step_id"] for event in await workshop.events(job.id) if event.type == JobEvent.STEP_COMPLETED]
    assert completed == ["write"]


async def test_a_writing_that_was_cut_off_is_not_taken_over_by_a_retry(workshop: Workshop) -> None:
    workshop.model.answer = lambda request: plans(request) * 30
    ended = await workshop.do(JobRequest(input=PLANNING, budget=Budget(max_tokens=200)), "low")
    assert ended.status is JobStatus.INCOMPLETE
    effects = await workshop.storage.jobs.effects(JobId(ended.id), DEFAULT_TENANT)
    assert [(each.key, bool(cast("Any", each.result)["failure"])) for each in effects] == [("synthesis", True)]

    workshop.model.answer = plans
    job = await retry(workshop, ended)

    assert (job.status, job.output_text) == (JobStatus.COMPLETED, WRITTEN)


async def files(workshop: Workshop, job: Job) -> dict[str, tuple[str, bytes]]:
    found: dict[str, tuple[str, bytes]] = {}
    for each in job.artifacts:
        artifact, content = await workshop.storage.jobs.artifact(JobId(job.id), DEFAULT_TENANT, ArtifactId(each.id))
        found[artifact.name] = (artifact.media_type, content)
    return found


async def test_the_winning_program_is_kept(workshop: Workshop) -> None:
    workshop.model.answer = solves

    job = await workshop.do(JobRequest(input=PROBLEM), "low")

    program = b"def solve():\n    april = 48\n    return april + april // 2"
    assert await files(workshop, job) == {"program.py": ("text/x-python", program)}
    assert (await workshop.types(job.id)).count(JobEvent.ARTIFACT_CREATED) == 1


@pytest.mark.parametrize(
    ("kind", "reply", "name", "media_type", "content"),
    [
        ("json", '{"total": 3}', "answer.json", "application/json", b'{\n  "total": 3\n}'),
        ("code", "```python\ndef f():\n    return 1\n```", "answer.py", "text/x-python", b"def f():\n    return 1"),
        ("code", "```rust\nfn f() {}\n```", "answer.txt", "text/plain", b"fn f() {}"),
        ("text", "A poem.", "answer.md", "text/markdown", b"A poem."),
    ],
)
async def test_an_answer_with_a_form_is_kept_as_a_file(workshop: Workshop, kind: Any, reply: str, name: str, media_type: str, content: bytes) -> None:
    workshop.model.answer = lambda _: reply

    job = await workshop.do(JobRequest(input="write it", answer=AnswerContract(kind=kind)), "low")

    assert await files(workshop, job) == {name: (media_type, content)}


async def test_a_file_that_is_too_large_is_left_out(workshop: Workshop) -> None:
    workshop.model.answer = lambda _: "A long poem."

    job = await workshop.with_settings(max_artifact_bytes=5).do(JobRequest(input="write it"), "low")

    assert (job.status, job.artifacts) == (JobStatus.COMPLETED, [])


async def test_an_incomplete_job_leaves_no_file(workshop: Workshop) -> None:
    workshop.model.answer = lambda _: "???"

    job = await workshop.do(JobRequest(input=PROBLEM), "low")

    assert (job.status, job.artifacts) == (JobStatus.INCOMPLETE, [])
