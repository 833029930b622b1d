"""Can this gateway serve, and what is degraded? Probes run in the background, so that asking is cheap and a hanging model holds nobody up.

Only the database decides ``down``: without models, workers or Redis jobs are still accepted and kept.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from gateway.grants import FRESH_S
from tandem.errors import TandemError
from tandem.ports import ChatModel, Clock, Notifier, Storage
from tandem.schemas.health import Component, Readiness
from tandem.telemetry import get_logger
from tools.registry import PYTHON

CACHE_S: Final = 1.0
PROBE_EVERY_S: Final = 2.0
PROBE_TIMEOUT_S: Final = 5.0
STALE_QUEUE_S: Final = 10.0
"""A job that waits this long while no worker shows life means that no worker runs."""
_log = get_logger(__name__)


class ReadinessBoard:
    """The newest word on every component."""

    def __init__(self, storage: Storage, notifier: Notifier, fast: ChatModel, slow: ChatModel, clock: Clock, lease_s: float) -> None:
        self._storage = storage
        self._notifier = notifier
        self._models = {"fast_model": fast, "slow_model": slow}
        self._clock = clock
        self._lease_s = lease_s
        unknown = Component(state="degraded", detail="not probed yet")
        self._probed: dict[str, Component] = {"redis": unknown, "fast_model": unknown, "slow_model": unknown}
        self._cached: tuple[float, Readiness] | None = None
        self._version = distribution_version()

    async def read(self) -> Readiness:
        """At most ``CACHE_S`` seconds old for the database, ``PROBE_EVERY_S`` for the rest."""
        if self._cached and self._clock.monotonic() - self._cached[0] < CACHE_S:
            return self._cached[1]
        database = await self._probe("database", self._check_database)
        worker = await self._probe("worker", self._check_worker) if database.state == "ok" else Component(state="degraded", detail="unknown")
        sandbox = await self._probe("sandbox", self._check_sandbox) if database.state == "ok" else Component(state="degraded", detail="unknown")
        components = {"database": database, **self._probed, "worker": worker, "sandbox": sandbox}
        degraded = any(component.state != "ok" for component in components.values())
        state = "down" if database.state != "ok" else "degraded" if degraded else "ok"
        if database.state != "ok":
            components["database"] = Component(state="down", detail=database.detail)
        readiness = Readiness(state=state, components=components, version=self._version)
        self._cached = (self._clock.monotonic(), readiness)
        return readiness

    async def run(self) -> None:
        """Probe for ever."""
        while True:
            await asyncio.gather(
                self._renew("redis", self._check_redis), *(self._renew(name, self._check_model(model)) for name, model in self._models.items())
            )
            await asyncio.sleep(PROBE_EVERY_S)

    async def _renew(self, name: str, check: Callable[[], Awaitable[Component]]) -> None:
        now = await self._probe(name, check)
        if now.state != self._probed[name].state:
            _log.info("component_changed", component=name, state=now.state, detail=now.detail)
        self._probed[name] = now

    async def _probe(self, name: str, check: Callable[[], Awaitable[Component]]) -> Component:
        """The result of one check as a state; whatever breaks in a check is a finding, not a fault of ours."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return await check()
        except TimeoutError:
            return Component(state="degraded", detail=f"no answer within {PROBE_TIMEOUT_S:g} s")
        except TandemError as error:
            return Component(state="degraded", detail=error.code)
        except Exception:  # noqa: BLE001 - a probe that dies would freeze the last word for ever
            _log.exception("probe_failed", component=name)
            return Component(state="degraded", detail="the probe failed; see the log")

    async def _check_database(self) -> Component:
        await self._storage.check()
        return Component(state="ok")

    async def _check_redis(self) -> Component:
        if not await self._notifier.is_up():
            return Component(state="degraded", detail="unreachable: streams poll, the reaper wakes workers")
        return Component(state="ok")

    def _check_model(self, model: ChatModel) -> Callable[[], Awaitable[Component]]:
        async def check() -> Component:
            return Component(state="ok", detail=await model.check())

        return check

    async def _check_worker(self) -> Component:
        counts = await self._storage.jobs.counts()
        is_silent = counts.last_claim_s is None or counts.last_claim_s > self._lease_s
        if is_silent and counts.oldest_queued_s > STALE_QUEUE_S:
            return Component(state="degraded", detail=f"the oldest job has waited {counts.oldest_queued_s:.0f} s and no worker shows life")
        if counts.last_claim_s is None:
            return Component(state="ok", detail="no job has been worked on yet")
        return Component(state="ok", detail=f"last sign of life {counts.last_claim_s:.0f} s ago")

    async def _check_sandbox(self) -> Component:
        """What the workers say of their interpreters. One that has no sandbox is not offered; its programs are never run another way."""
        reports = [report for report in await self._storage.tools.read(FRESH_S) if "sandbox" in report.spec.needs]
        offered = {report.spec.name for report in reports if report.state == "offered"}
        missing = {report.spec.name for report in reports} - offered
        words = [f"offered: {', '.join(sorted(offered))}"] if offered else []
        words += [f"not offered: {', '.join(sorted(missing))} ('tandem tools doctor' says why)"] if missing else []
        return Component(state="degraded" if PYTHON in missing else "ok", detail="; ".join(words) or "no worker has spoken of one yet")


def distribution_version() -> str:
    """Version of the installed distribution; a bare source tree has none."""
    try:
        return version("tandem-agents")
    except PackageNotFoundError:
        return "0+source"
