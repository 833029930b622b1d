"""One pool process of the worker: its event loop and everything opened in it, after the fork and once for all of its jobs."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import FrameType

from slow_worker.checkpoints import FencedSaver
from slow_worker.coalescing import CoalescingCheckpoints
from slow_worker.drain import Drain
from slow_worker.graph import GraphBuilder
from slow_worker.runner import JobRunner, RunEnd
from slow_worker.services import Services
from slow_worker.tool_reports import ToolReporter
from slow_worker.watchdog import ProcessWatchdog
from tandem.egress import GuardedClient
from tandem.errors import TandemError
from tandem.events import open_notifier
from tandem.ids import IdFactory
from tandem.models import open_chat_model
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.telemetry import SystemClock, get_logger
from tools.offers import Supplies
from tools.registry import offered_tools


class WorkerProcess:
    """Opened in the child by ``start``; ``run`` is called from Celery's thread of execution, one job at a time."""

    def __init__(self, settings: Settings, drain: Drain, build: GraphBuilder) -> None:
        self._settings = settings
        self._build = build
        self._drain = drain
        self._loop = asyncio.Runner(loop_factory=_loop_factory())
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

    def run(self) -> RunEnd:
        """Run the next job; while draining, it is left to another worker. Raises ``OperatorError`` when the database is away."""
        if self._drain.has_begun():
            return RunEnd.RELEASED
        self._draining.clear()
        # A SIGTERM meant for the whole process group reaches this child too; the pool's own handler would end it before the job is given back.
        pools_own = signal.signal(signal.SIGTERM, self._on_terminate)
        try:
            return self._loop.run(self._ready().run(self._draining))
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
        ids = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)
        async with AsyncExitStack() as stack:
            storage = open_storage(settings)
            stack.push_async_callback(storage.close)
            await storage.migrate()
            notifier = open_notifier(settings)
            stack.push_async_callback(notifier.close)
            model = open_chat_model(settings, "slow")
            stack.push_async_callback(model.close)
            toolbox = await offered_tools(Supplies(settings, GuardedClient(settings.egress), ids, storage.memories))
            stack.push_async_callback(toolbox.close)
            reporter = ToolReporter(lambda: open_storage(settings), lambda: toolbox.offers, socket.gethostname(), SystemClock())
            reporter.start()
            stack.callback(reporter.stop)
            self._stack = stack.pop_all()
        checkpoints = CoalescingCheckpoints(storage.work.checkpoints)
        services = Services(storage.work, storage.jobs, storage.files, storage.audit, notifier, model, toolbox, SystemClock(), ids, settings)
        return JobRunner(
            work=storage.work,
            notifier=notifier,
            graph=self._build(FencedSaver(checkpoints)),
            checkpoints=checkpoints,
            open_context=services.open_context,
            clock=services.clock,
            settings=settings.worker,
            watchdog=ProcessWatchdog(settings.worker.lease_s),
            worker=f"{socket.gethostname()}:{os.getpid()}",
        )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, which halves what an empty job costs the loop; Python's own loop where there is none (Windows)."""
    try:
        import uvloop  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
