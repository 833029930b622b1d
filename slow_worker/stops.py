"""How a node leaves the graph before its end: the job waits, or ends here. The runner turns each into one transaction.

The node's step is not checkpointed, so a job that goes on runs the node again.
"""

from tandem.schemas.jobs import JobFailure, JobResult

PLAN_REJECTED = "plan_rejected"
DEADLINE_EXCEEDED = "deadline_exceeded"
STEP_TIMEOUT = "step_timeout"


class BudgetStop(Exception):
    """The budget is reached and the caller wants to be asked (``on_budget: wait``)."""

    def __init__(self, reason: JobFailure, best: JobResult) -> None:
        super().__init__(reason.message)
        self.reason = reason
        self.best = best


class Drained(Exception):
    """The worker stops while a step waits for something long: the job goes back to the queue and the step begins again."""


class PlanRejected(Exception):
    """Somebody refused the plan: the job ends as cancelled."""


__all__ = ["DEADLINE_EXCEEDED", "PLAN_REJECTED", "STEP_TIMEOUT", "BudgetStop", "Drained", "PlanRejected"]
