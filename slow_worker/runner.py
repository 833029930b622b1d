"""One job from claim to end: claim, run the graph, watch lease and cancel flag, finish.

How a run can end: the graph is done (completed or incomplete), it failed (a typed failure), the caller cancelled, the worker is stopping (the job
goes back to the queue at once), or another worker owns the job (this one stops without a word). A model server that stays away fails the job with
``model_unavailable`` after the caller's patience (``caller.py``); putting it back instead would repeat the wait without an end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

from slow_worker.context import JobContext
from slow_worker.graph import RECURSION_LIMIT, Engine
from slow_worker.workspace import Workspace
from tandem.errors import InternalError, LeaseLost, StorageUnavailable, TandemError
from tandem.ids import JobId
from tandem.ports import Claim, Clock, JobStore, Notifier, Outcome
from tandem.schemas.jobs import JobFailure, JobResult, JobStatus, JobView
from tandem.settings import WorkerSettings
from tandem.telemetry import bind, get_logger

T = TypeVar("T")

LOOK_S: Final = 1.0
"""Longest seconds between two looks at the cancel flag."""
_FINISH_DELAYS_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Pauses between tries to store a result while the database is away."""


class RunEnd(StrEnum):
    """What became of one hint."""

    NOT_OURS = "not_ours"
    """Somebody else has the job, or it has ended."""
    FINISHED = "finished"
    RELEASED = "released"
    LOST = "lost"


class _Stop(StrEnum):
    CANCELLED = "cancelled"
    DRAINING = "draining"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs jobs one after the other; one per worker process."""

    jobs: JobStore
    notifier: Notifier
    graph: Engine
    open_context: Callable[[Claim], Awaitable[JobContext]]
    forget: Callable[[JobId], Awaitable[None]]
    """Drops a finished job's checkpoints."""
    clock: Clock
    settings: WorkerSettings
    storage_errors: tuple[type[Exception], ...]
    """What the checkpoints raise when their database is away: no fault of the job, which is left to its lease."""
    worker: str
    """Name of this process, stored with the claim."""

    async def run(self, job_id: JobId, draining: asyncio.Event) -> RunEnd:
        """Run a job to its end, or as far as this worker may. Idempotent: a job that is not free is left alone."""
        claim = await self.jobs.claim(job_id, self.worker, self.settings.lease_s, self.settings.max_attempts)
        if claim is None:
            return RunEnd.NOT_OURS
        with bind(job_id=job_id, epoch=claim.epoch):
            log = get_logger(__name__)
            log.info("job_claimed", attempt=claim.attempt, effort=claim.effort)
            await self.notifier.notify(claim.appended)
            end = await self._run_claimed(claim, draining)
            log.info("job_left", end=end)
            return end

    async def _run_claimed(self, claim: Claim, draining: asyncio.Event) -> RunEnd:
        work = asyncio.create_task(self._work(claim))
        watch = asyncio.create_task(self._watch(claim, draining))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Cancelling the graph closes its model streams; waiting for it makes sure nothing of it writes after the end.
            for task in (work, watch):
                task.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)
        try:
            if not work.cancelled():
                return await self._conclude(claim, *work.result())
            return await self._stop(claim, watch.result())
        except LeaseLost:
            return RunEnd.LOST

    async def _work(self, claim: Claim) -> tuple[Outcome, JobView]:
        """Outcome and last view of the graph's run; only ``LeaseLost`` and a database that is away come out as exceptions."""
        context: JobContext | None = None
        try:
            context = await self.open_context(claim)
            state = await self._run_graph(claim, context)
        except (LeaseLost, StorageUnavailable):
            raise
        except self.storage_errors as error:
            raise StorageUnavailable(f"the checkpoints cannot be written: {error}") from error
        except TandemError as error:
            get_logger(__name__).warning("job_failed", code=error.code, reason=error.message)
            return _failed(error), context.progress.view if context else claim.view
        except Exception:  # noqa: BLE001 - the boundary of a job: a defect ends this job with its traceback logged, not the worker
            get_logger(__name__).exception("job_defect")
            return _failed(
                InternalError("the job met a defect of the worker; its log has the traceback")
            ), context.progress.view if context else claim.view
        usage = context.ledger.spent
        result, failure = state["result"].model_copy(update={"usage": usage}), state.get("failure")
        outcome = Outcome(JobStatus.INCOMPLETE if failure else JobStatus.COMPLETED, result=result, error=failure)
        return outcome, context.progress.view.model_copy(update={"usage": usage})

    async def _run_graph(self, claim: Claim, context: JobContext) -> Workspace:
        config: Any = {"configurable": {"thread_id": claim.job_id}, "recursion_limit": RECURSION_LIMIT}
        snapshot: Any = await self.graph.aget_state(config)
        is_started = bool(snapshot.created_at)
        if is_started and not snapshot.next:
            return cast("Workspace", snapshot.values)
        start = cast("Workspace", {})
        state: object = await self.graph.ainvoke(None if is_started else start, config, context=context, durability="sync")
        return cast("Workspace", state)

    async def _watch(self, claim: Claim, draining: asyncio.Event) -> _Stop:
        """Keep the lease, and return when the job has to stop. A database that is away is borne until the lease must be over."""
        pause_s = min(LOOK_S, self.settings.lease_s / 4)
        kept_until = self.clock.monotonic() + self.settings.lease_s
        while not draining.is_set():
            try:
                state = await self.jobs.heartbeat(claim.job_id, claim.epoch, self.settings.lease_s)
            except LeaseLost:
                return _Stop.LOST
            except StorageUnavailable:
                if self.clock.monotonic() >= kept_until:
                    return _Stop.LOST
            else:
                if state.is_cancel_requested:
                    return _Stop.CANCELLED
                kept_until = self.clock.monotonic() + self.settings.lease_s
            await _wait(draining, pause_s)
        return _Stop.DRAINING

    async def _conclude(self, claim: Claim, outcome: Outcome, view: JobView) -> RunEnd:
        """Store the end; a cancel request that came in meanwhile wins."""
        if (await self._patiently(lambda: self.jobs.heartbeat(claim.job_id, claim.epoch, self.settings.lease_s))).is_cancel_requested:
            outcome = Outcome(JobStatus.CANCELLED, result=JobResult(usage=view.usage))
        appended = await self._patiently(lambda: self.jobs.finish(claim.job_id, claim.epoch, outcome, view))
        await self.notifier.notify(appended)
        await self.forget(claim.job_id)
        get_logger(__name__).info("job_finished", status=outcome.status, code=outcome.error.code if outcome.error else None)
        return RunEnd.FINISHED

    async def _stop(self, claim: Claim, reason: _Stop) -> RunEnd:
        match reason:
            case _Stop.CANCELLED:
                return await self._conclude(claim, Outcome(JobStatus.CANCELLED), await self._view(claim))
            case _Stop.DRAINING:
                await self._patiently(lambda: self.jobs.release(claim.job_id, claim.epoch))
                return RunEnd.RELEASED
            case _Stop.LOST:
                return RunEnd.LOST

    async def _view(self, claim: Claim) -> JobView:
        return (await self.jobs.get(claim.job_id, claim.tenant)).view

    async def _patiently(self, write: Callable[[], Awaitable[T]]) -> T:
        for delay_s in _FINISH_DELAYS_S:
            try:
                return await write()
            except StorageUnavailable:
                await self.clock.sleep(delay_s)
        return await write()


def _failed(error: TandemError) -> Outcome:
    return Outcome(JobStatus.FAILED, error=JobFailure(code=error.code, message=error.message))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
