"""What the strategies share: an order with all it needs."""

from dataclasses import dataclass

from slow_worker.context import JobContext
from slow_worker.workspace import Order, Task, Try
from tandem.schemas.jobs import PlanStep, Usage


@dataclass(frozen=True, slots=True)
class Assignment:
    """One order with what is needed to carry it out."""

    order: Order
    task: Task
    plan: list[PlanStep]
    context: JobContext

    def result(self, text: str, usage: Usage, *, answer: str | None = None, program: str | None = None, error: str | None = None) -> Try:
        order = self.order
        return Try(
            id=order.key,
            wave=order.wave,
            strategy=order.strategy,
            step_id=order.step_id,
            text=text,
            answer=answer,
            program=program,
            error=error,
            usage=usage,
        )
