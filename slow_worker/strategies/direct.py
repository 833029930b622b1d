"""Direct: the model answers in the form the caller asked for, code or JSON; what breaks the form is an external failure."""

import json

from slow_worker.caller import Ask
from slow_worker.fences import code_block
from slow_worker.prompts import code_messages, json_messages
from slow_worker.strategies.common import Assignment
from slow_worker.verifiers.contract import code_fault, json_fault, read_json
from slow_worker.workspace import Try


async def attempt_direct(work: Assignment) -> Try:
    """One reply, read by the contract. Raises ``BudgetReached`` and ``ModelError``."""
    return await (_attempt_json(work) if work.task.kind == "json" else _attempt_code(work))


async def _attempt_json(work: Assignment) -> Try:
    order, schema = work.order, work.task.contract.json_schema
    shown = json.dumps(schema, ensure_ascii=False) if schema else ""
    messages = json_messages(work.task, shown, order.failure)
    ask = Ask(messages, work.context.policy.answer_tokens, temperature=order.temperature, seed=order.seed, json_schema=schema)
    reply, usage = await work.context.caller.complete(ask)
    value, fault = read_json(reply.text)
    fault = fault or json_fault(value, schema)
    return work.result(reply.text, usage, answer=None if fault else json.dumps(value, ensure_ascii=False), error=fault)


async def _attempt_code(work: Assignment) -> Try:
    order = work.order
    ask = Ask(code_messages(work.task, order.failure), work.context.policy.answer_tokens, temperature=order.temperature, seed=order.seed)
    reply, usage = await work.context.caller.complete(ask)
    program = code_block(reply.text)
    if program is None:
        return work.result(reply.text, usage, error="the reply holds no code block")
    fault = code_fault(program, reply.text)
    return work.result(reply.text, usage, answer=None if fault else program, program=program, error=fault)
