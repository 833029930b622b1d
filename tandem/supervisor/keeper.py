"""Keeps one process running: start, readiness, restart with growing pauses, giving up. Knows no other process."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from tandem.errors import ProcessFailed
from tandem.ports import Clock
from tandem.supervisor.backoff import Backoff, RestartPolicy
from tandem.supervisor.probes import Probe

PROBE_EVERY_S: Final = 0.1


class ProcessState(StrEnum):
    """Where one process stands."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    PAUSED = "paused"
    """It died and is started again after a pause."""
    FAILED = "failed"
    """Given up; the others go on."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Change:
    """A process has reached another state."""

    name: str
    state: ProcessState
    detail: str = ""
    """For people: the reason of a pause or a failure."""
    seconds: float = 0.0
    """READY: since its start. PAUSED: until the next one."""
    pid: int | None = None
    rss_bytes: int | None = None


class Running(Protocol):
    """What a keeper needs of a process; ``Child`` is it."""

    started_at: float

    @property
    def pid(self) -> int: ...
    @property
    def is_running(self) -> bool: ...
    async def wait(self) -> int: ...
    async def stop(self, grace_s: float) -> None: ...
    def kill(self) -> None: ...
    def rss_bytes(self) -> int | None: ...
    def last_lines(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """The time limits of one process."""

    start_timeout_s: float = 60.0
    """Longest seconds from start to ready."""
    stop_grace_s: float = 10.0
    """Seconds between SIGTERM and SIGKILL."""


class Keeper:
    """Runs one process until it is told to stop.

    Args:
        spawn: Starts the process once.
        report: Is told of each change; must not block.
    """

    def __init__(
        self,
        name: str,
        spawn: Callable[[], Awaitable[Running]],
        probe: Probe,
        *,
        patience: Patience,
        policy: RestartPolicy,
        clock: Clock,
        report: Callable[[Change], None],
    ) -> None:
        self.name = name
        self.state = ProcessState.WAITING
        self.failure: ProcessFailed | None = None
        self._spawn = spawn
        self._probe = probe
        self._patience = patience
        self._backoff = Backoff(policy)
        self._clock = clock
        self._report = report
        self._child: Running | None = None
        self._settled = asyncio.Event()
        self._is_stopping = False

    async def until_ready(self) -> None:
        """Wait for the first readiness.

        Raises:
            ProcessFailed: It was given up, or did not become ready in time.
        """
        await self._settled.wait()
        if self.failure:
            raise self.failure

    async def run(self) -> None:
        """Start and restart until stopped or given up."""
        while not self._is_stopping:
            self._change(ProcessState.STARTING)
            started = self._clock.monotonic()
            try:
                child = self._child = await self._spawn()
            except OSError as error:  # no memory, no process slot, full disk
                self._fail(f"{self.name} cannot be started: {error}", None)
                return
            if not await self._keep(child, started):
                return

    async def stop(self) -> None:
        """End the process and start it no more. ``run`` returns."""
        self._is_stopping = True
        self._settled.set()
        if self._child and self.state is not ProcessState.FAILED:
            await self._child.stop(self._patience.stop_grace_s)
        self._change(ProcessState.STOPPED)

    def kill(self) -> None:
        self._is_stopping = True
        if self._child:
            self._child.kill()

    async def _keep(self, child: Running, started: float) -> bool:
        """One life of the process; true when it shall have another."""
        ready_s, how = 0.0, ""
        if await self._await_readiness(child, started):
            ready_at = self._clock.monotonic()
            self._change(ProcessState.READY, seconds=ready_at - started, pid=child.pid, rss_bytes=child.rss_bytes())
            self._settled.set()
            await child.wait()
            ready_s = self._clock.monotonic() - ready_at
        elif child.is_running:
            how = "was stopped" if self._is_stopping else f"was not ready within {self._patience.start_timeout_s:g} s"
            await child.stop(self._patience.stop_grace_s)
            if not self._is_stopping and not self._settled.is_set():  # hanging at the very first start will not mend by itself
                self._fail(f"{self.name} {how}", child)
                return False
        code = await child.wait()
        how = how or (f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}")
        return not self._is_stopping and await self._pause(child, how, ready_s)

    async def _await_readiness(self, child: Running, started: float) -> bool:
        while child.is_running and not self._is_stopping:
            if await self._probe.is_ready(child.started_at):
                return child.is_running
            if self._clock.monotonic() - started > self._patience.start_timeout_s:
                return False
            await self._clock.sleep(PROBE_EVERY_S)
        return False

    async def _pause(self, child: Running, how: str, ready_s: float) -> bool:
        """Wait before the next start; false when there will be none."""
        delay = self._backoff.delay_after(ready_s)
        if delay is None:
            self._fail(f"{self.name} {how}, {self._backoff.deaths} times in a row, and is not started again", child)
            return False
        self._change(ProcessState.PAUSED, detail=how, seconds=delay)
        await self._clock.sleep(delay)
        return True

    def _fail(self, what: str, child: Running | None) -> None:
        lines = child.last_lines() if child else ""
        self.failure = ProcessFailed(f"{what}; its last words:\n{lines}" if lines else what)
        self._change(ProcessState.FAILED, detail=self.failure.message)
        self._settled.set()

    def _change(self, state: ProcessState, *, detail: str = "", seconds: float = 0.0, pid: int | None = None, rss_bytes: int | None = None) -> None:
        self.state = state
        self._report(Change(self.name, state, detail, seconds, pid, rss_bytes))
