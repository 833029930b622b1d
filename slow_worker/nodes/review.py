"""Review: somebody approves the plan, edits its steps or rejects it, before anything is spent on carrying it out."""

from langgraph.runtime import Runtime
from pydantic import JsonValue

from slow_worker.asking import ask
from slow_worker.context import JobContext
from slow_worker.plans import edited_plan
from slow_worker.prompts import review_prompt
from slow_worker.room import room_of
from slow_worker.stops import PlanRejected
from slow_worker.waves import next_wave
from slow_worker.workspace import Task, Update, Workspace
from tandem.errors import InternalError
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import PlanStep

_MOST_STEPS = 16
_LONGEST_STEP = 200
_SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "steps": {"type": "array", "minItems": 1, "maxItems": _MOST_STEPS, "items": {"type": "string", "minLength": 1, "maxLength": _LONGEST_STEP}}
    },
    "required": ["steps"],
    "additionalProperties": False,
}


async def review(state: Workspace, runtime: Runtime[JobContext]) -> Update:
    """Wait for the reviewer's word. Raises ``PlanRejected``."""
    context, task, steps = runtime.context, state["task"], state["plan"]
    answer = ask(_question(task, steps))
    match answer.decision:
        case "approve":
            return {}
        case "edit":
            edited = edited_plan(_titles(answer.value), steps, task.kind, task.language)
            await context.progress.plan_created(edited, is_edited=True)
            orders = [] if task.uses_tools else next_wave(task, edited, [], context.policy, room_of(context))
            return {"plan": edited, "orders": orders}
        case _:
            raise PlanRejected("the plan was rejected")


def _question(task: Task, steps: list[PlanStep]) -> InputAsk:
    proposal: JsonValue = {"steps": [step.title for step in steps]}
    return InputAsk.model_validate({
        "key": "plan",
        "kind": "approval",
        "prompt": review_prompt(task.language),
        "schema": _SCHEMA,
        "proposal": proposal,
    })


def _titles(value: JsonValue) -> list[str]:
    """The steps of an edit, which the door has checked against the schema."""
    steps = value.get("steps") if isinstance(value, dict) else None
    if not isinstance(steps, list):
        raise InternalError(f"an edited plan holds {type(value).__name__} where its steps should be")
    return [str(step) for step in steps]
