"""What keys, the outbox and the schema must do in every ``Storage``. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

from typing import Final

import pytest

from tandem.errors import NotFound
from tandem.ids import StreamId
from tandem.ports import Answered, Delivery, Storage
from tandem.testing.samples import ALICE, Samples
from tandem.testing.suites.job import LEASE_S, MANY, SHORT_LEASE_S, run_out

OK: Final = Answered("http_200", 200)
BUSY: Final = Answered("http_503", 503)
GONE: Final = Answered("http_410", 410)


class KeyConformance:
    """API keys."""

    async def test_a_key_is_found_with_its_digest(self, storage: Storage, samples: Samples) -> None:
        key_id = samples.ids.key()
        key = await storage.keys.add(key_id, ALICE, "laptop", ["chat", "jobs:read"], b"\x00digest\xff")
        assert await storage.keys.find(key_id) == (key, b"\x00digest\xff")
        assert (key.tenant, key.name, key.scopes, key.revoked_at) == (ALICE, "laptop", ["chat", "jobs:read"], None)
        assert list(await storage.keys.list()) == [key]

    async def test_a_revoked_key_stays_revoked_since_the_first_time(self, storage: Storage, samples: Samples) -> None:
        key_id = samples.ids.key()
        await storage.keys.add(key_id, ALICE, "laptop", ["chat"], b"digest")
        revoked = await storage.keys.revoke(key_id)
        assert revoked.revoked_at is not None
        assert await storage.keys.revoke(key_id) == revoked
        assert await storage.keys.find(key_id) == (revoked, b"digest")

    async def test_an_unknown_key_is_none_or_not_found(self, storage: Storage, samples: Samples) -> None:
        assert await storage.keys.find(samples.ids.key()) is None
        with pytest.raises(NotFound):
            await storage.keys.revoke(samples.ids.key())


class OutboxConformance:
    """Webhook deliveries."""

    async def test_a_claimed_delivery_is_nobody_elses_while_its_lease_holds(self, storage: Storage, samples: Samples) -> None:
        await _claimed(storage, samples)
        assert not await storage.outbox.claim(10, LEASE_S)

    async def test_a_delivery_whose_dispatcher_died_is_claimed_again(self, storage: Storage, samples: Samples) -> None:
        await _put(storage, samples)
        (first,) = await storage.outbox.claim(10, SHORT_LEASE_S)
        await run_out()
        (second,) = await storage.outbox.claim(10, LEASE_S)
        assert (second.id, second.body, first.attempt, second.attempt) == (first.id, first.body, 1, 2)

    async def test_a_claim_takes_at_most_the_limit(self, storage: Storage, samples: Samples) -> None:
        for _ in range(3):
            await _put(storage, samples)
        assert [len(await storage.outbox.claim(2, LEASE_S)) for _ in range(3)] == [2, 1, 0]

    async def test_a_delivered_and_a_failed_one_are_never_due_again(self, storage: Storage, samples: Samples) -> None:
        await _put(storage, samples)
        await _put(storage, samples)
        good, bad = await storage.outbox.claim(10, SHORT_LEASE_S)
        await storage.outbox.succeed(good, OK)
        await storage.outbox.give_up(bad, GONE, disable_after_s=LEASE_S)
        await run_out()
        assert not await storage.outbox.claim(10, LEASE_S)
        assert await storage.outbox.counts() == {"pending": 0, "delivered": 1, "failed": 1}

    async def test_a_retried_delivery_is_due_after_its_wait(self, storage: Storage, samples: Samples) -> None:
        delivery = await _claimed(storage, samples)
        await storage.outbox.retry(delivery, LEASE_S, BUSY, disable_after_s=LEASE_S)
        assert not await storage.outbox.claim(10, LEASE_S)
        await storage.outbox.retry(delivery, 0.0, BUSY, disable_after_s=LEASE_S)
        assert [each.attempt for each in await storage.outbox.claim(10, LEASE_S)] == [2]

    async def test_a_late_dispatcher_cannot_undo_its_successors_work(self, storage: Storage, samples: Samples) -> None:
        await _put(storage, samples)
        (late,) = await storage.outbox.claim(10, SHORT_LEASE_S)
        await run_out()
        (current,) = await storage.outbox.claim(10, LEASE_S)
        await storage.outbox.retry(late, 0.0, BUSY, disable_after_s=LEASE_S)
        await storage.outbox.give_up(late, BUSY, disable_after_s=LEASE_S)
        assert not await storage.outbox.claim(10, LEASE_S)
        await storage.outbox.succeed(current, OK)
        assert await storage.outbox.counts() == {"pending": 0, "delivered": 1, "failed": 0}


class SchemaConformance:
    """The state of the schema, and closing."""

    async def test_a_migrated_database_is_checked_and_can_be_migrated_again(self, storage: Storage) -> None:
        await storage.migrate()
        await storage.check()

    async def test_an_unknown_log_is_empty(self, storage: Storage, samples: Samples) -> None:
        from_nowhere = StreamId(samples.ids.job())
        assert (list(await storage.events.read(from_nowhere, -1, 10)), await storage.events.last_seq(from_nowhere)) == ([], -1)


async def _put(storage: Storage, samples: Samples) -> None:
    new = samples.job(webhook_url="https://example.org/hook")
    await storage.jobs.create(new, max_unfinished=MANY)
    await storage.jobs.request_cancel(new.id, ALICE)


async def _claimed(storage: Storage, samples: Samples) -> Delivery:
    await _put(storage, samples)
    (delivery,) = await storage.outbox.claim(10, LEASE_S)
    return delivery
