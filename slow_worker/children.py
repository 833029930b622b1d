"""``subtask``: a part of a job as a job of its own, run within its parent's worker, grant and budget.

The child is a real row: it has its own lease, events and ledger, is cancelled with its parent, and may be taken over by another worker. The parent
waits for it in either case, so a lone worker cannot wait for itself. Its id is written into the parent's ledger before it is made: a parent that is
resumed finds the same child.

Covered: the child's grant is part of the parent's, its budget is part of what is left, and its authority begins where the parent's stood (a sub-task
frees nobody from the taint); it asks no people; parts of parts end at the second level; its answer counts as words of strangers.
Not covered: a child is not faster than its parent; its model calls share the same server.
"""

import asyncio
from typing import Final

from pydantic import JsonValue

from slow_worker.auditing import ToolCall
from slow_worker.context import JobContext
from slow_worker.ends import RunEnd
from slow_worker.stops import Drained
from tandem.errors import Conflict, ModelUnavailable, NotFound, TooManyRequests
from tandem.ids import JobId
from tandem.ports import NewJob
from tandem.schemas.jobs import Budget, Job, JobRequest, JobStatus, Usage
from tandem.schemas.tools import ToolResult, ToolSpec
from tools.authority import Authority
from tools.base import refused
from tools.people import ASK_USER
from tools.subtask import SUBTASK

DEEPEST: Final = 2
"""Levels of parts below a job that nobody asked another job for."""
_LEAST_TOKENS: Final = 600
_LEAST_SECONDS: Final = 5.0
_POLL_S: Final = 1.0
_SIGN_S: Final = 60.0
"""A parent that waits says so at least this often, or it would count as stuck."""


def effective_spec(context: JobContext, call: ToolCall, spec: ToolSpec) -> ToolSpec:
    """What a call amounts to: a sub-task reads private data where one of its tools does."""
    if call.tool != SUBTASK:
        return spec
    is_private = any(context.tools[name].spec.reads_private for name in _wanted(context, call) if name in context.tools)
    return spec.model_copy(update={"reads_private": is_private})


async def run_subtask(context: JobContext, call: ToolCall, authority: Authority) -> ToolResult:
    """The child's answer.

    Raises:
        Drained: This worker stops, or another one has to go on.
        ModelUnavailable: The child was put off because its model server is away.
    """
    depth = await _depth(context)
    if depth >= DEEPEST:
        return refused(f"parts of parts end at level {DEEPEST}; do this one yourself", "too_deep")
    if unknown := [name for name in _wanted(context, call) if name not in context.tools]:
        return refused(f"this job has no tool {unknown[0]!r} to give; it has: {', '.join(sorted(context.tools))}", "unknown_tool")
    child = await _child(context, call, authority, depth)
    if isinstance(child, ToolResult):
        return child
    job = await _ended(context, call, child)
    await _charge(context, job)
    return _result(job)


async def _child(context: JobContext, call: ToolCall, authority: Authority, depth: int) -> Job | ToolResult:
    """The child of this call, found or made; a refusal where there can be none."""
    own_id, tenant = context.tool_context.job_id, context.tool_context.tenant
    if not await context.effects.is_begun(_key(context, call)) and (why := _poverty(context)):
        return refused(why, "no_budget")

    async def new_id() -> JsonValue:
        return context.family.ids.job()

    async def stand() -> JsonValue:
        seen: JsonValue = authority.model_dump(mode="json")
        return seen

    child_id = JobId(str((await context.effects.once(_key(context, call), new_id)).result))
    await context.effects.once(authority_key(child_id), stand)
    try:
        return await context.family.jobs.get(child_id, tenant)
    except NotFound:
        request = _request(context, call, depth)
    new = NewJob(
        id=child_id,
        tenant=tenant,
        key_id=context.tool_context.key_id,
        request=request.model_copy(update={"parent_id": own_id}),
        effort=request.effort or "low",
        title=str(call.arguments["task"])[:80],
        tools=request.tools,
    )
    try:
        return (await context.family.jobs.create(new, max_unfinished=context.family.max_unfinished)).job
    except (TooManyRequests, Conflict) as error:
        return refused(f"{error.message}; do this part yourself", error.code)


def authority_key(child_id: JobId) -> str:
    """Under which a parent's ledger keeps what the child begins with."""
    return f"authority:{child_id}"


def _key(context: JobContext, call: ToolCall) -> str:
    # With the job's own id: a retry of the parent, which takes over its ledger, has children of its own.
    return f"child:{context.tool_context.job_id}:{call.id}"


def _wanted(context: JobContext, call: ToolCall) -> list[str]:
    """Names the child is to have."""
    named = call.arguments.get("tools")
    return [str(name) for name in named] if isinstance(named, list) else sorted(context.tools)


def _poverty(context: JobContext) -> str:
    """Why the budget has no room for a part; empty when it has."""
    left = context.ledger.left()
    if left.calls < 1 or left.tokens < _LEAST_TOKENS or left.seconds < _LEAST_SECONDS:
        return (
            f"the budget has no room for a sub-task ({left.calls} calls, {left.tokens} tokens, {left.seconds:.0f} s are left); do this part yourself"
        )
    return ""


def _request(context: JobContext, call: ToolCall, depth: int) -> JobRequest:
    left = context.ledger.left()
    barred = {ASK_USER, SUBTASK} if depth + 1 >= DEEPEST else {ASK_USER}
    return JobRequest(
        input=str(call.arguments["task"]),
        effort="low" if context.effort in {"low", "medium"} else "medium",
        budget=Budget(
            max_calls=left.calls,
            max_tokens=left.tokens,
            max_seconds=max(1.0, left.seconds),
            max_tool_calls=left.tool_calls,
            max_cost_usd=left.cost_usd,
        ),
        tools=[name for name in _wanted(context, call) if name not in barred],
        files=context.request.files,
        approvals="refuse",
        webhook_endpoints=[],
        priority=context.request.priority,
        deadline=context.request.deadline,
    )


async def _depth(context: JobContext) -> int:
    """How many jobs stand above this one, counted no further than matters."""
    depth, parent_id = 0, context.request.parent_id
    while parent_id is not None and depth < DEEPEST:
        depth += 1
        parent_id = (await context.family.jobs.get(JobId(parent_id), context.tool_context.tenant)).parent_id
    return depth


async def _ended(context: JobContext, call: ToolCall, child: Job) -> Job:
    """The child at its end, run here where no other worker has it."""
    waiting = asyncio.create_task(_show_life(context, call))
    try:
        while not child.status.is_terminal:
            end = await _run_here(context, JobId(child.id))
            child = await context.family.jobs.get(JobId(child.id), context.tool_context.tenant)
            if child.status.is_terminal:
                break
            if end is RunEnd.RELEASED:
                raise Drained
            if child.status is JobStatus.SCHEDULED:
                raise ModelUnavailable("the slow model's server is away; the sub-task waits for it")
            if context.ledger.left().seconds <= 0:
                await context.family.jobs.request_cancel(JobId(child.id), context.tool_context.tenant)
            await context.family.sleep(_POLL_S)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    return child


async def _run_here(context: JobContext, child_id: JobId) -> RunEnd:
    return RunEnd.NOTHING if context.family.run is None else await context.family.run(child_id)


async def _show_life(context: JobContext, call: ToolCall) -> None:
    while True:
        await asyncio.sleep(_SIGN_S)
        await context.progress.tool_progressed(call.tool, call.id, "the sub-task is under way")


async def _charge(context: JobContext, job: Job) -> None:
    """Put the child's spending on the parent's account, once over all runs of the parent."""

    async def line() -> JsonValue:
        return {"usage": job.usage.model_dump(mode="json"), "calls_before": context.ledger.spent.calls}

    recorded = await context.effects.once(f"usage:{job.id}", line)
    assert isinstance(recorded.result, dict)  # noqa: S101 - the shape `line` records
    if not recorded.is_recalled or not context.is_charged(int(str(recorded.result["calls_before"]))):
        context.ledger.charge(Usage.model_validate(recorded.result["usage"]))


def _result(job: Job) -> ToolResult:
    if job.status is JobStatus.COMPLETED or (job.status is JobStatus.INCOMPLETE and job.output_text):
        output: dict[str, JsonValue] = {"answer": job.output_text or "", "status": job.status}
        return ToolResult(ok=True, output=output, citations=job.citations)
    why = f": {job.error.message}" if job.error else ""
    return refused(f"the sub-task ended as {job.status}{why}; do this part yourself, or go on without it", "subtask_failed")
