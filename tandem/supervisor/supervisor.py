"""Keeps all processes of one Tandem running: starts them by need, stops them in reverse, says when the whole is degraded."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from tandem.ports import Clock
from tandem.supervisor.backoff import RestartPolicy
from tandem.supervisor.child import Child, Guard
from tandem.supervisor.keeper import Change, Keeper, ProcessState
from tandem.supervisor.logs import rotate
from tandem.supervisor.processes import ProcessSpec

Whole = Literal["starting", "ready", "degraded", "stopping"]
_LOG_CHECK_S: Final = 60.0


class Supervisor:
    """Runs a table of processes; the caller runs the guard.

    Args:
        environment: Of every process.
        home: ``logs/<name>.log`` and ``run/processes.json`` are written below it.
        guard: Is told of every process group.
        report: Is told of each change; must not block.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        *,
        environment: Mapping[str, str],
        home: Path,
        guard: Guard,
        clock: Clock,
        report: Callable[[Change], None],
        policy: RestartPolicy = RestartPolicy(),  # noqa: B008 - frozen
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._environment = environment
        self._logs = home / "logs"
        self._status_path = home / "run" / "processes.json"
        self._guard = guard
        self._clock = clock
        self._report = report
        self._keepers = {spec.name: self._keeper(spec, policy) for spec in specs}
        self._last: dict[str, Change] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._bounding: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def state(self) -> Whole:
        """``degraded`` once any process is given up; the others go on."""
        states = {keeper.state for keeper in self._keepers.values()}
        if self._is_stopping:
            return "stopping"
        if ProcessState.FAILED in states:
            return "degraded"
        return "ready" if states <= {ProcessState.READY} else "starting"

    def log_path(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    async def start(self) -> None:
        """Start everything and return when everything is ready.

        Raises:
            ProcessFailed: A process cannot be brought up; the caller still has to ``stop``.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        self._status_path.parent.mkdir(parents=True, exist_ok=True)
        self._runs = {spec.name: asyncio.create_task(self._start(spec), name=spec.name) for spec in self._specs.values()}
        self._bounding = asyncio.create_task(self._bound_logs(), name="logs")
        waits = [asyncio.create_task(self._until_ready(name)) for name in self._specs]
        try:
            await asyncio.gather(*waits)  # raises the first failure
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def stop(self) -> None:
        """Stop everything, the highest stage first."""
        self._is_stopping = True
        for stage in sorted({spec.stage for spec in self._specs.values()}, reverse=True):
            await asyncio.gather(*(self._keepers[spec.name].stop() for spec in self._specs.values() if spec.stage == stage))
        tasks = [task for task in (*self._runs.values(), self._bounding) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def kill(self) -> None:
        """End every process group at once; ``stop`` then returns quickly."""
        self._is_stopping = True
        for keeper in self._keepers.values():
            keeper.kill()

    async def _start(self, spec: ProcessSpec) -> None:
        for need in spec.needs:
            await self._keepers[need].until_ready()
        await self._keepers[spec.name].run()

    async def _until_ready(self, name: str) -> None:
        settled = asyncio.create_task(self._keepers[name].until_ready())
        try:
            await asyncio.wait({settled, self._runs[name]}, return_when=asyncio.FIRST_COMPLETED)
            if self._runs[name].done():
                self._runs[name].result()  # a need that failed, or a defect
            await settled
        finally:
            settled.cancel()

    def _keeper(self, spec: ProcessSpec, policy: RestartPolicy) -> Keeper:
        async def spawn() -> Child:
            return await Child.spawn(spec.command, self._environment, self.log_path(spec.name), self._guard)

        return Keeper(spec.name, spawn, spec.probe, patience=spec.patience, policy=policy, clock=self._clock, report=self._note)

    def _note(self, change: Change) -> None:
        self._last[change.name] = change
        processes = {name: {"state": last.state, "pid": last.pid, "detail": last.detail} for name, last in self._last.items()}
        with suppress(OSError):  # a full disk must not end what still runs
            draft = self._status_path.with_suffix(".draft")
            draft.write_text(json.dumps({"supervisor": os.getpid(), "state": self.state, "processes": processes}, indent=1), encoding="utf-8")
            draft.replace(self._status_path)
        self._report(change)

    async def _bound_logs(self) -> None:
        while True:
            await self._clock.sleep(_LOG_CHECK_S)
            for name in self._specs:
                with suppress(OSError):  # a full disk must not end what still runs
                    rotate(self.log_path(name))
