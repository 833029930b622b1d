"""The composition root: which adapter stands behind which port, and the services the doors share. Nothing else in this package chooses an adapter."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gateway.auth import Authenticator
from gateway.background import Background, keep_up
from gateway.chat.pool import PoolTransport
from gateway.chat.slow import SlowLane
from gateway.chat.upstream import Transport
from gateway.checks import Checks
from gateway.evidence import Evidence
from gateway.grants import Grants
from gateway.jobs import JobDesk, WebhookCheck, check_job, check_job_aside
from gateway.limits import InFlight
from gateway.publishing import Publishing
from gateway.questions import QuestionDesk, open_decision_model, open_readout, open_scorers
from gateway.queue import CeleryHintQueue
from gateway.readiness import ReadinessBoard
from gateway.records import Recorder
from gateway.routing import Routing
from gateway.streams import Tails
from gateway.turns import TurnRunner
from router.artifacts import load_classifier
from router.policy import Policy, default_policy
from tandem.egress import check_target
from tandem.errors import EgressDenied, InvalidRequest, OperatorError
from tandem.events import open_notifier
from tandem.ids import IdFactory
from tandem.models import open_chat_model, served_name
from tandem.models.decision_model import RemoteDecisionModel
from tandem.ports import ChatModel, Classifier, Clock, DecisionModel, JobQueue, Notifier, Scorer, Storage
from tandem.schemas.jobs import JobRequest, JobStatus
from tandem.schemas.routing import LaneChoice, ScoringBackend
from tandem.secrets import load_pepper
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.telemetry import Metrics, SystemClock, get_logger, new_metrics
from tools.registry import tool_names

TURN_TOKENS: Final = 1_024
"""Longest fast answer in a conversation, in tokens; half the context where that is less."""
WAITING: Final = (JobStatus.SCHEDULED, JobStatus.QUEUED, JobStatus.INPUT_REQUIRED, JobStatus.PAUSED, JobStatus.BUDGET_REACHED)
"""What no worker holds and has not ended."""
_CLOSE_GRACE_S: Final = 2.0
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the gateway leans on, behind ports."""

    clock: Clock
    ids: IdFactory
    storage: Storage
    notifier: Notifier
    queue: JobQueue
    fast: ChatModel
    slow: ChatModel
    classifier: Classifier
    policy: Policy
    """Of the settings: it decides while nothing is published."""
    metrics: Metrics
    pepper: bytes
    """Key of the digests of API keys."""
    tools: frozenset[str]
    """Names of the tools that Tandem has by itself."""
    check_webhook: WebhookCheck
    open_transport: Callable[[], Transport]
    """Opens the hot path's way to the fast model; called in the running loop."""
    fast_name: str
    """Names under which the servers know their models."""
    slow_name: str
    readout: DecisionModel
    """The fast model, its next-token probabilities read out; it answers typed questions where no decision model is configured."""
    decision_model: RemoteDecisionModel | None = None
    scorers: Mapping[ScoringBackend, Scorer] = field(default_factory=dict[ScoringBackend, Scorer])
    """Scoring backends that ask a model."""


def open_transport(settings: Settings) -> Transport:
    """The hot path's way to the fast model: our own pool, or aiohttp where TLS is needed."""
    url = settings.model_url("fast")
    if url.startswith("http:"):
        return PoolTransport(url, settings.fast, "fast")
    from gateway.chat.aiohttp_transport import AiohttpTransport  # noqa: PLC0415 - 10 MB that most gateways never need

    return AiohttpTransport(url, settings.fast, "fast")


class BufferedRandom:
    """The system's randomness, fetched 4 KiB at a time: a system call for each id would be a tenth of a request's cost.

    For ids only, in a process that never forks; keys and secrets are drawn from the system directly.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0

    def __call__(self, count: int) -> bytes:
        if self._at + count > len(self._buffer):
            self._buffer, self._at = os.urandom(max(4_096, count)), 0
        self._at += count
        return self._buffer[self._at - count : self._at]


def open_dependencies(settings: Settings) -> Dependencies:
    """The real adapters. Opens no connection; raises an ``OperatorError`` when a file or an extra is missing."""
    metrics = new_metrics()

    async def check_webhook(url: str) -> None:
        await check_target(url, settings.egress)

    fast = open_chat_model(settings, "fast")
    readout, decision_model = open_readout(settings, fast), open_decision_model(settings)
    return Dependencies(
        clock=SystemClock(),
        ids=IdFactory(now_ms=lambda: time.time_ns() // 1_000_000, random_bytes=BufferedRandom()),
        storage=open_storage(settings),
        notifier=open_notifier(settings),
        queue=CeleryHintQueue(settings, metrics=metrics),
        fast=fast,
        slow=open_chat_model(settings, "slow"),
        classifier=load_classifier(settings.router.artifact),
        policy=default_policy(settings.router),
        metrics=metrics,
        pepper=load_pepper(settings),
        tools=tool_names(),
        check_webhook=check_webhook,
        open_transport=lambda: open_transport(settings),
        fast_name=served_name(settings, "fast"),
        slow_name=served_name(settings, "slow"),
        readout=readout,
        decision_model=decision_model,
        scorers=open_scorers(readout, decision_model),
    )


class Services:
    """What the doors share, wired once. ``start`` in the running loop, ``close`` before it ends."""

    def __init__(self, settings: Settings, dependencies: Dependencies) -> None:
        needs = dependencies
        gateway = settings.gateway
        self.settings = settings
        self.dependencies = needs
        self.background = Background()
        self.recorder = Recorder(needs.storage.decisions, needs.storage.outcomes, needs.metrics, is_detailed=settings.log.level == "debug")
        self.authenticator = Authenticator(needs.storage.keys, needs.pepper, needs.clock, gateway.key_cache_s)
        self.in_flight = InFlight(gateway.max_in_flight)
        self.routing = Routing(
            needs.classifier, needs.policy, needs.storage, needs.ids, self.recorder, needs.metrics, settings.router, scorers=needs.scorers
        )
        self.evidence = Evidence(settings)
        self.publishing = Publishing(needs.storage.policies, self.evidence, self.routing.policies, needs.ids, needs.policy, self.routing.backends)
        self.questions = QuestionDesk(needs.readout, needs.decision_model, self.in_flight, gateway.max_input_chars)
        self.tails = Tails(needs.storage.events, needs.notifier, needs.clock)
        storage = needs.storage
        self.grants = Grants(storage.tools, storage.jobs, storage.audit, needs.clock, settings.tools, needs.tools)
        self.desk = JobDesk(
            storage.jobs, needs.queue, needs.notifier, self.background, needs.ids, self.grants, max_unfinished=gateway.max_queued_jobs
        )
        self.checks = Checks(needs.fast, self.desk, self.grants, storage.jobs, needs.ids, self.recorder, self.routing.check_rules)
        self.turns = TurnRunner(
            needs.storage.threads,
            self.desk,
            self.grants,
            self.routing,
            self.checks,
            needs.fast,
            needs.ids,
            needs.clock,
            context_tokens=settings.fast.context_tokens,
            max_tokens=min(TURN_TOKENS, settings.fast.context_tokens // 2),
        )
        self.board = ReadinessBoard(needs.storage, needs.notifier, needs.fast, needs.slow, needs.clock, settings.worker.lease_s)
        self._loops: list[asyncio.Task[None]] = []

    @property
    def served(self) -> dict[str, LaneChoice]:
        """Model names callers may use. A lane's own words win over a server that calls its model ``fast``."""
        return {"auto": "auto", "fast": "fast", "slow": "slow", **self._server_names()}

    def slow_lane(self) -> SlowLane:
        gateway = self.settings.gateway
        return SlowLane(
            desk=self.desk,
            grants=self.grants,
            jobs=self.dependencies.storage.jobs,
            tails=self.tails,
            ids=self.dependencies.ids,
            model=self.dependencies.slow_name,
            heartbeat_s=gateway.heartbeat_s,
            max_input_chars=gateway.max_input_chars,
        )

    async def check_request(self, request: JobRequest) -> None:
        """Raises a ``CallerError`` naming the field when this gateway would not accept the job."""
        needs, gateway = self.dependencies, self.settings.gateway
        check = partial(
            check_job,
            max_input_chars=gateway.max_input_chars,
            max_documents_chars=gateway.max_documents_chars,
            now=needs.clock.now(),
        )
        await check_job_aside(request, check)
        if request.webhook_url is None:
            return
        try:
            await needs.check_webhook(request.webhook_url)
        except (EgressDenied, InvalidRequest) as error:
            raise type(error)(error.message, param="webhook_url") from None

    async def start(self) -> None:
        """Bring the schema up, follow the published policies and begin the background loops. Raises ``OperatorError``."""
        await self.dependencies.storage.migrate()
        await self.routing.policies.look()
        duties = {"recorder": self.recorder.run, "probes": self.board.run, "routing": self.routing.run, "questions": self.questions.probe}
        self._loops = [asyncio.create_task(keep_up(name, duty), name=name) for name, duty in duties.items()]

    async def close(self) -> None:
        """End turns and streams, write the last records, close every port; one that fails to close leaves no other open."""
        needs = self.dependencies
        async with contextlib.AsyncExitStack() as ports:
            for port in (needs.storage, needs.slow, needs.fast, needs.notifier, needs.queue, *needs.scorers.values(), self.evidence):
                ports.push_async_callback(port.close)
            self.tails.stop()
            await self.turns.close()
            for loop in self._loops:
                loop.cancel()
            await asyncio.gather(*self._loops, return_exceptions=True)
            await self.background.close(_CLOSE_GRACE_S)
            await self.recorder.flush()

    async def refresh_gauges(self) -> None:
        """Read the gauges that are states of the database; without a database they keep their last values."""
        metrics = self.dependencies.metrics
        metrics.in_flight.set(self.in_flight.count)
        try:
            storage = self.dependencies.storage
            counts = await storage.jobs.counts()
            leases = await storage.jobs.leases(stuck_after_s=self.settings.worker.step_timeout_s)
            deliveries = await storage.outbox.counts()
        except OperatorError as error:
            _log.warning("gauges_not_read", code=error.code)
            return
        for status in JobStatus:
            metrics.jobs.labels(status.value).set(counts.by_status.get(status, 0))
        for status in WAITING:
            metrics.waiting.labels(status.value).set(counts.by_status.get(status, 0))
        metrics.lost_attempts.set(counts.lost_attempts)
        metrics.leases.set(len(leases))
        metrics.stuck.set(sum(lease.is_stuck for lease in leases))
        metrics.queue_age.set(counts.oldest_queued_s)
        metrics.last_claim.set(-1 if counts.last_claim_s is None else counts.last_claim_s)
        for state, count in deliveries.items():
            metrics.outbox.labels(state).set(count)

    def _server_names(self) -> dict[str, LaneChoice]:
        # One server may serve both lanes under one name: then the name means the fast lane.
        pairs: list[tuple[str, LaneChoice]] = [(self.dependencies.slow_name, "slow"), (self.dependencies.fast_name, "fast")]
        return {name: lane for name, lane in pairs if name not in ("auto", "fast", "slow")}
