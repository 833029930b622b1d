"""Step notes: one step of the plan of an open task, worked out on its own."""

from slow_worker.caller import Ask
from slow_worker.prompts import step_messages
from slow_worker.strategies.common import Assignment
from slow_worker.workspace import Try


async def attempt_step(work: Assignment) -> Try:
    """Short notes for one step; notes that are cut off are kept, an empty reply is an error. Raises ``BudgetReached`` and ``ModelError``."""
    titles = [step.title for step in work.plan]
    number = 1 + next(index for index, step in enumerate(work.plan) if step.id == work.order.step_id)
    order = work.order
    reply, usage = await work.context.caller.complete(
        Ask(step_messages(work.task, titles, number), work.context.policy.step_tokens, temperature=order.temperature, seed=order.seed)
    )
    text = reply.text.strip()
    return work.result(text, usage, error=None if text else "the model wrote nothing")
