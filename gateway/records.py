"""What is written down about finished requests: metrics, one log line, the decision log. In batches, after the last byte, off the request's task."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from tandem.errors import OperatorError
from tandem.ids import TenantId
from tandem.ports import DecisionLog, LoggedDecision
from tandem.schemas.routing import Lane
from tandem.telemetry import Metrics, get_logger

Door = Literal["chat", "jobs", "threads", "models", "keys", "decide", "health", "other"]
FLUSH_S: Final = 0.25
MAX_PENDING: Final = 10_000
"""Records kept while the database is away; beyond it the oldest decisions are dropped and counted in the log."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """One request that has been answered, or whose client has gone."""

    door: Door
    method: str
    status: int
    """HTTP status; 499 when the client closed the connection before the answer."""
    seconds: float
    request_id: str
    tenant: TenantId | None = None
    lane: Lane | None = None
    ttft_s: float | None = None
    """Seconds from the request's arrival to the first token sent."""
    error_code: str | None = None


class Recorder:
    """Takes notes in nanoseconds; writes them down later."""

    def __init__(self, log: DecisionLog, metrics: Metrics) -> None:
        self._decision_log = log
        self._metrics = metrics
        self._finished: list[Finished] = []
        self._decisions: deque[LoggedDecision] = deque(maxlen=MAX_PENDING)

    def finish(self, finished: Finished) -> None:
        self._finished.append(finished)

    def decide(self, decision: LoggedDecision) -> None:
        self._decisions.append(decision)

    async def run(self) -> None:
        """Flush for ever; cancel to stop, then flush once more."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        finished, self._finished = self._finished, []
        for at, record in enumerate(finished):
            self._note(record)
            if at % 64 == 63:
                await asyncio.sleep(0)  # live streams go first
        if not self._decisions:
            return
        batch = list(self._decisions)
        self._decisions.clear()
        for logged in batch:
            self._metrics.decisions.labels(logged.decision.lane).inc()
        try:
            await self._decision_log.add(batch)
        except OperatorError as error:
            _log.warning("decisions_not_logged", count=len(batch), code=error.code)

    def _note(self, record: Finished) -> None:
        lane = record.lane or "none"
        self._metrics.requests.labels(record.door, lane, str(record.status)).inc()
        self._metrics.duration.labels(record.door).observe(record.seconds)
        if record.ttft_s is not None:
            self._metrics.ttft.labels(lane).observe(record.ttft_s)
        if record.lane == "fast" and record.error_code:
            self._metrics.model_errors.labels("fast", record.error_code).inc()
        write = _log.debug if record.door == "health" else _log.info
        write(
            "request_finished",
            door=record.door,
            method=record.method,
            status=record.status,
            seconds=round(record.seconds, 4),
            ttft_s=None if record.ttft_s is None else round(record.ttft_s, 4),
            request_id=record.request_id,
            tenant=record.tenant,
            lane=record.lane,
            error_code=record.error_code,
        )
