"""The ``ask_user`` tool: a question to whoever watches the job. The engine asks it (``slow_worker/people.py``), for only a job can wait.

Called outside of a job it says so: there is nobody to ask.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from tandem.ports import ToolContext
from tandem.schemas.tools import ToolExample, ToolResult, ToolSpec
from tools.base import refused
from tools.offers import Offer, Supplies

ASK_USER: Final = "ask_user"

SPEC: Final = ToolSpec(
    name=ASK_USER,
    description="Asks the person behind the task one question and waits for the answer. Only for what the task leaves open.",
    parameters={
        "type": "object",
        "properties": {
            "question": {"type": "string", "minLength": 1, "maxLength": 1_000},
            "choices": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 200}, "minItems": 2, "maxItems": 12},
            "fields": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 60},
                "minItems": 1,
                "maxItems": 12,
                "description": "Names of what to fill in, for several answers at once.",
            },
        },
        "required": ["question"],
        "additionalProperties": False,
    },
    side_effect="pure",
    timeout_s=60.0,
    max_output_tokens=800,
    needs=["people"],
    examples=[
        ToolExample(arguments={"question": "Which city do you start from?"}),
        ToolExample(arguments={"question": "Which day?", "choices": ["Saturday", "Sunday"]}),
    ],
)


class AskUserTool:
    """Stands for the question; whoever calls it outside of a job is told that nobody listens."""

    @property
    def spec(self) -> ToolSpec:
        return SPEC

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:  # noqa: ARG002 - nobody is there to hear them
        return refused("there is nobody to ask outside of a job; decide without", "no_job")


async def offer(supplies: Supplies) -> Sequence[Offer]:  # noqa: ARG001 - asking needs nothing of the machine
    """The tool; it works wherever jobs run."""
    return [Offer(SPEC, AskUserTool())]
