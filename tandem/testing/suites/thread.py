"""What every ``ThreadStore`` must do: threads, messages and turns. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from tandem.errors import Conflict, IdempotencyKeyReused, NotFound
from tandem.ids import StreamId, TenantId, ThreadId, TurnId
from tandem.ports import NewEvent, Once, Storage, TurnWork
from tandem.schemas.events import ThreadEvent
from tandem.schemas.jobs import JobFailure
from tandem.testing.samples import ALICE, BOB, Samples
from tandem.testing.suites.job import LEASE_S, SHORT_LEASE_S, event_types, run_out

FAILURE: Final = JobFailure(code="model_unavailable", message="The model server is down.")


class ThreadConformance:
    """Conversations and the turns in them."""

    async def test_a_thread_reads_back_empty(self, storage: Storage, samples: Samples) -> None:
        thread = await storage.threads.create(samples.ids.thread(), ALICE, "Sums")
        assert await storage.threads.get(ThreadId(thread.id), ALICE) == thread
        assert (thread.title, thread.last_seq) == ("Sums", -1)
        assert await storage.threads.live_after(ThreadId(thread.id), ALICE) == -1

    async def test_another_tenants_thread_is_not_found(self, storage: Storage, samples: Samples) -> None:
        thread_id = ThreadId((await storage.threads.create(samples.ids.thread(), BOB, "Bob's")).id)
        turn_id = (await _begun(storage, samples, thread_id, tenant=BOB)).turn.id
        for read in (
            storage.threads.get(thread_id, ALICE),
            storage.threads.messages(thread_id, ALICE, after_seq=-1, limit=10),
            storage.threads.live_after(thread_id, ALICE),
            storage.threads.running_jobs(thread_id, ALICE),
            storage.threads.cancel_turn(TurnId(turn_id), thread_id, ALICE),
            _begun(storage, samples, thread_id),
        ):
            with pytest.raises(NotFound):
                await read
        assert not await storage.threads.list(ALICE, after=None, limit=10)

    async def test_threads_are_listed_newest_first_in_pages(self, storage: Storage, samples: Samples) -> None:
        made: list[str] = []
        for _ in range(5):
            made.append((await storage.threads.create(samples.ids.thread(), ALICE, "")).id)
            await asyncio.sleep(0.002)  # SQLite's clock ticks in milliseconds
        first = await storage.threads.list(ALICE, after=None, limit=3)
        rest = await storage.threads.list(ALICE, after=ThreadId(first[-1].id), limit=3)
        assert [thread.id for thread in [*first, *rest]] == made[::-1]
        with pytest.raises(NotFound):
            await storage.threads.list(BOB, after=ThreadId(made[0]), limit=3)

    async def test_a_turn_begins_with_the_users_message(self, storage: Storage, samples: Samples) -> None:
        work = await _new_turn(storage, samples, "How much is  2\n+ 3?")
        thread = await storage.threads.get(ThreadId(work.turn.thread_id), ALICE)
        assert (work.turn.status, work.user_message.role, work.user_message.seq, thread.last_seq) == ("running", "user", 0, 1)
        assert thread.title == "How much is 2 + 3?"
        assert await event_types(storage, thread.id) == [ThreadEvent.MESSAGE_CREATED, ThreadEvent.TURN_STARTED]
        assert list(await storage.threads.messages(ThreadId(thread.id), ALICE, after_seq=-1, limit=10)) == [work.user_message]

    async def test_a_long_first_message_gives_a_short_title(self, storage: Storage, samples: Samples) -> None:
        work = await _new_turn(storage, samples, "word " * 100)
        thread = await storage.threads.get(ThreadId(work.turn.thread_id), ALICE)
        assert thread.title.endswith("…")
        assert len(thread.title) <= 60

    async def test_a_completed_turn_has_its_answer_before_its_end(self, storage: Storage, samples: Samples) -> None:
        work = await _new_turn(storage, samples)
        turn_id, thread_id, message_id = TurnId(work.turn.id), ThreadId(work.turn.thread_id), samples.ids.message()
        await storage.threads.append(turn_id, [NewEvent(ThreadEvent.TEXT_DELTA, {"turn_id": turn_id, "delta": "5"})], LEASE_S)
        decision_id = samples.ids.decision()
        appended = await storage.threads.complete_turn(turn_id, message_id, "5", lane="fast", decision_id=decision_id, job_id=None)
        assert [(each.stream, each.last_seq) for each in appended] == [(thread_id, 4)]
        assert (await event_types(storage, thread_id))[2:] == [ThreadEvent.TEXT_DELTA, ThreadEvent.MESSAGE_CREATED, ThreadEvent.TURN_COMPLETED]
        answer = (await storage.threads.messages(thread_id, ALICE, after_seq=0, limit=10))[0]
        assert (answer.id, answer.content, answer.lane, answer.turn_id, answer.decision_id) == (message_id, "5", "fast", turn_id, decision_id)
        event = (await storage.events.read(StreamId(thread_id), 2, 1))[0]
        assert event.data == answer.model_dump(mode="json")

    async def test_an_ended_turn_takes_no_more_words(self, storage: Storage, samples: Samples) -> None:
        work = await _new_turn(storage, samples)
        turn_id, thread_id = TurnId(work.turn.id), ThreadId(work.turn.thread_id)
        turn, appended = await storage.threads.cancel_turn(turn_id, thread_id, ALICE)
        again, nothing = await storage.threads.cancel_turn(turn_id, thread_id, ALICE)
        assert (turn.status, len(appended), again, list(nothing)) == ("cancelled", 1, turn, [])
        with pytest.raises(Conflict):
            await storage.threads.append(turn_id, [NewEvent(ThreadEvent.TEXT_DELTA)], LEASE_S)
        with pytest.raises(Conflict):
            await storage.threads.complete_turn(turn_id, samples.ids.message(), "5", lane="fast", decision_id=None, job_id=None)
        assert not await storage.threads.fail_turn(turn_id, FAILURE)
        assert (await event_types(storage, thread_id))[-1] == ThreadEvent.TURN_CANCELLED

    async def test_a_thread_created_again_with_its_key_is_the_first_one(self, storage: Storage, samples: Samples) -> None:
        once = Once("POST /v1/threads", "k1", "digest")
        first = await storage.threads.create(samples.ids.thread(), ALICE, "Sums", once=once)
        assert await storage.threads.create(samples.ids.thread(), ALICE, "Sums", once=once) == first
        assert len(await storage.threads.list(ALICE, after=None, limit=10)) == 1
        with pytest.raises(IdempotencyKeyReused):
            await storage.threads.create(samples.ids.thread(), ALICE, "Other", once=replace(once, fingerprint="other"))
        assert (await storage.threads.create(samples.ids.thread(), BOB, "Bob's", once=once)).id != first.id

    async def test_a_message_sent_again_with_its_key_begins_no_second_turn(self, storage: Storage, samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await storage.threads.create(thread_id, ALICE, "")
        once = Once(f"POST /v1/threads/{thread_id}/messages", "k1", "digest")
        first = await _begun(storage, samples, thread_id, once=once)
        await storage.threads.cancel_turn(TurnId(first.turn.id), thread_id, ALICE)
        again = await _begun(storage, samples, thread_id, once=once)
        assert (again.is_replay, again.turn.id, again.turn.status, list(again.appended)) == (True, first.turn.id, "cancelled", [])
        assert (again.user_message, first.is_replay) == (first.user_message, False)
        assert len(await event_types(storage, thread_id)) == 3
        with pytest.raises(IdempotencyKeyReused):
            await _begun(storage, samples, thread_id, once=replace(once, fingerprint="other"))

    async def test_messages_sent_at_once_with_one_key_begin_one_turn(self, peers: Sequence[Storage], samples: Samples) -> None:
        thread_id = samples.ids.thread()
        await peers[0].threads.create(thread_id, ALICE, "")
        once = Once(f"POST /v1/threads/{thread_id}/messages", "k1", "digest")
        works = await asyncio.gather(*(_begun(peer, samples, thread_id, once=once) for peer in peers for _ in range(3)))
        assert len({work.turn.id for work in works}) == 1
        assert [work.is_replay for work in works].count(False) == 1
        assert len(await peers[0].threads.messages(thread_id, ALICE, after_seq=-1, limit=10)) == 1

    async def test_an_unknown_turn_is_not_found(self, storage: Storage, samples: Samples) -> None:
        with pytest.raises(NotFound):
            await storage.threads.append(samples.ids.turn(), [NewEvent(ThreadEvent.TEXT_DELTA)], LEASE_S)

    async def test_a_failed_turn_leaves_a_message_with_the_error(self, storage: Storage, samples: Samples) -> None:
        work = await _new_turn(storage, samples)
        await storage.threads.fail_turn(TurnId(work.turn.id), FAILURE)
        thread_id = ThreadId(work.turn.thread_id)
        message = (await storage.threads.messages(thread_id, ALICE, after_seq=0, limit=10))[0]
        assert (message.role, message.error, message.turn_id) == ("assistant", FAILURE, work.turn.id)
        failed = (await storage.events.read(StreamId(thread_id), 2, 10))[-1]
        assert (failed.type, failed.data["error"]) == (ThreadEvent.TURN_FAILED, FAILURE.model_dump())

    async def test_a_viewer_starts_before_the_oldest_unfinished_turn(self, storage: Storage, samples: Samples) -> None:
        first = await _new_turn(storage, samples)
        thread_id = ThreadId(first.turn.thread_id)
        second = await _begun(storage, samples, thread_id)
        assert await storage.threads.live_after(thread_id, ALICE) == -1
        await storage.threads.cancel_turn(TurnId(first.turn.id), thread_id, ALICE)
        assert await storage.threads.live_after(thread_id, ALICE) == second.user_message.seq - 1
        await storage.threads.cancel_turn(TurnId(second.turn.id), thread_id, ALICE)
        assert await storage.threads.live_after(thread_id, ALICE) == (await storage.threads.get(thread_id, ALICE)).last_seq

    async def test_turns_of_a_dead_gateway_fail_and_living_ones_go_on(self, storage: Storage, samples: Samples) -> None:
        dead, alive = await _new_turn(storage, samples, lease_s=SHORT_LEASE_S), await _new_turn(storage, samples, lease_s=SHORT_LEASE_S)
        await storage.threads.append(TurnId(alive.turn.id), [NewEvent(ThreadEvent.TEXT_DELTA)], LEASE_S)
        await run_out()
        appended = await storage.threads.fail_orphans()
        assert [(each.stream, each.last_seq) for each in appended] == [(dead.turn.thread_id, 3)]
        message = (await storage.threads.messages(ThreadId(dead.turn.thread_id), ALICE, after_seq=0, limit=10))[0]
        assert message.error is not None
        assert message.error.code == "turn_interrupted"
        assert not await storage.threads.fail_orphans()


async def _new_turn(storage: Storage, samples: Samples, content: str = "How much is 2 + 3?", lease_s: float = LEASE_S) -> TurnWork:
    thread_id = samples.ids.thread()
    await storage.threads.create(thread_id, ALICE, "")
    return await _begun(storage, samples, thread_id, content=content, lease_s=lease_s)


async def _begun(
    storage: Storage,
    samples: Samples,
    thread_id: ThreadId,
    *,
    tenant: str = ALICE,
    content: str = "And 4?",
    lease_s: float = LEASE_S,
    once: Once | None = None,
) -> TurnWork:
    return await storage.threads.begin_turn(thread_id, TenantId(tenant), samples.ids.turn(), samples.ids.message(), content, lease_s, once=once)
