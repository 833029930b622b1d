"""One pool process of the worker: its event loop and everything opened in it, after the fork and once for all of its jobs."""

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import FrameType

from slow_worker.budget import BudgetLedger, Price, Reserve
from slow_worker.caller import ModelCaller
from slow_worker.checkpoints import checkpoint_errors, open_checkpoints
from slow_worker.context import JobContext
from slow_worker.drain import Drain
from slow_worker.effects import Effects
from slow_worker.effort import POLICIES, EffortPolicy, limits_of
from slow_worker.graph import build_graph
from slow_worker.nodes.intake import understand
from slow_worker.progress import Progress, newest_seq
from slow_worker.runner import JobRunner, RunEnd
from slow_worker.workspace import Task
from tandem.errors import TandemError
from tandem.events import open_notifier
from tandem.ids import JobId, StreamId
from tandem.models import open_chat_model
from tandem.ports import ChatModel, Claim, Clock, Notifier, Storage, ToolContext
from tandem.schemas.events import JobEvent
from tandem.settings import ModelSettings, Settings
from tandem.storage import open_storage
from tandem.telemetry import SystemClock, get_logger
from tools.registry import Toolbox, offered_tools

_WRITING_SHARE = 0.15
"""Share of the seconds kept back for writing the answer of an open task."""
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Services:
    """What the jobs of one process share."""

    storage: Storage
    notifier: Notifier
    model: ChatModel
    toolbox: Toolbox
    clock: Clock
    settings: Settings

    async def open_context(self, claim: Claim) -> JobContext:
        """The context of one run of one job. Raises ``UnknownTool`` and ``InvalidRequest`` for what the request asks in vain."""
        task, policy = understand(claim.request), POLICIES[claim.effort]
        limits = limits_of(policy, claim.request.budget)
        ledger = BudgetLedger(limits, _price(self.settings.slow), claim.view.usage, self.clock.monotonic, _reserve(task, policy, limits.seconds))
        progress = Progress(
            claim,
            self.storage.jobs,
            self.notifier,
            self.clock,
            lambda: ledger.spent,
            last_seq=newest_seq(claim.appended, claim.job_id, -1),
            has_streamed=claim.attempt > 1 and await self._has_streamed(claim.job_id),
        )
        return JobContext(
            request=claim.request,
            effort=claim.effort,
            policy=policy,
            caller=ModelCaller(self.model, ledger, self.clock.sleep, self.settings.worker.step_timeout_s),
            ledger=ledger,
            effects=Effects(self.storage.jobs, claim.job_id, claim.epoch),
            progress=progress,
            tools=self.toolbox.select(claim.request.tools),
            tool_context=ToolContext(tenant=claim.tenant, job_id=claim.job_id, call_id=""),
            slots=self.settings.slow.slots,
        )

    async def _has_streamed(self, job_id: JobId) -> bool:
        """Whether a run that died had already sent pieces of the final text."""
        after = -1
        while page := await self.storage.events.read(StreamId(job_id), after, _PAGE):
            if any(event.type == JobEvent.TEXT_DELTA for event in page):
                return True
            after = page[-1].sequence_number
        return False


class WorkerProcess:
    """Opened in the child by ``start``; ``run`` is called from Celery's thread of execution, one job at a time."""

    def __init__(self, settings: Settings, drain: Drain) -> None:
        self._settings = settings
        self._drain = drain
        self._loop = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._draining = asyncio.Event()
        self._runner: JobRunner | None = None

    def start(self) -> None:
        """Open what the jobs need, so that the first one does not wait; what cannot be opened yet is tried again with each job."""
        self._drain.keep_reader_only()
        self._drain.watch(self._loop.get_loop(), self._draining)
        try:
            self._ready()
        except TandemError as error:
            get_logger(__name__).warning("worker_not_ready", code=error.code, reason=error.message)

    def run(self, job_id: JobId) -> RunEnd:
        """Run one hinted job; while draining, the job is left to another worker. Raises ``OperatorError`` when the database is away."""
        if self._drain.has_begun():
            return RunEnd.NOT_OURS
        self._draining.clear()
        # A SIGTERM meant for the whole process group reaches this child too; the pool's own handler would end it before the job is given back.
        pools_own = signal.signal(signal.SIGTERM, self._on_terminate)
        try:
            return self._loop.run(self._ready().run(job_id, self._draining))
        finally:
            signal.signal(signal.SIGTERM, pools_own)

    def _on_terminate(self, _number: int, _frame: FrameType | None) -> None:
        self._loop.get_loop().call_soon_threadsafe(self._draining.set)

    def stop(self) -> None:
        """Close everything; nothing of this process is left running."""
        self._loop.run(self._stack.aclose())
        self._loop.close()

    def _ready(self) -> JobRunner:
        if self._runner is None:
            self._runner = self._loop.run(self._open())
        return self._runner

    async def _open(self) -> JobRunner:
        settings = self._settings
        async with AsyncExitStack() as stack:
            storage = open_storage(settings)
            stack.push_async_callback(storage.close)
            await storage.migrate()
            notifier = open_notifier(settings)
            stack.push_async_callback(notifier.close)
            model = open_chat_model(settings, "slow")
            stack.push_async_callback(model.close)
            toolbox = offered_tools()
            stack.push_async_callback(toolbox.close)
            checkpoints = await stack.enter_async_context(open_checkpoints(settings))
            self._stack = stack.pop_all()
        services = Services(storage, notifier, model, toolbox, SystemClock(), settings)
        return JobRunner(
            jobs=storage.jobs,
            notifier=notifier,
            graph=build_graph(checkpoints),
            open_context=services.open_context,
            forget=checkpoints.adelete_thread,
            clock=services.clock,
            settings=settings.worker,
            storage_errors=checkpoint_errors(),
            worker=f"{socket.gethostname()}:{os.getpid()}",
        )


def _price(model: ModelSettings) -> Price:
    return Price(input_usd=model.input_usd_per_million, output_usd=model.output_usd_per_million)


def _reserve(task: Task, policy: EffortPolicy, seconds: float) -> Reserve:
    """An open task ends with a call that writes the answer; its notes go in again as its prompt."""
    if task.kind != "open":
        return Reserve()
    notes = policy.plan_steps * policy.step_tokens
    return Reserve(calls=1, tokens=policy.answer_tokens + 2 * notes, seconds=seconds * _WRITING_SHARE)
