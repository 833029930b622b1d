"""Webhooks in flight: how many at once, in all and to one receiver. Knows nothing of signatures, answers or schedules.

A receiver that is slow or fails holds few places, so that the others' webhooks go out: at most ``webhooks.endpoint_concurrency`` at once, one while
it is overloaded or away (which also probes whether it is back), none while its ``Retry-After`` runs.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from gateway.delivery import Courier, Verdict
from tandem.errors import StorageUnavailable
from tandem.ports import Clock, Delivery, Outbox
from tandem.settings import Settings
from tandem.telemetry.context import bind
from tandem.telemetry.logging import get_logger
from tandem.telemetry.metrics import Metrics

MAX_CONCURRENT: Final = 32
"""Deliveries in flight in one dispatcher."""
LEASE_MARGIN_S: Final = 10.0
"""A delivery's lease outlives its longest request by this much, for the record to be written."""
MAX_PAUSE_S: Final = 300.0
"""Longest time for which a receiver's ``Retry-After`` holds up its other deliveries; their own schedule honours longer ones."""
_SURPLUS_S: Final = 1.0
"""A delivery that was claimed beyond its receiver's places comes back after this."""
_SWEEP_POLLS: Final = 2
"""Polls after which a sweep ends, so that its loop can look whether it is to stop."""
_MAX_REMEMBERED: Final = 1_000
"""Receivers whose troubles are remembered."""
_STRAINED: Final = frozenset({"http_429", "http_502", "http_503", "http_504", "timeout", "connection_failed"})
_log = get_logger(__name__)


@dataclass(slots=True)
class _Receiver:
    places: int
    running: int = 0
    paused_until: float = 0.0


class Receivers:
    """How many deliveries each receiver may have in flight.

    Args:
        most: Places of a receiver that works.
        clock: Measures pauses.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._known: dict[str, _Receiver] = {}

    def enter(self, url: str) -> bool:
        """Take a place; false when none is free."""
        receiver = self._known.setdefault(url, _Receiver(self._most))
        if self._room(receiver) <= 0:
            return False
        receiver.running += 1
        return True

    def leave(self, url: str, verdict: Verdict | None) -> None:
        """Give the place back; what the receiver answered decides how many it has next. None: it was not heard."""
        receiver = self._known[url]
        receiver.running -= 1
        if verdict is not None and verdict.kind == "delivered":
            receiver.places = min(self._most, 2 * receiver.places)
        elif verdict is not None and verdict.answered.reason in _STRAINED:
            receiver.places = 1
            receiver.paused_until = self._clock.monotonic() + min(verdict.asked_s or 0.0, MAX_PAUSE_S)
        if receiver.running == 0 and receiver.places == self._most:
            del self._known[url]
        if len(self._known) > _MAX_REMEMBERED:
            self._known = {each: state for each, state in self._known.items() if state.running}

    def room(self) -> dict[str, int]:
        """Free places of the receivers that have fewer than one at rest."""
        return {url: self._room(receiver) for url, receiver in self._known.items()}

    def _room(self, receiver: _Receiver) -> int:
        return 0 if self._clock.monotonic() < receiver.paused_until else receiver.places - receiver.running


class Deliveries:
    """Claims what is due and sends it."""

    def __init__(
        self, outbox: Outbox, courier: Courier, clock: Clock, metrics: Metrics, settings: Settings, max_concurrent: int = MAX_CONCURRENT
    ) -> None:
        self._outbox = outbox
        self._courier = courier
        self._metrics = metrics
        self._receivers = Receivers(settings.webhooks.endpoint_concurrency, clock)
        self._per_receiver = settings.webhooks.endpoint_concurrency
        self._lease_s = settings.egress.timeout_s + LEASE_MARGIN_S
        self._poll_s = settings.dispatcher.poll_s
        self._max_concurrent = max_concurrent
        self._running: set[asyncio.Task[None]] = set()

    async def sweep(self) -> None:
        """Start what is due, as far as places are free, and more as they become free."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _SWEEP_POLLS * self._poll_s
        while True:
            if (free := self._max_concurrent - len(self._running)) > 0:
                await self._start(free)
            if not self._running or loop.time() >= until:
                return
            await asyncio.wait(self._running, timeout=self._poll_s, return_when=asyncio.FIRST_COMPLETED)

    async def finish(self, grace_s: float) -> None:
        """Wait for those in flight, then cut the rest off; their leases end and they are sent again."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _start(self, free: int) -> None:
        """Claim and send at most ``free`` deliveries."""
        claimed = await self._outbox.claim(free, self._lease_s, per_receiver=self._per_receiver, room=self._receivers.room())
        for delivery in claimed:
            if not self._receivers.enter(delivery.url):
                await self._outbox.defer(delivery, _SURPLUS_S)
                continue
            task = asyncio.create_task(self._deliver(delivery))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _deliver(self, delivery: Delivery) -> None:
        verdict: Verdict | None = None
        with bind(delivery_id=delivery.id, job_id=delivery.job_id):
            try:
                verdict = await self._courier.deliver(delivery, self._outbox)
            except StorageUnavailable as error:
                _log.warning("webhook_record_failed", error=error.message)
            except Exception:  # noqa: BLE001 - the task's boundary: told with its traceback; the others go on, and this one when its lease ends
                _log.exception("webhook_not_recorded")
            else:
                self._metrics.deliveries.labels(verdict.kind).inc()
            finally:
                self._receivers.leave(delivery.url, verdict)


__all__ = ["LEASE_MARGIN_S", "MAX_CONCURRENT", "MAX_PAUSE_S", "Deliveries", "Receivers"]
