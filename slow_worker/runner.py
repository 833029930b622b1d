"""One job from claim to end: claim the next in line, run the graph, watch lease and wishes, then finish, park or give back.

How a run can end: the graph is done (completed or incomplete), it failed (a typed failure), it waits for people or a budget (parked), the caller
cancelled or paused, its deadline passed, a step does not move any more, the worker is stopping (the job goes back to the queue), or another worker
owns the job (this one stops without a word). A model server that stays away for longer than the caller's patience (``caller.py``) puts the job
off, to be tried again, until ``worker.model_patience_s`` is over.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar, assert_never, cast

from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command

from slow_worker.asking import answers_of, asks_of, wait_of
from slow_worker.checkpoints import run_config
from slow_worker.coalescing import CoalescingCheckpoints
from slow_worker.context import JobContext
from slow_worker.effort import POLICIES
from slow_worker.ends import RunEnd
from slow_worker.graph import RECURSION_LIMIT, Engine
from slow_worker.results import best_so_far
from slow_worker.stops import DEADLINE_EXCEEDED, PLAN_REJECTED, STEP_TIMEOUT, BudgetStop, Drained, PlanRejected
from slow_worker.watch import Course, Stop, Watch, heartbeat
from slow_worker.watchdog import Watchdog
from slow_worker.workspace import Try, Workspace, merge_tries
from tandem.errors import InternalError, LeaseLost, ModelUnavailable, StorageUnavailable, TandemError
from tandem.ids import JobId
from tandem.ports import Claim, Clock, JobWork, Notifier, Outcome, Parking
from tandem.schemas.jobs import JobFailure, JobResult, JobStatus, JobView
from tandem.settings import WorkerSettings
from tandem.telemetry import bind, get_logger
from tools.subtask import SUBTASK

T = TypeVar("T")

_STORE_DELAYS_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Pauses between tries to store an end while the database is away."""
_INTERRUPTS: Final = "__interrupt__"
"""Key under which LangGraph returns the open interrupts of a run."""


@dataclass(frozen=True, slots=True)
class Deferral:
    """Nothing is wrong with the job: its model server is away."""

    reason: JobFailure


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs jobs one after the other; one per worker process."""

    work: JobWork
    notifier: Notifier
    graph: Engine
    checkpoints: CoalescingCheckpoints
    """Where the graph's saver writes."""
    open_context: Callable[[Claim], Awaitable[JobContext]]
    clock: Clock
    settings: WorkerSettings
    watchdog: Watchdog
    worker: str
    """Name of this process, stored with the claim."""

    async def run(self, draining: asyncio.Event) -> RunEnd:
        """Run the next job in line to its end, or as far as this worker may."""
        settings = self.settings
        claim = await self.work.claim(self.worker, settings.lease_s, settings.max_attempts, ageing_s=settings.ageing_s)
        if claim is None:
            return RunEnd.NOTHING
        try:
            return await self._run_claim(claim, draining)
        finally:
            self.watchdog.rest()

    async def run_child(self, job_id: JobId, draining: asyncio.Event) -> RunEnd:
        """Run this job beside the one that waits for it, if it is in line. Cancelled, it gives the job back first."""

        async def run() -> RunEnd:
            settings = self.settings
            claim = await self.work.claim(self.worker, settings.lease_s, settings.max_attempts, job_id=job_id)
            return RunEnd.NOTHING if claim is None else await self._run_claim(claim, draining)

        # In a context of its own: LangGraph would take a graph that runs inside of a node's context for a part of that node.
        child = asyncio.get_running_loop().create_task(run(), context=contextvars.Context())
        try:
            return await asyncio.shield(child)
        finally:
            if not child.done():
                child.cancel()
                await asyncio.gather(child, return_exceptions=True)

    async def _run_claim(self, claim: Claim, draining: asyncio.Event) -> RunEnd:
        with bind(job_id=claim.job_id, epoch=claim.epoch):
            log = get_logger(__name__)
            log.info("job_claimed", worker=self.worker, attempt=claim.attempt, effort=claim.effort)
            self.watchdog.feed()
            telling = asyncio.create_task(self.notifier.notify(claim.appended))
            course = Course(claim)
            try:
                end = await self._run_claimed(course, draining)
            except asyncio.CancelledError:
                # Only a child is cancelled from outside: its parent stops waiting for it.
                await self._let_go(course)
                raise
            finally:
                await telling  # bounded in time, and raises nothing
            log.info("job_left", end=end)
            return end

    async def _run_claimed(self, course: Course, draining: asyncio.Event) -> RunEnd:
        graph = asyncio.create_task(self._carry_out(course, draining))
        watch = asyncio.create_task(Watch(course, self.work, self.clock, self.settings, self.watchdog, draining).run())
        try:
            await asyncio.wait({graph, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Cancelling the graph closes its model streams; waiting for it makes sure nothing of it writes after the end.
            for task in (graph, watch):
                task.cancel()
            await asyncio.gather(graph, watch, return_exceptions=True)
        try:
            end = await self._settle(course, watch.result() if graph.cancelled() else graph.result())
        except LeaseLost:
            return RunEnd.LOST
        finally:
            await self.checkpoints.drop(course.claim.job_id)
        return RunEnd.EXHAUSTED if course.is_out_of_memory and end is RunEnd.FINISHED else end

    async def _carry_out(self, course: Course, draining: asyncio.Event) -> Outcome | Parking | Deferral | Stop:
        """How the graph's run ended; only ``LeaseLost`` and a database that is away come out as exceptions."""
        try:
            context = await self.open_context(course.claim)
            family = replace(context.family, run=partial(self.run_child, draining=draining))
            course.context = replace(context, family=family)
            state = await self._run_graph(course, draining)
            return Stop.DRAINED if state is None else self._end_of(state, course)
        except (LeaseLost, StorageUnavailable):
            raise
        except BudgetStop as stop:
            return Parking(JobStatus.BUDGET_REACHED, wait_s=self.settings.budget_grace_s, best=_spent(stop.best, course), reason=stop.reason)
        except Drained:
            return Stop.DRAINED
        except PlanRejected as stop:
            return Outcome(JobStatus.CANCELLED, _spent(JobResult(), course), JobFailure(code=PLAN_REJECTED, message=str(stop)))
        except ModelUnavailable as error:
            return Deferral(JobFailure(code=error.code, message=error.message))
        except TandemError as error:
            get_logger(__name__).warning("job_failed", code=error.code, reason=error.message)
            return _failed(error)
        except Exception as error:  # noqa: BLE001 - the boundary of a job: a defect ends this job with its traceback logged, not the worker
            get_logger(__name__).exception("job_defect")
            course.is_out_of_memory = isinstance(error, MemoryError)
            return _failed(InternalError("the job met a defect of the worker; its log has the traceback"))

    def _end_of(self, state: Workspace, course: Course) -> Outcome | Parking:
        if interrupts := cast("dict[str, Any]", state).get(_INTERRUPTS):
            wait_s = wait_of(interrupts, self.settings.input_ttl_s)
            return Parking(JobStatus.INPUT_REQUIRED, asks=asks_of(interrupts), wait_s=wait_s)
        failure = state.get("failure")
        return Outcome(JobStatus.INCOMPLETE if failure else JobStatus.COMPLETED, _spent(state["result"], course), failure)

    async def _run_graph(self, course: Course, draining: asyncio.Event) -> Workspace | None:
        """The graph's state at its end or at its questions; None when it was drained at a checkpoint."""
        claim = course.claim
        config: Any = {**run_config(claim.job_id, claim.epoch), "recursion_limit": RECURSION_LIMIT}
        start: Any = {}
        is_new = claim.attempt == 1  # nobody can have left a checkpoint
        while True:
            snapshot: Any = None if is_new else await self.graph.aget_state(config)
            is_new = False
            if snapshot is not None and snapshot.created_at:
                # Not ``next``, which leaves out the tasks whose results are stored: their step may still lack its checkpoint, and what follows it.
                if not snapshot.tasks:
                    return cast("Workspace", snapshot.values)
                answers = answers_of(snapshot.interrupts, claim.inputs)
                start = Command(resume=answers) if answers else None
            try:
                state: object = await self.graph.ainvoke(start, config, context=course.context, durability="sync", control=course.control)
                return cast("Workspace", state)
            except GraphDrained:
                wish = await heartbeat(self.work, claim, self.settings)
                if draining.is_set() or wish.is_pause_requested or wish.is_cancel_requested:
                    return None
                # The pause was withdrawn before the graph came to a checkpoint: it goes on.
                course.control = RunControl()

    async def _settle(self, course: Course, end: Outcome | Parking | Deferral | Stop) -> RunEnd:
        """Store how the run ended. The store itself turns the end of a job that is being cancelled into a cancellation."""
        if end is Stop.LOST:
            return RunEnd.LOST
        claim = course.claim
        if not isinstance(end, Deferral) and not (isinstance(end, Outcome) and end.status is JobStatus.COMPLETED):
            await self._patiently(lambda: self.checkpoints.flush(claim.job_id))
        match end:
            case Outcome():
                return await self._finish(course, end)
            case Parking():
                return await self._park(claim, end, course.view)
            case Deferral():
                return await self._put_off(course, end)
            case Stop.CANCELLED:
                return await self._finish(course, Outcome(JobStatus.CANCELLED, _spent(JobResult(), course)))
            case Stop.DEADLINE:
                return await self._finish(course, await self._too_late(course))
            case Stop.STUCK:
                return await self._finish(course, _stuck(self.settings.step_timeout_s))
            case Stop.DRAINED:
                return await self._give_back(course)
            case _:
                assert_never(end)

    async def _let_go(self, course: Course) -> None:
        """Put a run that was cancelled from outside back where another can find it; one that is lost already is not ours to put anywhere."""
        try:
            await self._settle(course, Stop.DRAINED)
        except LeaseLost:
            return
        finally:
            await self.checkpoints.drop(course.claim.job_id)

    async def _give_back(self, course: Course) -> RunEnd:
        """Let go of a drained job: for a pause, for a cancellation, or because this worker stops."""
        claim = course.claim
        wish = await self._patiently(lambda: heartbeat(self.work, claim, self.settings))
        if wish.is_cancel_requested:
            return await self._finish(course, Outcome(JobStatus.CANCELLED, _spent(JobResult(), course)))
        if wish.is_pause_requested:
            return await self._park(claim, Parking(JobStatus.PAUSED), course.view)
        await self.notifier.notify(await self._patiently(lambda: self.work.release(claim.job_id, claim.epoch)))
        return RunEnd.RELEASED

    async def _finish(self, course: Course, outcome: Outcome) -> RunEnd:
        claim, view = course.claim, course.view
        await self.notifier.notify(await self._patiently(lambda: self.work.finish(claim.job_id, claim.epoch, outcome, view)))
        get_logger(__name__).info("job_finished", status=outcome.status, code=outcome.error.code if outcome.error else None)
        if outcome.status is not JobStatus.COMPLETED:
            await self._leave_no_child(course)
        return RunEnd.FINISHED

    async def _leave_no_child(self, course: Course) -> None:
        """Nobody waits any more for the sub-tasks of a job that ended before they did."""
        claim, context = course.claim, course.context
        if context is not None and SUBTASK in context.tools:
            changed = await self._patiently(lambda: context.family.jobs.request_cancel(claim.job_id, claim.tenant))
            await self.notifier.notify(changed.appended)

    async def _park(self, claim: Claim, parking: Parking, view: JobView) -> RunEnd:
        await self.notifier.notify(await self._patiently(lambda: self.work.park(claim.job_id, claim.epoch, parking, view)))
        get_logger(__name__).info("job_parked", status=parking.status, asks=len(parking.asks))
        return RunEnd.PARKED

    async def _put_off(self, course: Course, deferral: Deferral) -> RunEnd:
        """Let the job wait for its model server; a server that has been away for too long fails it."""
        claim, reason, patience_s = course.claim, deferral.reason, self.settings.model_patience_s
        deferred = await self._patiently(lambda: self.work.defer(claim.job_id, claim.epoch, reason, patience_s=patience_s, view=course.view))
        if deferred is None:
            get_logger(__name__).warning("job_failed", code=reason.code, reason=reason.message)
            return await self._finish(course, Outcome(JobStatus.FAILED, error=reason))
        await self.notifier.notify(deferred)
        get_logger(__name__).warning("job_deferred", code=reason.code, reason=reason.message)
        return RunEnd.DEFERRED

    async def _too_late(self, course: Course) -> Outcome:
        """The end at the deadline: what the checkpoint, and the finished attempts of the wave it began, are good for."""
        snapshot: Any = await self.graph.aget_state(cast("Any", run_config(course.claim.job_id, course.claim.epoch)))
        values: dict[str, Any] = dict(snapshot.values)
        written: list[dict[str, list[Try]]] = [task.result or {} for task in snapshot.tasks]
        values["tries"] = merge_tries(values.get("tries", []), [attempt for each in written for attempt in each.get("tries", [])])
        best = best_so_far(values, POLICIES[course.claim.effort]).model_copy(update={"effort_used": course.claim.effort})
        failure = JobFailure(code=DEADLINE_EXCEEDED, message="the deadline passed before the job was done; this is the best it had")
        return Outcome(JobStatus.INCOMPLETE, _spent(best, course), failure)

    async def _patiently(self, write: Callable[[], Awaitable[T]]) -> T:
        for delay_s in _STORE_DELAYS_S:
            try:
                return await write()
            except StorageUnavailable:
                await self.clock.sleep(delay_s)
        return await write()


def _spent(result: JobResult, course: Course) -> JobResult:
    return result.model_copy(update={"usage": course.view.usage})


def _failed(error: TandemError) -> Outcome:
    return Outcome(JobStatus.FAILED, error=JobFailure(code=error.code, message=error.message))


def _stuck(timeout_s: float) -> Outcome:
    message = f"a step did not move for more than {timeout_s:g} s and was given up; retry the job, or raise TANDEM_WORKER_STEP_TIMEOUT_S"
    return Outcome(JobStatus.FAILED, error=JobFailure(code=STEP_TIMEOUT, message=message))
