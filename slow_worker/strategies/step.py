"""Step notes: one step of the plan of an open task, worked out on its own."""

import re
from typing import Final

from slow_worker.caller import Ask
from slow_worker.prompts import step_messages
from slow_worker.strategies.common import Assignment
from slow_worker.workspace import Try

_MOST_POINTS: Final = 6
_SHORTEST_POINT: Final = 4
"""Characters; shorter is the rest of a list that broke off."""


async def attempt_step(work: Assignment) -> Try:
    """Short notes for one step; notes that are cut off are kept, an empty reply is an error. Raises ``BudgetReached`` and ``ModelError``."""
    titles = [step.title for step in work.plan]
    number = 1 + next(index for index, step in enumerate(work.plan) if step.id == work.order.step_id)
    order = work.order
    reply, usage = await work.context.caller.complete(
        Ask(step_messages(work.task, titles, number), work.context.policy.step_tokens, temperature=order.temperature, seed=order.seed)
    )
    text = tidy(reply.text)
    return work.result(text, usage, error=None if text else "the model wrote nothing of use")


def tidy(text: str) -> str:
    """Notes as a flat list of a few different points: a small model that runs in a circle must not drag the answer with it."""
    points: dict[str, str] = {}
    for line in text.splitlines():
        bare = re.sub(r"[*_#`]+", "", line).strip(" \t-•:：")
        if len(bare) >= _SHORTEST_POINT:
            points.setdefault(bare.casefold(), f"- {bare}")
    return "\n".join(list(points.values())[:_MOST_POINTS])
