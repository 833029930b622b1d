"""Program-aided: the model writes ``solve()``, the sandbox runs it, and its value is the answer."""

import json

from slow_worker.auditing import ToolCall
from slow_worker.caller import Ask
from slow_worker.fences import code_block
from slow_worker.prompts import program_messages
from slow_worker.strategies.common import Assignment
from slow_worker.tool_calls import call_tool
from slow_worker.workspace import Try
from tandem.answers import canonical_value
from tools.authority import Authority

PYTHON = "python"


async def attempt_program(work: Assignment) -> Try:
    """One sampled program, executed. Raises ``BudgetReached`` and ``ModelError``."""
    order = work.order
    reply, usage = await work.context.caller.complete(
        Ask(program_messages(work.task, order.failure), work.context.policy.attempt_tokens, temperature=order.temperature, seed=order.seed)
    )
    program = code_block(reply.text)
    if program is None:
        return work.result(reply.text, usage, error="the reply holds no program")
    # A program of the task's own computes in the sandbox: it reaches nothing that authority could forbid.
    outcome = (await call_tool(work.context, ToolCall(order.key, PYTHON, {"code": program}), Authority())).result
    usage = usage.model_copy(update={"tool_calls": 1})
    if not outcome.ok:
        return work.result(reply.text, usage, program=program, error=outcome.error.message if outcome.error else "the program failed")
    answer = canonical_value(outcome.output)
    error = None if answer is not None else f"the program returned {json.dumps(outcome.output, ensure_ascii=False)[:80]}, which is no short answer"
    return work.result(reply.text, usage, answer=answer, program=program, error=error)
