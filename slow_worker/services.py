"""What the jobs of one worker process share, and the context that each run of a job gets out of it."""

from dataclasses import dataclass
from typing import Final

from slow_worker.artifacts import Artifacts
from slow_worker.budget import BudgetLedger, Price, Reserve
from slow_worker.caller import ModelCaller
from slow_worker.context import JobContext
from slow_worker.documents import Documents
from slow_worker.effects import Effects
from slow_worker.effort import POLICIES, EffortPolicy, limits_of
from slow_worker.nodes.intake import understand
from slow_worker.progress import Progress
from slow_worker.prompts import document_form
from slow_worker.shelf import JobShelf
from slow_worker.tool_grants import granted_tools
from slow_worker.workspace import Task
from tandem.ids import IdFactory
from tandem.ports import ChatModel, Claim, Clock, FileStore, JobWork, Notifier, ToolContext
from tandem.settings import ModelSettings, Settings
from tools.registry import Toolbox

_WRITING_SHARE: Final = 0.15
"""Share of the seconds kept back for writing the answer of an open task."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the jobs of one process share."""

    work: JobWork
    files: FileStore
    notifier: Notifier
    model: ChatModel
    toolbox: Toolbox
    clock: Clock
    ids: IdFactory
    settings: Settings

    async def open_context(self, claim: Claim) -> JobContext:
        """The context of one run of one job. Raises ``ToolNotOffered``, ``InvalidRequest`` and ``ModelContextExceeded`` for what is asked in vain."""
        task, policy, settings = understand(claim.request), POLICIES[claim.effort], self.settings
        limits = limits_of(policy, claim.request.budget)
        ledger = BudgetLedger(limits, _price(settings.slow), claim.view.usage, self.clock.monotonic, _reserve(task, policy, limits.seconds))
        documents = Documents(claim.request.documents, document_form(task.language))
        if settings.slow.url is None:
            # Of somebody else's server we do not know the context.
            documents.check_fit(settings.slow.context_tokens)
        progress = Progress(claim, self.work, self.notifier, self.clock, ledger)
        artifacts = Artifacts(self.work, progress, self.ids, claim.job_id, claim.epoch, settings.worker.max_artifact_bytes)
        shelf = JobShelf(claim.tenant, claim.request.files, claim.request.documents, self.files, artifacts)
        return JobContext(
            request=claim.request,
            effort=claim.effort,
            policy=policy,
            caller=ModelCaller(self.model, ledger, self.clock.sleep, settings.worker.step_timeout_s, documents=documents),
            ledger=ledger,
            effects=Effects(self.work, claim.job_id, claim.epoch),
            progress=progress,
            artifacts=artifacts,
            tools=granted_tools(self.toolbox, claim),
            tool_context=ToolContext(tenant=claim.tenant, job_id=claim.job_id, call_id="", shelf=shelf),
            slots=settings.slow.slots,
        )


def _price(model: ModelSettings) -> Price:
    return Price(input_usd=model.input_usd_per_million, output_usd=model.output_usd_per_million)


def _reserve(task: Task, policy: EffortPolicy, seconds: float) -> Reserve:
    """An open task ends with a call that writes the answer; its notes go in again as its prompt."""
    if task.kind != "open":
        return Reserve()
    notes = policy.plan_steps * policy.step_tokens
    return Reserve(calls=1, tokens=policy.answer_tokens + 2 * notes, seconds=seconds * _WRITING_SHARE)
