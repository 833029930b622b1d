"""The guardrail watch: what it does with a candidate, and that exactly one dispatcher does it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from json import loads
from typing import cast

import pytest

from gateway.rollouts import RolloutWatch
from tandem.errors import Conflict
from tandem.ports import JobCounts, NewState, Storage
from tandem.schemas.policies import Guardrails, Rollout, RoutingState, VersionStats
from tandem.schemas.routing import Arm
from tandem.telemetry.metrics import new_metrics

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def figures(version: str, arm: Arm, decisions: int, **counts: int) -> VersionStats:
    zero = dict.fromkeys(("slow", "checked", "failed_checks", "thumbs_up", "thumbs_down", "wrong_route", "reasks", "escalations"), 0)
    return VersionStats(version=version, arm=arm, decisions=decisions, auto=decisions, mean_latency_us=100.0, **(zero | counts))


@dataclass
class Store:
    """The parts of a storage that the watch reads."""

    routing: RoutingState
    measured: Sequence[VersionStats] = ()
    passed_s: float = 100.0
    oldest_queued_s: float = 0.0
    changes: list[NewState] = field(default_factory=list[NewState])
    asked_s: list[float] = field(default_factory=list[float])

    @property
    def policies(self) -> "Store":
        return self

    @property
    def decisions(self) -> "Store":
        return self

    @property
    def jobs(self) -> "Store":
        return self

    async def state(self) -> RoutingState:
        return self.routing

    async def now(self) -> datetime:
        await asyncio.sleep(0)
        return BEGUN + timedelta(seconds=self.passed_s)

    async def stats(self, seconds: float) -> Sequence[VersionStats]:
        self.asked_s.append(seconds)
        return self.measured

    async def counts(self) -> JobCounts:
        return JobCounts({}, self.oldest_queued_s, None)

    async def change(self, new: NewState, *, expected_revision: int) -> RoutingState:
        if expected_revision != self.routing.revision:
            raise Conflict("somebody else was first")
        self.changes.append(new)
        candidate = None if new.candidate_json is None else Rollout.model_validate(loads(new.candidate_json) | {"since": BEGUN})
        self.routing = RoutingState(revision=expected_revision + 1, active=new.active, candidate=candidate)
        return self.routing


def rollout(percent: int = 5, stage_s: float | None = None) -> RoutingState:
    candidate = Rollout.model_validate({"version": "new", "percent": percent, "since": BEGUN, "guardrails": Guardrails(), "stage_s": stage_s})
    return RoutingState(revision=7, active="old", candidate=candidate)


GOOD = (figures("old", "stable", 1_000, slow=200), figures("new", "candidate", 100, slow=20))
SLOW = (figures("old", "stable", 1_000, slow=200), figures("new", "candidate", 100, slow=90))


def watch(store: Store) -> RolloutWatch:
    return RolloutWatch(cast("Storage", store), new_metrics())


async def test_a_candidate_that_breaks_a_guardrail_is_rolled_back_with_its_figures() -> None:
    store = Store(rollout(), SLOW)
    await watch(store).sweep()
    (new,) = store.changes
    assert (new.action, new.version, new.active, new.candidate_json, new.actor) == ("auto_roll_back", "new", "old", None, "tandem")
    assert (new.detail["guardrail"], new.detail["candidate"], new.detail["candidate_n"]) == ("slow_share", 0.9, 100)
    assert "slow share is 90.0%" in str(new.detail["reason"])
    assert store.asked_s == [100.0], "both arms are measured over the stage"


async def test_an_old_queue_ends_a_rollout_and_the_first_guardrail_is_named_first() -> None:
    store = Store(rollout(), SLOW, oldest_queued_s=10_000)
    await watch(store).sweep()
    assert store.changes[0].detail["guardrail"] == "slow_share"
    assert store.changes[0].detail["oldest_queued_s"] == 10_000
    assert "oldest queued job waits" in str(store.changes[0].detail["reason"])


@pytest.mark.parametrize(("percent", "action", "left"), [(5, "advance", 25), (25, "complete", None)])
async def test_a_harmless_stage_that_is_over_moves_on(percent: int, action: str, left: int | None) -> None:
    store = Store(rollout(percent, stage_s=60), GOOD)
    await watch(store).sweep()
    assert [each.action for each in store.changes] == [action]
    assert (store.routing.candidate.percent if store.routing.candidate else None) == left


@pytest.mark.parametrize(
    ("state", "measured"),
    [
        (rollout(stage_s=None), GOOD),
        (rollout(stage_s=101), GOOD),
        (rollout(stage_s=60), (figures("old", "stable", 1_000), figures("new", "candidate", 49))),
        (rollout(stage_s=60), ()),
        (rollout(stage_s=60).model_copy(update={"kill": "all_fast"}), SLOW),
        (RoutingState(revision=3, active="old"), ()),
    ],
)
async def test_nothing_is_done_while_there_is_nothing_to_do(state: RoutingState, measured: Sequence[VersionStats]) -> None:
    store = Store(state, measured)
    await watch(store).sweep()
    assert store.changes == []


@pytest.mark.parametrize("measured", [GOOD, SLOW])
async def test_of_several_dispatchers_exactly_one_acts(measured: Sequence[VersionStats]) -> None:
    store = Store(rollout(stage_s=60), measured)
    await asyncio.gather(*(watch(store).sweep() for _ in range(3)))
    assert len(store.changes) == 1
