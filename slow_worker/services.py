"""What the jobs of one worker process share, and the context that each run of a job gets out of it."""

from dataclasses import dataclass
from typing import Final

from slow_worker.artifacts import Artifacts
from slow_worker.auditing import Auditor
from slow_worker.budget import BudgetLedger, Limits, Price, Reserve
from slow_worker.caller import ModelCaller
from slow_worker.children import authority_key
from slow_worker.context import Family, JobContext
from slow_worker.documents import Documents
from slow_worker.effects import Effects
from slow_worker.effort import POLICIES, EffortPolicy, limits_of
from slow_worker.nodes.intake import understand
from slow_worker.progress import Progress
from slow_worker.prompts import document_form
from slow_worker.shelf import JobShelf
from slow_worker.tool_grants import granted_tools
from slow_worker.workspace import Task
from tandem.ids import IdFactory, JobId
from tandem.ports import AuditLog, ChatModel, Claim, Clock, FileStore, JobStore, JobWork, Notifier, ToolContext
from tandem.settings import ModelSettings, Settings
from tools.authority import Authority, Rules
from tools.registry import Toolbox

_WRITING_SHARE: Final = 0.15
"""Share of the seconds kept back for writing the answer of an open task."""

_FOUND_SHARE: Final = 0.4
"""Share of the tokens that is kept back at most for telling what tools found."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the jobs of one process share."""

    work: JobWork
    jobs: JobStore
    files: FileStore
    audit: AuditLog
    notifier: Notifier
    model: ChatModel
    toolbox: Toolbox
    clock: Clock
    ids: IdFactory
    settings: Settings

    async def open_context(self, claim: Claim) -> JobContext:
        """The context of one run of one job. Raises ``ToolNotOffered``, ``InvalidRequest`` and ``ModelContextExceeded`` for what is asked in vain."""
        tools = granted_tools(self.toolbox, claim)
        task, settings = understand(claim.request, tools), self.settings
        policy = POLICIES[claim.effort].with_tools() if task.uses_tools else POLICIES[claim.effort]
        limits = limits_of(policy, claim.request.budget)
        ledger = BudgetLedger(limits, _price(settings.slow), claim.view.usage, self.clock.monotonic, self._reserve(task, policy, limits))
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
            tools=tools,
            tool_context=ToolContext(tenant=claim.tenant, job_id=claim.job_id, call_id="", shelf=shelf, key_id=claim.key_id),
            rules=Rules(settings.tools.approval, claim.request.approvals, tuple(settings.tools.known_hosts)),
            auditor=Auditor(self.audit, claim.tenant, claim.job_id, claim.key_id),
            family=Family(self.jobs, self.ids, settings.gateway.max_queued_jobs, self.clock.sleep),
            language=task.language,
            approval_ttl_s=settings.tools.approval_ttl_s,
            context_tokens=settings.slow.context_tokens,
            # The last 80 bits of an id are random.
            nonce=self.ids.input()[-16:],
            spent_before=claim.view.usage,
            slots=settings.slow.slots,
            inherited=await self._inherited(claim),
        )

    def _reserve(self, task: Task, policy: EffortPolicy, limits: Limits) -> Reserve:
        """An open task ends with a call that writes the answer; its notes, or what tools found, go in again as its prompt."""
        seconds = limits.seconds * _WRITING_SHARE
        if task.uses_tools:
            return Reserve(calls=1, tokens=min(self.settings.slow.context_tokens, int(limits.tokens * _FOUND_SHARE)), seconds=seconds)
        if task.kind != "open":
            return Reserve()
        return Reserve(calls=1, tokens=policy.answer_tokens + 2 * policy.plan_steps * policy.step_tokens, seconds=seconds)

    async def _inherited(self, claim: Claim) -> Authority | None:
        """What the parent's ledger says of this child; None for a job that no sub-task made."""
        if claim.request.parent_id is None:
            return None
        line = await self.work.recall_effect(JobId(claim.request.parent_id), authority_key(claim.job_id))
        return None if line is None else Authority.model_validate(line.result)


def _price(model: ModelSettings) -> Price:
    return Price(input_usd=model.input_usd_per_million, output_usd=model.output_usd_per_million)
