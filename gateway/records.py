"""What is written down about finished requests: metrics, log lines, the log of decisions and what is learnt of them.

In batches, after the last byte, off the request's task.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from gateway.backlog import Backlog
from gateway.redaction import redact
from tandem.errors import ModelBadResponse, ModelContextExceeded, ModelTimeout, ModelUnavailable
from tandem.ids import TenantId
from tandem.ports import DecisionLog, LoggedDecision, NewOutcome, OutcomeStore
from tandem.schemas.routing import Decision, Lane
from tandem.telemetry import Metrics, get_logger

Door = Literal[
    "chat",
    "responses",
    "jobs",
    "files",
    "memory",
    "audit",
    "tools",
    "schedules",
    "webhooks",
    "threads",
    "models",
    "keys",
    "decide",
    "questions",
    "feedback",
    "operations",
    "health",
    "other",
]
LANE_KEY: Final = "tandem.lane"
"""Where a door that asks the router leaves the lane, in the request's scope."""
FLUSH_S: Final = 0.25
_MODEL_ERRORS: Final = frozenset(kind.code for kind in (ModelUnavailable, ModelTimeout, ModelBadResponse, ModelContextExceeded))
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

    def __init__(self, log: DecisionLog, outcomes: OutcomeStore, metrics: Metrics, *, is_detailed: bool) -> None:
        self._metrics = metrics
        self._is_detailed = is_detailed
        self._finished: list[Finished] = []
        self._decisions: list[LoggedDecision] = []
        self._outcomes: list[NewOutcome] = []
        self._decision_backlog: Backlog[LoggedDecision] = Backlog("decisions", log.add)
        self._outcome_backlog: Backlog[NewOutcome] = Backlog("outcomes", outcomes.add)
        self._one_flush = asyncio.Lock()

    def finish(self, finished: Finished) -> None:
        self._finished.append(finished)

    def decide(self, decision: LoggedDecision) -> None:
        """A decision that counts; its text, if any, is redacted before it is written."""
        self._decisions.append(decision)

    def learn(self, outcome: NewOutcome) -> None:
        """What became of a decision; written after it."""
        self._outcomes.append(outcome)

    async def run(self) -> None:
        """Flush for ever; cancel to stop, then flush once more."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Write down what was noted until now; what another flush is writing is then written too."""
        async with self._one_flush:  # an outcome never overtakes its decision
            await self._flush()

    async def _flush(self) -> None:
        finished, self._finished = self._finished, []
        for at, record in enumerate(finished):
            self._note(record)
            if at % 64 == 63:
                await asyncio.sleep(0)  # live streams go first
        _summarise(finished)
        await self._log_decisions()
        await self._log_outcomes()

    async def _log_decisions(self) -> None:
        decisions, self._decisions = self._decisions, []
        for logged in decisions:
            self._count(logged.decision)
        self._decision_backlog.add(each if each.text is None else replace(each, text=redact(each.text)) for each in decisions)
        await self._decision_backlog.flush()

    async def _log_outcomes(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        self._outcome_backlog.add(outcomes)
        for outcome in await self._outcome_backlog.flush():
            self._metrics.outcomes.labels(outcome.kind).inc()

    def _count(self, decision: Decision) -> None:
        self._metrics.decisions.labels(decision.lane).inc()
        self._metrics.bands.labels(decision.band, decision.arm).inc()
        self._metrics.overrides.labels(decision.override or "none").inc()
        self._metrics.decision_time.labels(decision.backend).observe(decision.latency_us / 1_000_000)

    def _note(self, record: Finished) -> None:
        lane = record.lane or "none"
        self._metrics.requests.labels(record.door, lane, str(record.status)).inc()
        self._metrics.duration.labels(record.door).observe(record.seconds)
        if record.ttft_s is not None:
            self._metrics.ttft.labels(lane).observe(record.ttft_s)
        if record.lane == "fast" and record.error_code in _MODEL_ERRORS:
            self._metrics.model_errors.labels("fast", record.error_code).inc()
        if record.status >= 400 and record.door != "health":
            _log.info("request_refused", **_facts(record))
        elif self._is_detailed:
            _log.debug("request_answered", **_facts(record))


def _summarise(finished: Sequence[Finished]) -> None:
    """One line per door, lane and outcome: a line per answered request would cost more than answering it."""
    groups: dict[tuple[Door, Lane | None, int], list[float]] = {}
    for record in finished:
        if record.door != "health" and record.status < 400:
            groups.setdefault((record.door, record.lane, record.status), []).append(record.seconds)
    for (door, lane, status), seconds in groups.items():
        _log.info("requests_answered", door=door, lane=lane, status=status, count=len(seconds), slowest_s=round(max(seconds), 4))


def _facts(record: Finished) -> dict[str, str | int | float | None]:
    return {
        "door": record.door,
        "method": record.method,
        "status": record.status,
        "seconds": round(record.seconds, 4),
        "ttft_s": None if record.ttft_s is None else round(record.ttft_s, 4),
        "request_id": record.request_id,
        "tenant": record.tenant,
        "lane": record.lane,
        "error_code": record.error_code,
    }
