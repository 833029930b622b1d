"""What every ``DecisionLog`` must do: keep decisions, and count them per policy version. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from tandem.errors import NotFound
from tandem.ids import JobId
from tandem.ports import LoggedDecision, Parking, Storage
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import JobStatus
from tandem.schemas.policies import VersionStats
from tandem.schemas.routing import Reason, ShadowDecision, Signs
from tandem.testing.samples import ALICE, BOB, DECISION, Samples
from tandem.testing.suites.job import DONE, LEASE_S, claimed, created

HOUR_S: Final = 3_600.0


class DecisionConformance:
    """The log of routing decisions."""

    async def test_recent_decisions_are_the_tenants_newest_first(self, storage: Storage, samples: Samples) -> None:
        logged = [samples.logged(text=str(number)) for number in range(3)]
        foreign = samples.logged(tenant=BOB)
        await storage.decisions.add([logged[0], foreign])
        await _tick()
        await storage.decisions.add(logged[1:])
        await storage.decisions.add([])
        assert unstamped(await storage.decisions.recent(ALICE, 2)) == [logged[2], logged[1]]
        assert unstamped(await storage.decisions.recent(BOB, 10)) == [foreign]

    async def test_a_batch_sent_again_is_kept_once(self, storage: Storage, samples: Samples) -> None:
        first, second = samples.logged(text="a"), samples.logged(text="b")
        await storage.decisions.add([first])
        await _tick()
        kept = await storage.decisions.get(first.id, ALICE)
        await storage.decisions.add([replace(first, text="other"), second])
        assert await storage.decisions.get(first.id, ALICE) == kept
        assert len(await storage.decisions.recent(ALICE, 10)) == 2

    async def test_a_decision_reads_back_whole_with_its_text_and_time(self, storage: Storage, samples: Samples) -> None:
        decision = DECISION.model_copy(
            update={
                "band": "check",
                "lane": "fast",
                "arm": "candidate",
                "override": "hysteresis",
                "propensity": 0.99,
                "intent": "math",
                "shadow": ShadowDecision(policy_version="p2", lane="slow", band="slow"),
                "reasons": [Reason(feature="chars", weight=-0.5)],
                "signs": Signs(turns=2, reask=0.75, previous_lane="slow"),
                "language": "zh",
                "latency_us": 41.5,
            }
        )
        logged = LoggedDecision(samples.ids.decision(), ALICE, decision, text_chars=9, door="threads", text='二加三? "\\ \u2028 e\u0301 😀')
        before = await storage.policies.now()
        await storage.decisions.add([logged])
        found = await storage.decisions.get(logged.id, ALICE)
        assert replace(found, created_at=None) == logged
        assert found.created_at is not None
        assert before <= found.created_at <= await storage.policies.now()

    async def test_another_tenants_decision_is_not_found(self, storage: Storage, samples: Samples) -> None:
        logged = samples.logged(tenant=BOB)
        await storage.decisions.add([logged])
        for decision_id in (logged.id, samples.ids.decision()):
            with pytest.raises(NotFound, match=decision_id):
                await storage.decisions.get(decision_id, ALICE)
        assert (await storage.decisions.get(logged.id, BOB)).tenant == BOB

    async def test_the_newest_decisions_of_a_time_are_those_of_all_tenants(self, storage: Storage, samples: Samples) -> None:
        logged = [samples.logged(), samples.logged(tenant=BOB), samples.logged()]
        for each in logged:
            await storage.decisions.add([each])
            await _tick()
        lean = [replace(each, decision=each.decision.model_copy(update={"reasons": []})) for each in logged]
        assert unstamped(await storage.decisions.since(HOUR_S, 10)) == lean[::-1]
        assert unstamped(await storage.decisions.since(HOUR_S, 2)) == [lean[2], lean[1]]
        await asyncio.sleep(0.05)
        assert not await storage.decisions.since(0.04, 10)

    async def test_a_long_log_is_read_without_loss_or_repetition(self, storage: Storage, samples: Samples) -> None:
        logged = [samples.logged() for _ in range(2_100)]
        await storage.decisions.add(logged[:1_500])
        await _tick()
        await storage.decisions.add(logged[1_500:])
        found = await storage.decisions.since(HOUR_S, 2_050)
        assert [each.id for each in found] == [each.id for each in logged[:49:-1]]


class FigureConformance:
    """What the log counts."""

    async def test_figures_are_per_version_and_arm(self, storage: Storage, samples: Samples) -> None:
        await storage.decisions.add([
            samples.logged(policy_version="p1", lane="slow", band="slow", latency_us=10.0),
            samples.logged(policy_version="p1", lane="fast", band="check", latency_us=20.0, tenant=BOB),
            samples.logged(policy_version="p1", lane="slow", band="slow", latency_us=30.0, override="rule"),
            samples.logged(policy_version="p2", arm="candidate", lane="fast", band="fast", latency_us=5.0),
        ])
        assert list(await storage.decisions.stats(HOUR_S)) == [
            _figures("p1", decisions=3, auto=3, slow=2, checked=1, mean_latency_us=20.0),
            _figures("p2", arm="candidate", decisions=1, auto=1, mean_latency_us=5.0),
        ]

    @pytest.mark.parametrize("source", ["model", "lane", "text", "effort"])
    async def test_what_a_caller_forces_is_not_auto(self, storage: Storage, samples: Samples, source: str) -> None:
        forced = samples.logged()
        await storage.decisions.add([replace(forced, decision=forced.decision.model_copy(update={"override": source})), samples.logged()])
        assert list(await storage.decisions.stats(HOUR_S)) == [_figures("p1", decisions=2, auto=1, slow=1)]

    @pytest.mark.parametrize("source", ["rule", "kill_switch", "context", "sticky", "hysteresis", "cap", "explore"])
    async def test_what_the_policy_does_is_auto(self, storage: Storage, samples: Samples, source: str) -> None:
        logged = samples.logged()
        await storage.decisions.add([replace(logged, decision=logged.decision.model_copy(update={"override": source}))])
        assert list(await storage.decisions.stats(HOUR_S)) == [_figures("p1", decisions=1, auto=1, slow=1)]

    async def test_outcomes_count_for_the_version_that_decided(self, storage: Storage, samples: Samples) -> None:
        stable, candidate = samples.logged(), [samples.logged(policy_version="p2", arm="candidate") for _ in range(3)]
        await storage.decisions.add([stable, *candidate])
        await storage.outcomes.add([
            samples.outcome(stable.id, "thumbs_up"),
            samples.outcome(candidate[0].id, "thumbs_down"),
            samples.outcome(candidate[0].id, "wrong_route"),
            samples.outcome(candidate[1].id, "reask", source="gateway"),
            samples.outcome(candidate[1].id, "check_passed", source="gateway"),
            samples.outcome(candidate[2].id, "escalated"),
            samples.outcome(samples.ids.decision(), "thumbs_down", source="collect"),
        ])
        assert list(await storage.decisions.stats(HOUR_S)) == [
            _figures("p1", decisions=1, auto=1, slow=1, thumbs_up=1),
            _figures("p2", arm="candidate", decisions=3, auto=3, slow=3, thumbs_down=1, wrong_route=1, reasks=1, escalations=1),
        ]

    async def test_a_decision_counts_once_however_often_it_was_objected_to(self, storage: Storage, samples: Samples) -> None:
        logged = samples.logged()
        await storage.decisions.add([logged])
        await storage.outcomes.add([
            samples.outcome(logged.id, "check_failed", source="gateway"),
            samples.outcome(logged.id, "escalated"),
            samples.outcome(logged.id, "reask"),
            samples.outcome(logged.id, "reask", source="gateway"),
        ])
        assert list(await storage.decisions.stats(HOUR_S)) == [_figures("p1", decisions=1, auto=1, slow=1, failed_checks=1, escalations=1, reasks=1)]

    async def test_figures_are_of_the_time_that_was_asked_for(self, storage: Storage, samples: Samples) -> None:
        old = samples.logged(policy_version="p0")
        await storage.decisions.add([old])
        await storage.outcomes.add([samples.outcome(old.id)])
        await asyncio.sleep(0.05)
        assert not await storage.decisions.stats(0.04)
        assert [each.thumbs_up for each in await storage.decisions.stats(HOUR_S)] == [1]

    async def test_job_times_tell_how_long_jobs_ran_and_how_many_at_once(self, storage: Storage, samples: Samples) -> None:
        assert (await storage.decisions.job_times(HOUR_S)).workers == 0
        first, second, third = [await created(storage, samples.job()) for _ in range(3)]
        await created(storage, samples.job())
        await _run_together(storage, [first, second])
        await _run_together(storage, [third])
        cancelled = await created(storage, samples.job())
        await storage.jobs.request_cancel(cancelled, ALICE)
        times = await storage.decisions.job_times(HOUR_S)
        assert (times.jobs, times.workers) == (3, 2)
        assert 0.02 <= times.mean_run_s < 60
        assert 0.04 / 3_600 <= times.hours < 60 / 3_600

    async def test_a_job_that_waited_for_somebody_says_nothing_of_running(self, storage: Storage, samples: Samples) -> None:
        job_id = await created(storage, samples.job())
        claim = await claimed(storage, job_id)
        await storage.work.park(job_id, claim.epoch, Parking(JobStatus.INPUT_REQUIRED, [InputAsk(key="k", kind="text", prompt="?")], wait_s=LEASE_S))
        await storage.jobs.request_cancel(job_id, ALICE)
        times = await storage.decisions.job_times(HOUR_S)
        assert (times.jobs, times.workers, times.mean_run_s) == (1, 0, 0.0)


def unstamped(logged: Sequence[LoggedDecision]) -> list[LoggedDecision]:
    """As they were before the database gave them their time."""
    return [replace(each, created_at=None) for each in logged]


async def _run_together(storage: Storage, job_ids: Sequence[JobId]) -> None:
    claims = [await claimed(storage, job_id) for job_id in job_ids]
    await asyncio.sleep(0.02)
    for claim in claims:
        await storage.work.finish(claim.job_id, claim.epoch, DONE)
    await _tick()


async def _tick() -> None:
    """Let SQLite's clock, which ticks in milliseconds, go on."""
    await asyncio.sleep(0.002)


def _figures(version: str, **counted: str | float) -> VersionStats:
    """Zero where nothing is said."""
    names = set(VersionStats.model_fields) - {"version", "arm"}
    return VersionStats.model_validate(dict.fromkeys(names, 0) | {"version": version, "arm": "stable"} | counted)
