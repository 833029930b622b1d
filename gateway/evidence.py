"""Evidence about policies from the log of decisions, computed in a process of its own.

A replay of 100,000 requests takes seconds of one core, and the event loop that answers people must not feel it.

The process is started when it is first asked, ends when nobody asks for some minutes or when this one dies, and is asked one thing at a time.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Final, TypeVar

from pydantic import ValidationError

from gateway.evidence_tasks import Asked, Fault, Opening, ReplayTask, ShadowTask, StatsTask, Task, Told, ValidateTask
from tandem.errors import GatewayStopping, InternalError, InvalidRequest, StorageUnavailable, TandemError, TooManyRequests
from tandem.schemas.policies import Estimate, Replay, ReplayRequest, RouterStats, RoutingPolicy, ShadowReport, Validation
from tandem.settings import Settings
from tandem.telemetry import get_logger

TIMEOUT_S: Final = 120.0
"""Longest computation of one piece of evidence."""
MAX_WAITING: Final = 8
"""Callers that may wait for the one process."""
MAX_ANSWER_BYTES: Final = 16_777_216
_CLOSE_GRACE_S: Final = 1.0
_FAULTS: Final[dict[str, type[TandemError]]] = {kind.code: kind for kind in (InvalidRequest, StorageUnavailable)}
T = TypeVar("T")
_log = get_logger(__name__)


class Evidence:
    """Asks the evidence process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._is_closed = False

    async def replay(self, version: str, policy: RoutingPolicy, request: ReplayRequest) -> Replay:
        """What the policy would have done, its dials applied. Raises ``InvalidRequest`` for a dial that the log cannot answer."""
        task = ReplayTask(version=version, policy=policy, request=request.model_copy(update={"policy": None, "version": None}))
        return _there((await self._ask(task)).replay)

    async def validate(self, policy: RoutingPolicy) -> Validation:
        """What logged traffic says against a policy."""
        return _there((await self._ask(ValidateTask(policy=policy))).validation)

    async def stats(self, since_s: float, policy: RoutingPolicy) -> RouterStats:
        """Figures, traffic and drift; ``policy`` is the active one."""
        return _there((await self._ask(StatsTask(since_s=since_s, policy=policy))).stats)

    async def shadow(self, version: str | None, since_s: float) -> ShadowReport:
        """How the shadow policy differs from what was done; empty without one."""
        if version is None:
            nothing = Estimate(value=None, n=0)
            return ShadowReport(version=None, decisions=0, agreement=nothing, slow_share_before=nothing, slow_share=nothing, to_slow=0, to_fast=0)
        return _there((await self._ask(ShadowTask(version=version, since_s=since_s))).shadow)

    async def close(self) -> None:
        """End the process, and with it what is being asked."""
        self._is_closed = True
        if self._process is not None:
            await self._end(self._process)

    async def _ask(self, task: Task) -> Told:
        if self._waiting >= MAX_WAITING:
            raise TooManyRequests("many replays are waiting already; ask again in a few seconds", retry_after_s=5)
        self._waiting += 1
        try:
            async with self._turn:
                told = await self._told(task)
        finally:
            self._waiting -= 1
        if told.fault is not None:
            raise _FAULTS.get(told.fault.code, InternalError)(told.fault.message, param=told.fault.param)
        return told

    async def _told(self, task: Task) -> Told:
        """The answer of a process that has not been idle for too long, else of a new one."""
        if self._process is not None and (answer := await self._exchange(self._process, task)) is not None:
            return answer
        if self._is_closed:
            raise GatewayStopping("the gateway is being stopped; ask again in a moment")
        self._process = await self._start()
        answer = await self._exchange(self._process, task)
        if answer is None:
            raise InternalError("the evidence process ended without an answer")
        return answer

    async def _exchange(self, process: Process, task: Task) -> Told | None:
        """One question and its answer; None when the process has ended. Whatever interrupts it also ends the process: its next line would be late."""
        assert process.stdin is not None and process.stdout is not None, "both are pipes"  # noqa: S101, PT018 - for the type checker
        try:
            process.stdin.write(Asked(task=task).model_dump_json().encode() + b"\n")
            with suppress(ConnectionError):
                await process.stdin.drain()
            async with asyncio.timeout(TIMEOUT_S):
                line = await process.stdout.readline()
            if line:
                return Told.model_validate_json(line)
        except TimeoutError:
            await self._end(process)
            return Told(fault=Fault(code=InvalidRequest.code, message=f"this took longer than {TIMEOUT_S:g} s; lower 'limit'", param="limit"))
        except (asyncio.CancelledError, ValidationError, ValueError):
            await self._end(process)
            raise
        await self._end(process)
        return None

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.evidence_process", stdin=PIPE, stdout=PIPE, limit=MAX_ANSWER_BYTES
        )
        assert process.stdin is not None, "a pipe"  # noqa: S101 - for the type checker
        process.stdin.write(_opening(self._settings).model_dump_json().encode() + b"\n")
        _log.info("evidence_process_started", pid=process.pid)
        return process

    async def _end(self, process: Process) -> None:
        """Close its input, which ends it; kill it when it computes on."""
        if self._process is process:
            self._process = None
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_CLOSE_GRACE_S):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError) as interruption:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if isinstance(interruption, asyncio.CancelledError):
                raise


def _opening(settings: Settings) -> Opening:
    database = settings.database.model_dump(mode="json", exclude={"url"})
    return Opening(
        home=settings.home,
        database_url=settings.database_url,
        database=database,
        retention=settings.retention.model_dump(mode="json"),
        log=settings.log.model_dump(mode="json"),
        artifact=settings.router.artifact,
    )


def _there(answer: T | None) -> T:
    if answer is None:
        raise InternalError("the evidence process answered something else")
    return answer
