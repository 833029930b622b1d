"""The only way from the engine to a tool: granted by the budget, recorded in the ledger of effects, visible to whoever watches.

A tool that writes is announced before it is called and never called twice; any other may be called again when its worker died before the answer was
recorded. A recalled call costs nothing and is not shown again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from slow_worker.context import JobContext
from tandem.schemas.tools import ToolResult

_SUMMARY_CHARS: Final = 200


async def call_tool(context: JobContext, name: str, call_id: str, arguments: Mapping[str, JsonValue]) -> ToolResult:
    """One call of an allowed tool. ``call_id`` names it for ever: the step, and its number where a step makes several.

    Raises:
        BudgetReached: No tool call is left.
        OutcomeUnknown: A worker died while this call wrote something.
    """
    tool = context.tools[name]
    is_write = tool.spec.side_effect == "write"
    # A model that is asked again may want another call: a read is told apart by its arguments, a write never happens twice under any.
    key = f"tool:{call_id}:{name}" if is_write else f"tool:{call_id}:{name}:{_digest(arguments)}"
    if (known := await context.effects.recall(key)) is not None:
        return ToolResult.model_validate(known.result)
    context.ledger.take_tool_call()

    async def run() -> JsonValue:
        await context.progress.tool_started(name, call_id)
        result = await tool.run(arguments, replace(context.tool_context, call_id=call_id))
        summary = json.dumps(result.output, ensure_ascii=False) if result.ok else result.error.message if result.error else ""
        await context.progress.tool_completed(name, call_id, ok=result.ok, summary=summary[:_SUMMARY_CHARS])
        recorded: JsonValue = result.model_dump(mode="json")
        return recorded

    made = await (context.effects.act(key, run) if is_write else context.effects.once(key, run))
    return ToolResult.model_validate(made.result)


def _digest(arguments: Mapping[str, JsonValue]) -> str:
    return hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:16]
