"""What every ``PolicyStore`` must do: keep versions, and one state that changes step by step. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Final

import pytest

from tandem.errors import Conflict, IdempotencyKeyReused, NotFound
from tandem.ports import NewState, Once, Storage
from tandem.schemas.policies import Bands, ClassBands, FixedRule, PolicyVersion, RoutingPolicy, RoutingState
from tandem.testing.samples import Samples, keyed, routed

POLICY: Final = RoutingPolicy(
    bands=Bands(check_at=0.3, slow_at=0.6),
    classes=[ClassBands(check_at=0.2, slow_at=0.4, language="zh")],
    rules=[FixedRule(name="规则", lane="slow", contains='"\\')],
    slow_share_cap=None,
)
ROLLBACKS: Final = ("roll_back", "auto_roll_back")


class PolicyConformance:
    """Immutable versions."""

    async def test_a_version_reads_back_as_it_was_added(self, storage: Storage, samples: Samples) -> None:
        version = samples.ids.policy_version()
        before = await storage.policies.now()
        added = await storage.policies.add(version, POLICY, author="key_1", note="less waiting")
        assert await storage.policies.get(version) == added
        assert (added.version, added.number, added.status, added.policy, added.parent) == (version, 1, "draft", POLICY, None)
        assert (added.author, added.note, added.published_at) == ("key_1", "less waiting", None)
        assert before <= added.created_at <= await storage.policies.now()

    async def test_an_unknown_version_is_not_found(self, storage: Storage, samples: Samples) -> None:
        for version in (samples.ids.policy_version(), "settings"):
            with pytest.raises(NotFound, match=version):
                await storage.policies.get(version)
        with pytest.raises(NotFound, match="next_after"):
            await storage.policies.list(after=samples.ids.policy_version(), limit=3)

    @pytest.mark.parametrize("version", ["", "pol_\0", "\ud800", "pol_" + "\0" * 26, "x" * 10_000])
    async def test_a_text_that_is_no_id_is_not_found_like_any_other(self, storage: Storage, version: str) -> None:
        with pytest.raises(NotFound):
            await storage.policies.get(version)
        with pytest.raises(NotFound):
            await storage.policies.list(after=version, limit=3)

    async def test_versions_are_numbered_and_listed_newest_first_in_pages(self, storage: Storage, samples: Samples) -> None:
        made = [await added(storage, samples) for _ in range(5)]
        assert [each.number for each in made] == [1, 2, 3, 4, 5]
        first = await storage.policies.list(after=None, limit=3)
        rest = await storage.policies.list(after=first[-1].version, limit=3)
        assert [*first, *rest] == made[::-1]
        assert not await storage.policies.list(after=rest[-1].version, limit=3)

    async def test_the_parent_of_a_draft_is_what_was_active(self, storage: Storage, samples: Samples) -> None:
        first = await added(storage, samples)
        await storage.policies.change(routed(first.version), expected_revision=0)
        second = await added(storage, samples)
        assert (first.parent, second.parent) == (None, first.version)
        assert (await storage.policies.get(second.version)).parent == first.version

    async def test_a_draft_writes_a_line_and_no_revision(self, storage: Storage, samples: Samples) -> None:
        version = (await added(storage, samples)).version
        (line,) = await storage.policies.history(before=None, limit=9)
        assert (line.number, line.revision, line.action, line.version, line.actor, line.detail) == (1, 0, "draft", version, "key_1", {})
        assert await storage.policies.state() == RoutingState(revision=0)

    async def test_a_draft_made_again_with_its_key_is_the_first_one(self, storage: Storage, samples: Samples) -> None:
        first = await added(storage, samples, once=keyed())
        assert await added(storage, samples, once=keyed()) == first
        with pytest.raises(IdempotencyKeyReused):
            await added(storage, samples, once=keyed(fingerprint="other"))
        theirs = await added(storage, samples, author="key_2", once=keyed())
        assert [each.version for each in await storage.policies.list(after=None, limit=9)] == [theirs.version, first.version]
        assert [line.version for line in await storage.policies.history(before=None, limit=9)] == [theirs.version, first.version]

    async def test_the_status_of_versions_follows_them_through_their_life(self, storage: Storage, samples: Samples) -> None:
        first, second, third, fourth = [(await added(storage, samples)).version for _ in range(4)]
        await follow(storage, routed(first))
        assert await statuses(storage) == ["active", "draft", "draft", "draft"]
        await follow(storage, routed(first, candidate=second))
        assert await statuses(storage) == ["active", "candidate", "draft", "draft"]
        await follow(storage, routed(first, "kill", candidate=second, kill="all_fast", is_new_stage=False), routed(second, "complete"))
        assert await statuses(storage) == ["retired", "active", "draft", "draft"]
        await follow(storage, routed(second, candidate=third), routed(second, "auto_roll_back"))
        assert await statuses(storage) == ["retired", "active", "rolled_back", "draft"]
        await follow(storage, routed(second, "shadow", shadow=fourth), routed(first, "roll_back", shadow=fourth))
        assert await statuses(storage) == ["active", "rolled_back", "rolled_back", "draft"]
        await follow(storage, routed(second))
        assert await statuses(storage) == ["retired", "active", "rolled_back", "draft"]

    @pytest.mark.parametrize("action", ROLLBACKS)
    async def test_the_way_back_to_the_settings_is_a_rollback_of_the_first_version(self, storage: Storage, samples: Samples, action: str) -> None:
        version = (await added(storage, samples)).version
        back = routed(None, "auto_roll_back" if action == "auto_roll_back" else "roll_back")
        await follow(storage, routed(version), back)
        found = await storage.policies.get(version)
        assert (found.status, (await storage.policies.state()).active) == ("rolled_back", None)

    async def test_the_time_of_publication_is_that_of_the_first_one(self, storage: Storage, samples: Samples) -> None:
        first, second = [(await added(storage, samples)).version for _ in range(2)]
        await follow(storage, routed(None, candidate=first), routed(first, "complete"), routed(second), routed(first))
        published = next(line for line in await storage.policies.history(before=None, limit=9) if line.revision == 1)
        assert (await storage.policies.get(first)).published_at == published.at
        assert published.at.tzinfo == UTC


class RoutingConformance:
    """The state that every gateway follows."""

    async def test_at_first_the_settings_decide(self, storage: Storage) -> None:
        assert await storage.policies.state() == RoutingState(revision=0)
        assert not await storage.policies.history(before=None, limit=9)

    async def test_a_change_is_the_state_and_a_line_of_the_history(self, storage: Storage, samples: Samples) -> None:
        first, second, third = [(await added(storage, samples)).version for _ in range(3)]
        await follow(storage, routed(first))
        state = await storage.policies.change(routed(first, candidate=second, shadow=third, kill="rules", percent=25), expected_revision=1)
        assert await storage.policies.state() == state
        assert (state.revision, state.active, state.shadow, state.kill) == (2, first, third, "rules")
        assert state.candidate is not None
        assert (state.candidate.version, state.candidate.percent, state.candidate.stage_s) == (second, 25, 60.0)
        line = (await storage.policies.history(before=None, limit=1))[0]
        assert (line.number, line.revision, line.action, line.version, line.actor, line.detail) == (5, 2, "publish", second, "key_1", {"percent": 25})
        assert line.at <= await storage.policies.now()

    async def test_a_change_of_an_older_revision_is_refused_and_changes_nothing(self, storage: Storage, samples: Samples) -> None:
        version = (await added(storage, samples)).version
        state = await storage.policies.change(routed(version), expected_revision=0)
        for expected_revision in (0, 2):
            with pytest.raises(Conflict, match=f"at revision 1 .* expects {expected_revision}"):
                await storage.policies.change(routed(None, "roll_back"), expected_revision=expected_revision)
        assert await storage.policies.state() == state
        assert [line.action for line in await storage.policies.history(before=None, limit=9)] == ["publish", "draft"]

    @pytest.mark.parametrize("role", ["active", "candidate", "shadow"])
    async def test_a_state_cannot_name_a_version_that_is_not_kept(self, storage: Storage, samples: Samples, role: str) -> None:
        missing = samples.ids.policy_version()
        wanted = routed(missing if role == "active" else None, candidate=missing if role == "candidate" else None)
        with pytest.raises(NotFound, match=missing):
            await storage.policies.change(_with_shadow(wanted, missing) if role == "shadow" else wanted, expected_revision=0)
        assert await storage.policies.state() == RoutingState(revision=0)

    async def test_a_stage_begins_anew_only_when_it_is_new(self, storage: Storage, samples: Samples) -> None:
        version = (await added(storage, samples)).version
        began = await since(storage, routed(None, candidate=version))
        assert abs(began - (await storage.policies.now()).timestamp()) < 60
        await asyncio.sleep(0.005)
        assert await since(storage, routed(None, "kill", candidate=version, kill="rules", is_new_stage=False)) == began
        assert await since(storage, routed(None, "advance", candidate=version, percent=25)) > began

    async def test_a_later_candidate_does_not_inherit_the_time_of_an_earlier_one(self, storage: Storage, samples: Samples) -> None:
        first, second = [(await added(storage, samples)).version for _ in range(2)]
        began = await since(storage, routed(None, candidate=first))
        await follow(storage, routed(None, "roll_back"))
        await asyncio.sleep(0.005)
        assert await since(storage, routed(None, candidate=second, is_new_stage=False)) > began

    async def test_the_history_is_read_in_pages_that_lose_no_draft(self, storage: Storage, samples: Samples) -> None:
        versions = [(await added(storage, samples)).version for _ in range(3)]
        await follow(storage, *(routed(version) for version in versions))
        await added(storage, samples)
        first = await storage.policies.history(before=None, limit=3)
        rest = await storage.policies.history(before=first[-1].number, limit=9)
        assert [line.number for line in [*first, *rest]] == [7, 6, 5, 4, 3, 2, 1]
        assert [line.revision for line in [*first, *rest]] == [3, 3, 2, 1, 0, 0, 0]
        assert not await storage.policies.history(before=1, limit=9)

    async def test_the_databases_time_is_in_utc(self, storage: Storage) -> None:
        first = await storage.policies.now()
        await asyncio.sleep(0.005)
        assert (first.utcoffset(), await storage.policies.now() > first) == (timedelta(0), True)


class PolicyRaceConformance:
    """Operators of several processes at once."""

    async def test_of_several_publishers_one_wins_and_the_others_are_told(self, peers: Sequence[Storage], samples: Samples) -> None:
        versions = [(await added(peers[0], samples)).version for _ in range(6)]
        for revision in range(3):
            changes = [
                peers[number % len(peers)].policies.change(routed(version), expected_revision=revision) for number, version in enumerate(versions)
            ]
            ends = await asyncio.gather(*changes, return_exceptions=True)
            won = [end for end in ends if isinstance(end, RoutingState)]
            lost = [end for end in ends if isinstance(end, Conflict)]
            assert (len(won), len(lost)) == (1, len(versions) - 1)
            assert await peers[-1].policies.state() == won[0]
            assert won[0].revision == revision + 1
            assert all(f"revision {revision + 1} " in conflict.message for conflict in lost)
        assert [line.revision for line in await peers[0].policies.history(before=None, limit=3)] == [3, 2, 1]

    async def test_drafts_made_at_once_are_numbered_without_a_gap(self, peers: Sequence[Storage], samples: Samples) -> None:
        made = await asyncio.gather(*(added(peers[number % len(peers)], samples) for number in range(12)))
        assert sorted(each.number for each in made) == list(range(1, 13))
        assert sorted(line.number for line in await peers[0].policies.history(before=None, limit=99)) == list(range(1, 13))

    async def test_a_draft_that_is_repeated_at_once_is_made_once(self, peers: Sequence[Storage], samples: Samples) -> None:
        made = await asyncio.gather(*(added(peers[number % len(peers)], samples, once=keyed()) for number in range(6)))
        assert made == [made[0]] * 6
        assert list(await peers[0].policies.list(after=None, limit=9)) == [made[0]]

    async def test_drafts_and_publishers_at_once_leave_one_history(self, peers: Sequence[Storage], samples: Samples) -> None:
        version = (await added(peers[0], samples)).version

        async def publish(peer: Storage) -> None:
            published = 0
            while published < 4:
                state = await peer.policies.state()
                try:
                    await peer.policies.change(routed(version), expected_revision=state.revision)
                except Conflict:
                    continue
                published += 1

        await asyncio.gather(*(publish(peer) for peer in peers), *(added(peer, samples) for peer in peers))
        lines = [*await peers[0].policies.history(before=None, limit=99)][::-1]
        assert [line.number for line in lines] == list(range(1, len(lines) + 1))
        assert [line.revision for line in lines if line.action == "publish"] == list(range(1, 4 * len(peers) + 1))
        assert [line.revision for line in lines] == sorted(line.revision for line in lines)


async def added(storage: Storage, samples: Samples, *, author: str = "key_1", once: Once | None = None) -> PolicyVersion:
    """A draft."""
    return await storage.policies.add(samples.ids.policy_version(), POLICY, author=author, note="", once=once)


async def follow(storage: Storage, *changes: NewState) -> None:
    """One change after another."""
    for new in changes:
        await storage.policies.change(new, expected_revision=(await storage.policies.state()).revision)


async def since(storage: Storage, new: NewState) -> float:
    """When the candidate's stage began, after this change."""
    await follow(storage, new)
    candidate = (await storage.policies.state()).candidate
    assert candidate is not None
    return candidate.since.timestamp()


async def statuses(storage: Storage) -> list[str]:
    """Of all versions, oldest first; the listing and each version by itself must agree."""
    listed = await storage.policies.list(after=None, limit=9)
    assert [await storage.policies.get(each.version) for each in listed] == list(listed)
    return [each.status for each in reversed(listed)]


def _with_shadow(new: NewState, shadow: str) -> NewState:
    return NewState(new.active, new.candidate_json, new.is_new_stage, shadow, new.kill, "shadow", shadow, new.actor)
