"""Program-aided: the model writes ``solve()``, the sandbox runs it, and its value is the answer."""

import json

from pydantic import JsonValue

from slow_worker.answers import canonical_value
from slow_worker.caller import Ask
from slow_worker.fences import code_block
from slow_worker.prompts import program_messages
from slow_worker.strategies.common import Assignment
from slow_worker.workspace import Try
from tandem.schemas.tools import ToolResult

PYTHON = "python"
_SUMMARY_CHARS = 200


async def attempt_program(work: Assignment) -> Try:
    """One sampled program, executed. Raises ``BudgetReached`` and ``ModelError``."""
    order = work.order
    reply, usage = await work.context.caller.complete(
        Ask(program_messages(work.task, order.failure), work.context.policy.attempt_tokens, temperature=order.temperature, seed=order.seed)
    )
    program = code_block(reply.text)
    if program is None:
        return work.result(reply.text, usage, error="the reply holds no program")
    outcome = await run_python(work, program)
    usage = usage.model_copy(update={"tool_calls": 1})
    if not outcome.ok:
        return work.result(reply.text, usage, program=program, error=outcome.error or "the program failed")
    answer = canonical_value(outcome.output)
    error = None if answer is not None else f"the program returned {json.dumps(outcome.output, ensure_ascii=False)[:80]}, which is no short answer"
    return work.result(reply.text, usage, answer=answer, program=program, error=error)


async def run_python(work: Assignment, code: str) -> ToolResult:
    """One counted and reported call of the ``python`` tool. Raises ``BudgetReached``."""
    context = work.context
    context.ledger.take_tool_call()
    call_id = work.order.key
    await context.progress.tool_started(PYTHON, call_id)
    arguments: dict[str, JsonValue] = {"code": code}
    result = await context.tools[PYTHON].run(arguments, context.tool_context)
    summary = json.dumps(result.output, ensure_ascii=False) if result.ok else result.error or ""
    await context.progress.tool_completed(PYTHON, call_id, ok=result.ok, summary=summary[:_SUMMARY_CHARS])
    return result
