"""Chain of thought: the model reasons in words and ends with its answer."""

from slow_worker.caller import Ask
from slow_worker.prompts import cot_messages
from slow_worker.strategies.common import Assignment
from slow_worker.workspace import Task, Try
from tandem.answers import choice_of, short_answer

NO_ANSWER = "no answer could be read from the reply"


async def attempt_cot(work: Assignment) -> Try:
    """One sampled chain of thought. Raises ``BudgetReached`` and ``ModelError``."""
    order = work.order
    reply, usage = await work.context.caller.complete(
        Ask(cot_messages(work.task), work.context.policy.attempt_tokens, temperature=order.temperature, seed=order.seed)
    )
    answer = read_answer(reply.text, work.task) if reply.finish_reason != "length" else None
    error = None if answer is not None else ("the reply was cut off" if reply.finish_reason == "length" else NO_ANSWER)
    return work.result(reply.text, usage, answer=answer, error=error)


def read_answer(text: str, task: Task) -> str | None:
    """The canonical answer of a chain of thought."""
    if task.contract.choices:
        return choice_of(text, task.contract.choices)
    return short_answer(text, must_be_number=task.contract.kind == "number")
