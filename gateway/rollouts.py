"""The guardrail watch of the dispatcher: a candidate that does harm is rolled back, one that does none moves on when its stage is over.

Any number of dispatchers may watch: each acts by compare-and-set on the revision it has judged, so exactly one does.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from router.policy import SETTINGS_VERSION
from router.rollout import advance, is_stage_over, judge, roll_back
from tandem.errors import Conflict
from tandem.ports import NewState, Storage
from tandem.schemas.policies import Rollout, RoutingState, VersionStats
from tandem.schemas.routing import Arm
from tandem.telemetry.logging import get_logger
from tandem.telemetry.metrics import Metrics

ACTOR: Final = "tandem"
WATCH_EVERY_S: Final = 3.0
_log = get_logger(__name__)


class RolloutWatch:
    """Judges the candidate against the stable policy, over the same time: that of the candidate's stage."""

    def __init__(self, storage: Storage, metrics: Metrics) -> None:
        self._storage = storage
        self._metrics = metrics

    async def sweep(self) -> None:
        """One look. Under the kill switch nothing is judged: then no policy decides."""
        state = await self._storage.policies.state()
        self._metrics.policy_revision.set(state.revision)
        if state.candidate is None or state.kill is not None:
            return
        now = await self._storage.policies.now()
        if (new := await self._judged(state, state.candidate, now)) is not None:
            await self._act(state, new)

    async def _judged(self, state: RoutingState, rollout: Rollout, now: datetime) -> NewState | None:
        """What is to be done, if anything."""
        stats = await self._storage.decisions.stats(max((now - rollout.since).total_seconds(), 0.0))
        stable = _of(stats, state.active or SETTINGS_VERSION, "stable")
        candidate = _of(stats, rollout.version, "candidate")
        counts = await self._storage.jobs.counts()
        breaches = judge(rollout.guardrails, stable, candidate, counts.oldest_queued_s)
        if breaches:
            reason = "; ".join(breach.message for breach in breaches)
            figures = {name: value for breach in reversed(breaches) for name, value in breach.figures.items()}
            return roll_back(state, None, ACTOR, reason, is_automatic=True, figures=figures)
        return advance(state, ACTOR) if is_stage_over(rollout, now, candidate) else None

    async def _act(self, state: RoutingState, new: NewState) -> None:
        try:
            changed = await self._storage.policies.change(new, expected_revision=state.revision)
        except Conflict:
            _log.info("rollout_changed_elsewhere", revision=state.revision)
            return
        self._metrics.rollouts.labels(new.action).inc()
        self._metrics.policy_revision.set(changed.revision)
        if new.action == "auto_roll_back":
            _log.warning("policy_rolled_back", version=new.version, active=changed.active, reason=str(new.detail.get("reason")))
        else:
            percent = changed.candidate.percent if changed.candidate else 100
            _log.info("policy_advanced", version=new.version, percent=percent)


def _of(stats: Sequence[VersionStats], version: str, arm: Arm) -> VersionStats:
    """The figures of one policy in one arm; all zero where it has decided nothing yet."""
    found = next((each for each in stats if (each.version, each.arm) == (version, arm)), None)
    return found or VersionStats(
        version=version,
        arm=arm,
        decisions=0,
        auto=0,
        slow=0,
        checked=0,
        failed_checks=0,
        thumbs_up=0,
        thumbs_down=0,
        wrong_route=0,
        reasks=0,
        escalations=0,
        mean_latency_us=0.0,
    )
