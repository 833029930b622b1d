"""``python -m gateway.dispatcher``: what must happen although nobody asks for it again.

Two loops: repairs (jobs whose hint or worker is lost, turns whose gateway died) and webhook deliveries. Any number of dispatchers may run: rows are
claimed with leases. When the database is away both loops back off and go on; on SIGTERM deliveries in flight get a few seconds, and what is cut off
is sent again.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.exposition import write_to_textfile

from gateway.delivery import Courier
from gateway.queue import CeleryHintQueue
from tandem.egress import GuardedClient
from tandem.errors import StorageUnavailable, TandemError
from tandem.events import open_notifier
from tandem.ports import Clock, Delivery, JobQueue, Notifier, Storage
from tandem.secrets import load_webhook_secret
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.telemetry.clock import SystemClock
from tandem.telemetry.context import bind
from tandem.telemetry.logging import configure_logging, get_logger
from tandem.telemetry.metrics import Metrics, new_metrics
from tandem.webhooks import parse_secret

MAX_CONCURRENT: Final = 32
"""Deliveries in flight in one dispatcher."""
LEASE_MARGIN_S: Final = 10.0
"""A delivery's lease outlives its longest request by this much, for the record to be written."""
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
        for job_id in reaped.to_hint:
            await ports.queue.hint(job_id)
        for job_id in reaped.failed:
            _log.error("job_failed_worker_lost", job_id=job_id)
        orphans = await ports.storage.threads.fail_orphans()
        appended = [*reaped.appended, *orphans]
        if appended:
            await ports.notifier.notify(appended)
        if reaped.to_hint or orphans:
            _log.info("repaired", hinted=len(reaped.to_hint), turns_failed=len(orphans))
        for action, count in (("hinted", len(reaped.to_hint)), ("failed_job", len(reaped.failed)), ("failed_turn", len(orphans))):
            ports.metrics.reaped.labels(action).inc(count)


class Deliveries:
    """Webhooks in flight: a slow receiver holds one place, never the others."""

    def __init__(self, ports: Ports, settings: Settings, max_concurrent: int = MAX_CONCURRENT) -> None:
        self._ports = ports
        self._lease_s = settings.egress.timeout_s + LEASE_MARGIN_S
        self._max_concurrent = max_concurrent
        self._running: set[asyncio.Task[None]] = set()

    async def sweep(self) -> None:
        """Claim what is due, as far as places are free, and start it."""
        free = self._max_concurrent - len(self._running)
        if free <= 0:
            await asyncio.wait(self._running, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            return
        for delivery in await self._ports.storage.outbox.claim(free, self._lease_s):
            task = asyncio.create_task(self._deliver(delivery))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def finish(self, grace_s: float) -> None:
        """Wait for those in flight, then cut the rest off; their leases end and they are sent again."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _deliver(self, delivery: Delivery) -> None:
        with bind(delivery_id=delivery.id, job_id=delivery.job_id):
            try:
                verdict = await self._ports.courier.deliver(delivery, self._ports.storage.outbox)
            except StorageUnavailable as error:
                _log.warning("webhook_record_failed", error=error.message)
            except Exception:  # noqa: BLE001 - the task's boundary: told with its traceback; the others go on, and this one when its lease ends
                _log.exception("webhook_defect")
            else:
                self._ports.metrics.deliveries.labels(verdict.kind).inc()


class Dispatcher:
    """Both loops and the sign of life.

    Args:
        ports: Adapters.
        settings: Of this process.
        run_folder: Gets ``dispatcher.alive``, touched at each repair sweep, and ``dispatcher.prom``, the metrics as a text file.
    """

    def __init__(self, ports: Ports, settings: Settings, run_folder: Path) -> None:
        self._ports = ports
        self._poll_s = settings.dispatcher.poll_s
        self._repairs = Repairs(ports, settings)
        self._deliveries = Deliveries(ports, settings)
        self._run_folder = run_folder
        self._metrics_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then let deliveries in flight end."""
        self._run_folder.mkdir(parents=True, exist_ok=True)
        await self._loop("migrate", self._ports.storage.migrate, stop, is_once=True)
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._loop("repairs", self._repair, stop))
            loops.create_task(self._loop("deliveries", self._deliveries.sweep, stop))
        await self._deliveries.finish(GRACE_S)

    async def _repair(self) -> None:
        (self._run_folder / "dispatcher.alive").touch()
        await self._repairs.sweep()
        if self._ports.clock.monotonic() >= self._metrics_at:
            self._metrics_at = self._ports.clock.monotonic() + METRICS_EVERY_S
            write_to_textfile(str(self._run_folder / "dispatcher.prom"), self._ports.metrics.registry)

    async def _loop(self, name: str, sweep: Callable[[], Awaitable[None]], stop: asyncio.Event, *, is_once: bool = False) -> None:
        """Sweep every ``poll_s`` seconds; after failures twice as late each time, up to ``MAX_BACKOFF_S``."""
        pause_s = self._poll_s
        while not stop.is_set():
            try:
                await sweep()
            except StorageUnavailable as error:
                pause_s = min(pause_s * 2, MAX_BACKOFF_S)
                _log.warning("storage_away", loop=name, error=error.message, next_try_s=pause_s)
            except Exception:  # noqa: BLE001 - the loop's boundary: told with its traceback and tried again, so that the other loop's work goes on
                pause_s = min(pause_s * 2, MAX_BACKOFF_S)
                _log.exception("sweep_failed", loop=name, next_try_s=pause_s)
            else:
                if is_once:
                    return
                pause_s = self._poll_s
            await self._pause(pause_s, stop)

    async def _pause(self, seconds: float, stop: asyncio.Event) -> None:
        waits = {asyncio.ensure_future(self._ports.clock.sleep(seconds)), asyncio.ensure_future(stop.wait())}
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()


def open_ports(settings: Settings) -> Ports:
    """The adapters of a dispatcher process.

    Raises:
        SettingsInvalid: The webhook secret or the allow list is malformed.
    """
    clock, metrics = SystemClock(), new_metrics()
    courier = Courier(GuardedClient(settings.egress), [parse_secret(load_webhook_secret(settings))], clock)
    return Ports(open_storage(settings), CeleryHintQueue(settings, metrics=metrics), open_notifier(settings), courier, clock, metrics)


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
    argparse.ArgumentParser(prog="python -m gateway.dispatcher", description="Delivers webhooks and repairs what crashes leave behind.").parse_args(
        argv
    )
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


__all__ = ["Deliveries", "Dispatcher", "Ports", "Repairs", "main", "open_ports", "run"]
