"""What every node of one job's graph may use; built by the runner for each run, never checkpointed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from slow_worker.artifacts import Artifacts
from slow_worker.auditing import Auditor
from slow_worker.budget import BudgetLedger
from slow_worker.caller import ModelCaller
from slow_worker.effects import Effects
from slow_worker.effort import EffortPolicy
from slow_worker.ends import RunEnd
from slow_worker.progress import Progress
from slow_worker.workspace import Language
from tandem.ids import IdFactory, JobId
from tandem.ports import JobStore, Tool, ToolContext
from tandem.schemas.jobs import JobRequest, Usage
from tandem.schemas.routing import Effort
from tools.authority import Authority, Rules


@dataclass(frozen=True, slots=True)
class Family:
    """What a job needs to have parts of it done as jobs of their own."""

    jobs: JobStore
    ids: IdFactory
    max_unfinished: int
    sleep: Callable[[float], Awaitable[None]]
    run: Callable[[JobId], Awaitable[RunEnd]] | None = None
    """Runs one child in this process; None until the runner has put it in."""


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
    """What this job may use: offered here and granted when it was submitted."""
    tool_context: ToolContext
    rules: Rules
    auditor: Auditor
    family: Family
    language: Language
    approval_ttl_s: float
    """Seconds an approval waits for somebody."""
    context_tokens: int
    """Of the model: prompt and reply together."""
    nonce: str
    """Random; a new job takes its fence mark from it."""
    spent_before: Usage
    """What the job had spent, as reported, when this run began."""
    slots: int
    """Requests the model server works on at once: the size of a wave."""
    inherited: Authority | None = None
    """What the job that this one is a part of had seen when it asked for it."""

    @property
    def waits_for_budget(self) -> bool:
        return self.request.on_budget == "wait"

    def is_charged(self, calls_before: int) -> bool:
        """Whether a recorded call is in the usage this run began with; ``calls_before`` were reported when it was recorded."""
        return self.spent_before.calls > calls_before
