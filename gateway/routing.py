"""Asks the router and logs its word. Turns the doors' conversations into the router's ``Turns``.

The request's way holds no database and waits for nothing, unless the policy asks a model about requests that the linear model is unsure of.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.conversations import Conversations, LastAnswer, place_of
from gateway.load import QueueWait, SlowShares
from gateway.policies import PolicyFollower, Snapshot
from gateway.records import Recorder
from gateway.redaction import excerpt
from gateway.titles import title_of
from router.policy import Policy, Situation, decide, must_ask
from tandem.errors import ModelError, OperatorError
from tandem.ids import DecisionId, IdFactory, KeyId, TenantId
from tandem.ports import Classifier, DecidingDoor, LoggedDecision, NewOutcome, Score, Scorer, Storage, Turns
from tandem.schemas.chat import ChatMessage
from tandem.schemas.policies import CheckRules
from tandem.schemas.routing import Arm, Decision, ScoringBackend, ShadowDecision
from tandem.settings import RouterSettings
from tandem.telemetry import Metrics, get_logger

REASK_FROM: Final = 0.75
"""Likeness of two messages from which the second one is the first one asked again."""
SCORER_REST_S: Final = 2.0
"""A backend that has failed is left alone this long: else each unsure request would wait for its timeout."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Word:
    """A score, and who gave it."""

    score: Score | None
    backend: ScoringBackend
    version: str | None


class Routing:
    """One classifier and the policies that are published; every decision that counts gets an id and goes to the log.

    Args:
        fallback: The policy of the settings.
        scorers: Backends that ask a model, where this gateway has them.
        draw: Uniform in 0..1, for exploration.
    """

    def __init__(
        self,
        classifier: Classifier,
        fallback: Policy,
        storage: Storage,
        ids: IdFactory,
        recorder: Recorder,
        metrics: Metrics,
        settings: RouterSettings,
        *,
        scorers: Mapping[ScoringBackend, Scorer],
        draw: Callable[[], float] = random.random,  # noqa: S311 - no secret hangs on it
    ) -> None:
        self._classifier = classifier
        self._ids = ids
        self._recorder = recorder
        self._metrics = metrics
        self._settings = settings
        self._scorers = scorers
        self._draw = draw
        self._conversations = Conversations()
        self._shares = SlowShares()
        self._wait = QueueWait(storage)
        self._rests_until: dict[ScoringBackend, float] = {}
        self.policies = PolicyFollower(storage.policies, fallback, metrics, self._swapped)

    @property
    def backends(self) -> frozenset[ScoringBackend]:
        """What a policy may name here."""
        return frozenset({"linear", *self._scorers})

    async def run(self) -> None:
        """Follow the policies, and the queue where one of them prices it, for ever."""
        while True:
            await asyncio.sleep(self._settings.poll_s)
            await self.policies.look()
            try:
                await self._wait.refresh(is_priced=self.policies.snapshot.prices_waiting)
            except OperatorError as error:  # the follower has told that the database is away
                _log.debug("queue_not_read", code=error.code)

    async def decide(
        self,
        turns: Turns,
        tenant: TenantId,
        door: DecidingDoor,
        *,
        key: str | None = None,
        fits_fast: bool = True,
        previous: DecisionId | None = None,
    ) -> tuple[DecisionId, Decision]:
        """A decision that counts.

        ``key`` is the conversation, which a staged rollout goes by; None: the request is one of its own. ``fits_fast``: the fast model's context
        holds the conversation. ``previous`` is the decision before it in the same conversation: a message that asks the same again speaks against it.
        """
        decision_id = self._ids.decision()
        snapshot = self.policies.snapshot
        policy, arm = snapshot.choose(key or decision_id)
        draw = self._draw() if policy.document.explore else 1.0
        situation = self._situation(policy, snapshot, tenant, arm, draw=draw, fits_fast=fits_fast)
        word = await self._word(turns, policy, situation)
        decision = decide(turns, self._classifier, policy, situation, score=word.score, backend=word.backend, model_version=word.version)
        if snapshot.shadow is not None:
            shadow = self._shadowed(turns, decision, snapshot.shadow, situation)
            decision = decision.model_copy(update={"shadow": shadow})
        self._shares.note(decision)
        text = excerpt(turns.text) if self._settings.log_prompts else None
        self._recorder.decide(LoggedDecision(decision_id, tenant, decision, len(turns.text), door, text))
        if previous is not None and decision.signs.reask >= REASK_FROM and turns.previous_lane == "fast":
            self._recorder.learn(NewOutcome(self._ids.outcome(), previous, tenant, "reask", "gateway", wanted_lane="slow"))
        return decision_id, decision

    def check_rules(self, version: str) -> CheckRules:
        """How the answers of a policy's check band are tested; of one that decides no more, as the active policy says."""
        snapshot = self.policies.snapshot
        return next((each for each in snapshot.policies if each.version == version), snapshot.stable).document.check

    async def decide_stateless(
        self, turns: Turns, tenant: TenantId, door: DecidingDoor, key_id: KeyId | None, *, fits_fast: bool = True, last: LastAnswer | None = None
    ) -> tuple[DecisionId, Decision]:
        """For doors whose clients send the conversation each time; ``last`` where the door knows who answered before."""
        place = place_of(key_id, turns.history, turns.text)
        last = last or self._conversations.last(place)
        if last is not None:
            turns = replace(turns, previous_lane=last.lane)
        previous = None if last is None else last.decision_id
        decision_id, decision = await self.decide(turns, tenant, door, key=place.key, fits_fast=fits_fast, previous=previous)
        self._conversations.note(place, LastAnswer(decision.lane, decision_id))
        return decision_id, decision

    async def try_out(self, turns: Turns, tenant: TenantId, version: str | None = None) -> Decision:
        """What would be decided, by the active policy or another version; nothing is drawn, logged or remembered. Raises ``NotFound``."""
        snapshot = self.policies.snapshot
        policy = snapshot.stable if version is None else await self.policies.policy(version)
        situation = self._situation(policy, snapshot, tenant, "stable", draw=1.0)
        word = await self._word(turns, policy, situation)
        return decide(turns, self._classifier, policy, situation, score=word.score, backend=word.backend, model_version=word.version)

    def _situation(self, policy: Policy, snapshot: Snapshot, tenant: TenantId, arm: Arm, *, draw: float, fits_fast: bool = True) -> Situation:
        return Situation(
            tenant=tenant,
            slow_share=self._shares.of(policy.version),
            queue_wait_s=self._wait.seconds,
            fits_fast=fits_fast,
            draw=draw,
            kill=snapshot.kill,
            arm=arm,
        )

    def _shadowed(self, turns: Turns, decision: Decision, shadow: Policy, situation: Situation) -> ShadowDecision:
        """What the shadow policy would do with the same score; it asks no model and draws nothing."""
        score = Score(decision.p_slow, (), decision.p_fast_fails, decision.p_slow_fixes, decision.p_tools, decision.intent)
        calm = replace(situation, slow_share=self._shares.of(shadow.version), draw=1.0, kill=None, arm="stable")
        would = decide(turns, self._classifier, shadow, calm, score=score, backend=decision.backend)
        self._shares.note(would)
        return ShadowDecision(policy_version=shadow.version, lane=would.lane, band=would.band)

    async def _word(self, turns: Turns, policy: Policy, situation: Situation) -> _Word:
        """The score to decide by; None leaves it to the classifier."""
        backend = policy.document.backend
        scorer = self._scorers.get(backend)
        if scorer is None:
            return _LINEAR
        linear = self._classifier.score(turns)
        if not must_ask(turns, linear, policy, situation) or time.monotonic() < self._rests_until.get(backend, 0.0):
            return _Word(linear, "linear", None)
        asked = await self._ask(backend, scorer, turns)
        return _Word(linear, "linear", None) if asked is None else _Word(asked, backend, scorer.version)

    async def _ask(self, backend: ScoringBackend, scorer: Scorer, turns: Turns) -> Score | None:
        """The backend's score; None when it fails or takes too long."""
        try:
            async with asyncio.timeout(self._settings.scorer_timeout_s):
                score = await scorer.score(turns)
        except TimeoutError:
            outcome, code = "timeout", "timeout"
        except ModelError as error:
            outcome, code = "failed", error.code
        else:
            self._metrics.scorers.labels(backend, "answered").inc()
            if self._rests_until.pop(backend, None) is not None:
                _log.info("scorer_reached", backend=backend)
            return score
        self._metrics.scorers.labels(backend, outcome).inc()
        if backend not in self._rests_until:
            _log.warning("scorer_failed", backend=backend, code=code, timeout_s=self._settings.scorer_timeout_s)
        self._rests_until[backend] = time.monotonic() + SCORER_REST_S
        return None

    def _swapped(self, snapshot: Snapshot) -> None:
        self._shares.keep({each.version for each in snapshot.policies})


_LINEAR: Final = _Word(None, "linear", None)


def newest_and_history(messages: Sequence[ChatMessage]) -> tuple[str, list[str]]:
    """The text to route (the newest human message, else the last message) and the human messages before it."""
    human = [message.content for message in messages if message.role == "user"]
    return (human[-1], human[:-1]) if human else (messages[-1].content, [])


__all__ = ["REASK_FROM", "Routing", "newest_and_history", "title_of"]
