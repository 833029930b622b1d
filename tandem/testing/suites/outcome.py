"""What every ``OutcomeStore`` must do: keep what was learnt of decisions, and let people make labels of it. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tandem.errors import NotFound
from tandem.ids import OutcomeId
from tandem.ports import Storage
from tandem.schemas.outcomes import Outcome
from tandem.testing.samples import ALICE, BOB, Samples


class OutcomeConformance:
    """Outcomes of decisions."""

    async def test_an_outcome_reads_back_as_it_was_added(self, storage: Storage, samples: Samples) -> None:
        new = samples.outcome(
            samples.ids.decision(),
            "answer_scored",
            source="collect",
            status="approved",
            wanted_lane="slow",
            fast_score=0.25,
            slow_score=1.0,
            text="十二加三? 😀",
            comment='said "no"',
        )
        await storage.outcomes.add([new])
        (outcome,) = await _all(storage)
        assert outcome == Outcome(
            id=new.id,
            decision_id=new.decision_id,
            kind="answer_scored",
            source="collect",
            status="approved",
            wanted_lane="slow",
            fast_score=0.25,
            slow_score=1.0,
            text="十二加三? 😀",
            comment='said "no"',
            created_at=outcome.created_at,
        )

    async def test_of_one_decision_kind_and_source_the_newest_stays(self, storage: Storage, samples: Samples) -> None:
        first = samples.outcome(samples.ids.decision(), "wrong_route", wanted_lane="slow", comment="too shallow")
        await storage.outcomes.add([first])
        await storage.outcomes.judge(first.id, "rejected", None)
        second = replace(first, id=samples.ids.outcome(), wanted_lane="fast", comment="")
        others = [
            replace(first, id=samples.ids.outcome(), source="operator"),
            samples.outcome(first.decision_id, "thumbs_down"),
            samples.outcome(samples.ids.decision(), "wrong_route"),
        ]
        await storage.outcomes.add([second, *others])
        found = {outcome.id: outcome for outcome in await _all(storage)}
        assert set(found) == {second.id, *(other.id for other in others)}
        assert (found[second.id].status, found[second.id].wanted_lane, found[second.id].comment) == ("pending", "fast", "")
        with pytest.raises(NotFound, match="replaced"):
            await storage.outcomes.judge(first.id, "approved", None)

    async def test_within_one_batch_the_last_one_stays(self, storage: Storage, samples: Samples) -> None:
        first = samples.outcome(samples.ids.decision())
        await storage.outcomes.add([first, replace(first, id=samples.ids.outcome(), comment="again")])
        await storage.outcomes.add([])
        assert [outcome.comment for outcome in await _all(storage)] == ["again"]

    async def test_peers_that_add_the_same_outcome_leave_one(self, peers: Sequence[Storage], samples: Samples) -> None:
        decision_ids = [samples.ids.decision() for _ in range(20)]
        batches = [[samples.outcome(decision_id) for decision_id in decision_ids] for _ in range(6)]
        for batch in batches[::2]:
            batch.reverse()
        await asyncio.gather(*(peers[number % len(peers)].outcomes.add(batch) for number, batch in enumerate(batches)))
        assert sorted(outcome.decision_id for outcome in await _all(peers[0])) == sorted(decision_ids)

    async def test_outcomes_are_found_by_their_decisions(self, storage: Storage, samples: Samples) -> None:
        twice, once, never = [samples.ids.decision() for _ in range(3)]
        await storage.outcomes.add([samples.outcome(twice, "thumbs_down"), samples.outcome(once)])
        await asyncio.sleep(0.002)
        await storage.outcomes.add([samples.outcome(twice, "reask", source="gateway")])
        found = await storage.outcomes.of_decisions([never, once, twice])
        assert {decision_id: [outcome.kind for outcome in outcomes] for decision_id, outcomes in found.items()} == {
            once: ["thumbs_up"],
            twice: ["thumbs_down", "reask"],
        }
        assert await storage.outcomes.of_decisions([]) == {}

    async def test_many_decisions_may_be_asked_for_at_once(self, storage: Storage, samples: Samples) -> None:
        decision_ids = [samples.ids.decision() for _ in range(4_100)]
        await storage.outcomes.add([samples.outcome(decision_ids[at]) for at in (0, 2_050, 4_099)])
        assert set(await storage.outcomes.of_decisions(decision_ids)) == {decision_ids[at] for at in (0, 2_050, 4_099)}


class LabelConformance:
    """Outcomes as labels that people judge."""

    async def test_labels_are_listed_newest_first_in_pages(self, storage: Storage, samples: Samples) -> None:
        made = [samples.outcome(samples.ids.decision(), tenant=tenant) for tenant in (ALICE, BOB, ALICE, BOB, ALICE)]
        await storage.outcomes.add(made[:3])
        await asyncio.sleep(0.002)
        await storage.outcomes.add(made[3:])
        first = await storage.outcomes.list(status=None, kind=None, after=None, limit=3)
        rest = await storage.outcomes.list(status=None, kind=None, after=OutcomeId(first[-1].id), limit=3)
        assert [outcome.id for outcome in [*first, *rest]] == [new.id for new in reversed(made)]
        with pytest.raises(NotFound, match="next_after"):
            await storage.outcomes.list(status=None, kind=None, after=samples.ids.outcome(), limit=3)

    async def test_labels_are_listed_by_status_and_kind(self, storage: Storage, samples: Samples) -> None:
        up, down = samples.outcome(samples.ids.decision()), samples.outcome(samples.ids.decision(), "thumbs_down")
        other = samples.outcome(samples.ids.decision(), "thumbs_down")
        await storage.outcomes.add([up, down, other])
        await storage.outcomes.judge(down.id, "approved", None)
        pending = await storage.outcomes.list(status="pending", kind=None, after=None, limit=9)
        assert {outcome.id for outcome in pending} == {up.id, other.id}
        assert [outcome.id for outcome in await storage.outcomes.list(status="pending", kind="thumbs_down", after=None, limit=9)] == [other.id]
        assert [outcome.id for outcome in await storage.outcomes.list(status="approved", kind="thumbs_down", after=None, limit=9)] == [down.id]
        assert not await storage.outcomes.list(status="rejected", kind=None, after=None, limit=9)

    async def test_a_label_without_a_text_shows_that_of_its_decision(self, storage: Storage, samples: Samples) -> None:
        logged, silent = samples.logged(text="二加三?"), samples.logged()
        await storage.decisions.add([logged, silent])
        own = samples.outcome(logged.id, "reask", text="its own")
        borrowed, none = samples.outcome(logged.id), samples.outcome(silent.id)
        await storage.outcomes.add([own, borrowed, none])
        assert {outcome.id: outcome.text for outcome in await _all(storage)} == {own.id: "its own", borrowed.id: "二加三?", none.id: None}
        assert (await storage.outcomes.judge(borrowed.id, "approved", None)).text == "二加三?"

    async def test_a_verdict_may_correct_the_lane(self, storage: Storage, samples: Samples) -> None:
        new = samples.outcome(samples.ids.decision(), "wrong_route", wanted_lane="slow")
        await storage.outcomes.add([new])
        approved = await storage.outcomes.judge(new.id, "approved", None)
        assert (approved.status, approved.wanted_lane) == ("approved", "slow")
        assert await _all(storage) == [approved]
        rejected = await storage.outcomes.judge(new.id, "rejected", "fast")
        assert (rejected.status, rejected.wanted_lane) == ("rejected", "fast")
        assert await _all(storage) == [rejected]

    async def test_an_unknown_label_cannot_be_judged(self, storage: Storage, samples: Samples) -> None:
        with pytest.raises(NotFound, match="no outcome"):
            await storage.outcomes.judge(samples.ids.outcome(), "approved", None)

    async def test_a_caller_cannot_speak_of_another_tenants_decision(self, storage: Storage, samples: Samples) -> None:
        theirs = samples.logged(tenant=BOB)
        await storage.decisions.add([theirs])

        async def speak() -> None:
            decision = await storage.decisions.get(theirs.id, ALICE)
            await storage.outcomes.add([samples.outcome(decision.id, tenant=decision.tenant)])

        with pytest.raises(NotFound):
            await speak()
        assert not await _all(storage)


async def _all(storage: Storage) -> list[Outcome]:
    return [*await storage.outcomes.list(status=None, kind=None, after=None, limit=100)]
