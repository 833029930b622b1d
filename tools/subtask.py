"""The ``subtask`` tool: a part of the task as a job of its own. The engine (``slow_worker/children.py``) runs it within that job's budget.

Called outside of a job it says so: there is no budget and no grant to take a part of.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from tandem.ports import ToolContext
from tandem.schemas.tools import ToolExample, ToolResult, ToolSpec
from tools.base import refused
from tools.offers import Offer, Supplies

SUBTASK: Final = "subtask"

SPEC: Final = ToolSpec(
    name=SUBTASK,
    description="Has one part of the task worked out on its own and returns its answer. It knows nothing but its text, and may use the tools named.",
    parameters={
        "type": "object",
        "properties": {
            "task": {"type": "string", "minLength": 1, "maxLength": 4_000, "description": "All that is needed to do the part, in full sentences."},
            "tools": {"type": "array", "items": {"type": "string", "maxLength": 64}, "maxItems": 16, "description": "Names among your own tools."},
        },
        "required": ["task"],
        "additionalProperties": False,
    },
    side_effect="read_internal",
    taints=True,
    timeout_s=7_200.0,
    max_output_tokens=1_200,
    needs=["jobs"],
    examples=[ToolExample(arguments={"task": "Read http://example.com/a and list the prices it names.", "tools": ["web_fetch"]})],
)


class SubtaskTool:
    """Stands for the sub-task; whoever calls it outside of a job is told that there is none to be part of."""

    @property
    def spec(self) -> ToolSpec:
        return SPEC

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:  # noqa: ARG002 - there is nothing to run them in
        return refused("a sub-task is part of a job, and this call belongs to none; do the part yourself", "no_job")


async def offer(supplies: Supplies) -> Sequence[Offer]:  # noqa: ARG001 - the engine brings what it needs
    """The tool; it works wherever jobs run."""
    return [Offer(SPEC, SubtaskTool())]
