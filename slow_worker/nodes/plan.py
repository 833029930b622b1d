"""Plan: a flat list of few steps. Only an open task asks the model for one; the rest follow a fixed course."""

from langgraph.runtime import Runtime
from pydantic import JsonValue

from slow_worker.caller import Ask
from slow_worker.context import JobContext
from slow_worker.plans import fixed_plan, read_plan, tool_plan
from slow_worker.prompts import plan_messages
from slow_worker.room import room_of
from slow_worker.stops import BudgetStop
from slow_worker.waves import next_wave
from slow_worker.workspace import Task, Update, Workspace
from tandem.errors import BudgetReached
from tandem.schemas.jobs import JobFailure, JobResult, PlanStep, Usage

_PLAN_TOKENS = 160


async def plan(state: Workspace, runtime: Runtime[JobContext]) -> Update:
    """Make the plan and order the first wave. Raises ``BudgetStop``."""
    context = runtime.context
    task = state["task"].model_copy(update={"steers": await context.progress.take_steers("plan")})
    steps = await _steps(task, context)
    await context.progress.plan_created(steps)
    orders = [] if task.uses_tools else next_wave(task, steps, [], context.policy, room_of(context))
    return {"task": task, "plan": steps, "orders": orders}


async def _steps(task: Task, context: JobContext) -> list[PlanStep]:
    if task.uses_tools:
        return tool_plan(task.language)
    count = min(context.policy.plan_steps, context.ledger.calls_left() - 1)
    if task.kind != "open" or count < 2:
        return fixed_plan(task.kind, task.language, has_python="python" in context.tools)
    try:
        recorded = await context.effects.once("plan", lambda: _ask(task, context, count))
    except BudgetReached as error:
        if context.waits_for_budget:
            raise BudgetStop(JobFailure(code=error.code, message=error.message), JobResult()) from None
        return fixed_plan(task.kind, task.language, has_python=False)
    assert isinstance(recorded.result, dict)  # noqa: S101 - the shape `_ask` records
    if recorded.is_recalled and not context.progress.view.plan:
        context.ledger.charge(Usage.model_validate(recorded.result["usage"]))
    return read_plan(str(recorded.result["text"]), task.language, count)


async def _ask(task: Task, context: JobContext, count: int) -> JsonValue:
    reply, usage = await context.caller.complete(Ask(plan_messages(task, count), _PLAN_TOKENS, temperature=0.2, seed=room_of(context).seed(0, 0)))
    return {"text": reply.text, "usage": usage.model_dump(mode="json")}
