"""What every node of one job's graph may use; built by the runner for each run, never checkpointed."""

from collections.abc import Mapping
from dataclasses import dataclass

from slow_worker.artifacts import Artifacts
from slow_worker.budget import BudgetLedger
from slow_worker.caller import ModelCaller
from slow_worker.effects import Effects
from slow_worker.effort import EffortPolicy
from slow_worker.progress import Progress
from tandem.ports import Tool, ToolContext
from tandem.schemas.jobs import JobRequest
from tandem.schemas.routing import Effort


@dataclass(frozen=True, slots=True)
class JobContext:
    """The services of one run."""

    request: JobRequest
    effort: Effort
    policy: EffortPolicy
    caller: ModelCaller
    ledger: BudgetLedger
    effects: Effects
    progress: Progress
    artifacts: Artifacts
    tools: Mapping[str, Tool]
    """What this job may use: offered here and allowed by the request."""
    tool_context: ToolContext
    slots: int
    """Requests the model server works on at once: the size of a wave."""

    @property
    def waits_for_budget(self) -> bool:
        return self.request.on_budget == "wait"
