"""``python -m gateway.dispatcher``: what must happen although nobody asks for it again.

Five loops: repairs (jobs whose hint or worker is lost or whose time is over, turns whose gateway died), webhook deliveries, schedules, the guardrails
of a staged routing policy, and retention. Any number of dispatchers may run: rows are claimed with leases, a schedule's turn and a policy's stage
with a compare-and-set. When the database is away all loops back off and go on; on SIGTERM deliveries in flight get a few seconds, and what is cut off
is sent again.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from prometheus_client.exposition import write_to_textfile

from gateway.deliveries import Deliveries
from gateway.delivery import Courier, Keyring
from gateway.grants import Grants
from gateway.queue import CeleryHintQueue
from gateway.rollouts import WATCH_EVERY_S, RolloutWatch
from gateway.schedules import Timetable
from tandem.egress import GuardedClient
from tandem.errors import StorageUnavailable, TandemError
from tandem.events import open_notifier
from tandem.ids import IdFactory
from tandem.ports import Clock, JobQueue, Notifier, Retention, Storage
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.telemetry.clock import SystemClock
from tandem.telemetry.logging import configure_logging, get_logger
from tandem.telemetry.metrics import Metrics, new_metrics
from tools.registry import tool_names

GRACE_S: Final = 5.0
"""Deliveries in flight get this long when the dispatcher is asked to stop."""
MAX_BACKOFF_S: Final = 15.0
METRICS_EVERY_S: Final = 5.0
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """What the dispatcher works with."""

    storage: Storage
    queue: JobQueue
    notifier: Notifier
    courier: Courier
    clock: Clock
    metrics: Metrics
    ids: IdFactory


class Repairs:
    """Finds what a crash has left behind."""

    def __init__(self, ports: Ports, settings: Settings) -> None:
        self._ports = ports
        self._rehint_after_s = settings.dispatcher.rehint_after_s
        self._max_attempts = settings.worker.max_attempts

    async def sweep(self) -> None:
        """One look at the jobs and the turns."""
        ports = self._ports
        reaped = await ports.storage.jobs.reap(rehint_after_s=self._rehint_after_s, max_attempts=self._max_attempts)
        if reaped.due:
            await ports.queue.hint(reaped.due)
        for job_id in reaped.failed:
            _log.error("job_failed_worker_lost", job_id=job_id)
        orphans = await ports.storage.threads.fail_orphans()
        appended = [*reaped.appended, *orphans]
        if appended:
            await ports.notifier.notify(appended)
        if reaped.due or reaped.expired or orphans:
            _log.info("repaired", hinted=reaped.due, expired=len(reaped.expired), turns_failed=len(orphans))
        counts = {"hinted": reaped.due, "failed_job": len(reaped.failed), "expired_job": len(reaped.expired), "failed_turn": len(orphans)}
        for action, count in counts.items():
            ports.metrics.reaped.labels(action).inc(count)


class Forgetting:
    """Deletes what is older than the settings keep it."""

    def __init__(self, retention: Retention, metrics: Metrics) -> None:
        self._retention = retention
        self._metrics = metrics

    async def sweep(self) -> bool:
        """One bounded sweep; true when it deleted something, so that more may be left."""
        swept = {kind: count for kind, count in asdict(await self._retention.sweep()).items() if count}
        for kind, count in swept.items():
            self._metrics.swept.labels(kind).inc(count)
        if swept:
            _log.info("swept", **swept)
        return bool(swept)


class Dispatcher:
    """All loops and the sign of life.

    Args:
        ports: Adapters.
        settings: Of this process.
        run_folder: Gets ``dispatcher.alive``, touched at each repair sweep, and ``dispatcher.prom``, the metrics as a text file.
    """

    def __init__(self, ports: Ports, settings: Settings, run_folder: Path) -> None:
        self._ports = ports
        self._poll_s = settings.dispatcher.poll_s
        self._repairs = Repairs(ports, settings)
        self._deliveries = Deliveries(ports.storage.outbox, ports.courier, ports.clock, ports.metrics, settings)
        self._timetable = Timetable(
            ports.storage.schedules,
            ports.storage.keys,
            Grants(ports.storage.tools, ports.storage.jobs, ports.storage.audit, ports.clock, settings.tools, tool_names()),
            ports.queue,
            ports.notifier,
            ports.ids,
            ports.metrics,
            max_unfinished=settings.gateway.max_queued_jobs,
        )
        self._rollouts = RolloutWatch(ports.storage, ports.metrics)
        self._forgetting = Forgetting(ports.storage.retention, ports.metrics)
        self._sweep_s = settings.retention.sweep_s
        self._run_folder = run_folder
        self._metrics_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then let deliveries in flight end."""
        self._run_folder.mkdir(parents=True, exist_ok=True)
        await self._loop("migrate", self._ports.storage.migrate, stop, is_once=True)
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._loop("repairs", self._repair, stop))
            loops.create_task(self._loop("deliveries", self._deliveries.sweep, stop))
            loops.create_task(self._loop("schedules", self._timetable.sweep, stop))
            loops.create_task(self._loop("rollouts", self._rollouts.sweep, stop, every_s=WATCH_EVERY_S))
            loops.create_task(self._loop("retention", self._forgetting.sweep, stop, every_s=self._sweep_s))
        await self._deliveries.finish(GRACE_S)

    async def _repair(self) -> None:
        (self._run_folder / "dispatcher.alive").touch()
        await self._repairs.sweep()
        if self._ports.clock.monotonic() >= self._metrics_at:
            self._metrics_at = self._ports.clock.monotonic() + METRICS_EVERY_S
            write_to_textfile(str(self._run_folder / "dispatcher.prom"), self._ports.metrics.registry)

    async def _loop(
        self, name: str, sweep: Callable[[], Awaitable[bool | None]], stop: asyncio.Event, *, every_s: float | None = None, is_once: bool = False
    ) -> None:
        """Sweep every ``every_s`` seconds; every ``poll_s`` when that is None, or while a sweep says that more is left.

        After failures the pause doubles from ``poll_s`` up to ``MAX_BACKOFF_S``.
        """
        backoff_s = self._poll_s
        while not stop.is_set():
            pause_s = self._poll_s
            try:
                has_more = await sweep()
            except Exception as error:  # noqa: BLE001 - the loop's boundary: told and tried again, so that the other loops' work goes on
                backoff_s = pause_s = min(backoff_s * 2, MAX_BACKOFF_S)
                _tell_failure(name, error, pause_s)
            else:
                if is_once:
                    return
                backoff_s = self._poll_s
                if every_s is not None and not has_more:
                    pause_s = every_s
            await self._pause(pause_s, stop)

    async def _pause(self, seconds: float, stop: asyncio.Event) -> None:
        waits = {asyncio.ensure_future(self._ports.clock.sleep(seconds)), asyncio.ensure_future(stop.wait())}
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()


def _tell_failure(loop: str, error: Exception, next_try_s: float) -> None:
    if isinstance(error, StorageUnavailable):
        _log.warning("storage_away", loop=loop, error=error.message, next_try_s=next_try_s)
    else:
        _log.error("sweep_failed", loop=loop, next_try_s=next_try_s, exc_info=error)


def open_ports(settings: Settings) -> Ports:
    """The adapters of a dispatcher process.

    Raises:
        SettingsInvalid: The webhook secret or the allow list is malformed.
    """
    clock, metrics = SystemClock(), new_metrics()
    ids = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)
    disable_after_s = settings.webhooks.disable_after_s
    courier = Courier(GuardedClient(settings.egress), Keyring.load(settings), clock, disable_after_s=disable_after_s)
    return Ports(open_storage(settings), CeleryHintQueue(settings, metrics=metrics), open_notifier(settings), courier, clock, metrics, ids)


async def run(settings: Settings) -> None:
    """The whole life of a dispatcher process: until SIGTERM or SIGINT."""
    ports = open_ports(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        for close in (ports.storage.close, ports.notifier.close, ports.queue.close):
            stack.push_async_callback(close)
        _log.info("dispatcher_started", poll_s=settings.dispatcher.poll_s)
        await Dispatcher(ports, settings, settings.home / "run").run(stop)
        _log.info("dispatcher_stopped")


def main(argv: Sequence[str] | None = None) -> int:
    """Start the process; its settings come from the environment and ``tandem.toml``."""
    argparse.ArgumentParser(
        prog="python -m gateway.dispatcher",
        description="Delivers webhooks, starts scheduled jobs, watches staged policies, repairs what crashes leave behind and forgets what is old.",
    ).parse_args(argv)
    try:
        settings = Settings.load()
        configure_logging(settings.log, process="dispatcher")
        asyncio.run(run(settings))
    except TandemError as error:
        sys.stderr.write(f"dispatcher: {error.message}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())


__all__ = ["Dispatcher", "Forgetting", "Ports", "Repairs", "main", "open_ports", "run"]
