"""``ask_user``: the model's question becomes an input request, and the job waits for its answer without a worker.

Covered: what a person answers is the caller's word, and is trusted like the task; whoever answers is told when the question was written after the job
had read words of strangers. Not covered: a question that asks for what nobody should tell; no answer is an approval of anything.
"""

from typing import Final

from pydantic import JsonValue

from slow_worker.asking import ask
from slow_worker.auditing import ToolCall
from slow_worker.context import JobContext
from slow_worker.prompts import tainted_note
from tandem.schemas.base import JsonObject
from tandem.schemas.inputs import InputAsk
from tandem.schemas.tools import ToolResult
from tools.authority import Authority
from tools.hygiene import cleaned

_LONGEST_FIELD: Final = 2_000


def ask_person(context: JobContext, call: ToolCall, authority: Authority) -> ToolResult:
    """The answer; where there is none yet the job stops here. Comes before every effect of the call.

    Raises:
        BudgetReached: No tool call is left, so nobody is asked.
    """
    if not context.ledger.tool_calls_left():
        context.ledger.take_tool_call()  # raises, with the words of its meter
    given = ask(_question(context, call, authority))
    output: JsonObject = {"answer": given.value}
    if given.is_expired:
        output["note"] = "nobody answered in time; this is only a default: decide as well as you can, and say so in the answer"
        return ToolResult(ok=True, output={"default": given.value, "note": output["note"]})
    return ToolResult(ok=True, output=output)


def answers_in(result: ToolResult) -> list[str]:
    """What a person said, as texts."""
    value = result.output.get("answer") if result.ok and isinstance(result.output, dict) else None
    if isinstance(value, dict):
        return [str(item) for item in value.values()]
    return [] if value is None else [str(value)]


def _question(context: JobContext, call: ToolCall, authority: Authority) -> InputAsk:
    arguments = call.arguments
    prompt = cleaned(str(arguments["question"])).strip() or "?"
    if authority.is_tainted:
        prompt = f"{prompt}\n\n{tainted_note(context.language, authority.tainted_by)}"
    choices, fields = arguments.get("choices"), arguments.get("fields")
    shape: dict[str, JsonValue] = {"kind": "text", "default": ""}
    if isinstance(choices, list) and len(options := list(dict.fromkeys(cleaned(str(choice)).strip() for choice in choices))) > 1 and all(options):
        shape = {"kind": "choice", "choices": [*options], "default": options[0]}
    elif isinstance(fields, list):
        shape = {"kind": "form", "schema": _form([cleaned(str(name)) for name in fields]), "default": {}}
    return InputAsk.model_validate({"key": f"ask:{call.id}", "prompt": prompt[:2_000], **shape})


def _form(names: list[str]) -> JsonObject:
    properties: JsonObject = {name: {"type": "string", "maxLength": _LONGEST_FIELD} for name in names}
    required: list[JsonValue] = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
