"""What every ``MemoryStore`` must do: keep facts with where they came from. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence
from typing import Final

import pytest

from tandem.errors import NotFound, TooManyRequests
from tandem.ids import MemoryId, TenantId
from tandem.ports import Storage
from tandem.schemas.memories import Memory, Provenance
from tandem.testing.samples import ALICE, BOB, Samples
from tandem.testing.suites.job import MANY

SAID: Final = Provenance(key_id="key_1", origin="caller")
READ: Final = Provenance(job_id="job_1", origin="untrusted", source="https://example.org/a")


async def _remembered(storage: Storage, samples: Samples, text: str, provenance: Provenance = SAID, *, tenant: TenantId = ALICE) -> Memory:
    return await storage.memories.add(samples.ids.memory(), tenant, text, provenance, max_memories=MANY)


class MemoryConformance:
    """Memories of a tenant."""

    async def test_a_memory_reads_back_with_where_it_came_from(self, storage: Storage, samples: Samples) -> None:
        memory = await _remembered(storage, samples, "客户住在柏林 😀", READ)
        assert (memory.text, memory.provenance) == ("客户住在柏林 😀", READ)
        assert await storage.memories.get(MemoryId(memory.id), ALICE) == memory

    async def test_the_same_words_are_kept_once_with_their_first_origin(self, storage: Storage, samples: Samples) -> None:
        first = await _remembered(storage, samples, "The sky is green.", READ)
        assert await _remembered(storage, samples, "The sky is green.", SAID) == first
        theirs = await _remembered(storage, samples, "The sky is green.", SAID, tenant=BOB)
        assert theirs.id != first.id
        assert list(await storage.memories.list(ALICE, after=None, limit=MANY)) == [first]

    async def test_the_same_words_at_once_are_one_memory(self, peers: Sequence[Storage], samples: Samples) -> None:
        made = await asyncio.gather(*(_remembered(peer, samples, "once") for peer in peers for _ in range(3)))
        assert len({memory.id for memory in made}) == 1

    async def test_the_newest_come_first_and_pages_follow_one_another(self, storage: Storage, samples: Samples) -> None:
        memories = [await _remembered(storage, samples, f"fact {number}") for number in range(5)]
        first = await storage.memories.list(ALICE, after=None, limit=3)
        rest = await storage.memories.list(ALICE, after=MemoryId(first[-1].id), limit=3)
        assert [*first, *rest] == memories[::-1]
        with pytest.raises(NotFound, match="next_after"):
            await storage.memories.list(ALICE, after=samples.ids.memory(), limit=3)

    async def test_another_tenant_finds_none_of_them(self, storage: Storage, samples: Samples) -> None:
        memory_id = MemoryId((await _remembered(storage, samples, "mine")).id)
        for attempt in (storage.memories.get, storage.memories.delete):
            with pytest.raises(NotFound, match=memory_id):
                await attempt(memory_id, BOB)
        with pytest.raises(NotFound):
            await storage.memories.list(BOB, after=memory_id, limit=3)
        assert not await storage.memories.list(BOB, after=None, limit=MANY)
        assert await storage.memories.get(memory_id, ALICE)

    async def test_a_deleted_memory_is_gone(self, storage: Storage, samples: Samples) -> None:
        memory_id = MemoryId((await _remembered(storage, samples, "wrong")).id)
        await storage.memories.delete(memory_id, ALICE)
        for attempt in (storage.memories.get, storage.memories.delete):
            with pytest.raises(NotFound, match=memory_id):
                await attempt(memory_id, ALICE)

    async def test_there_is_a_limit_for_each_tenant(self, storage: Storage, samples: Samples) -> None:
        await _remembered(storage, samples, "one")
        await _remembered(storage, samples, "two")
        with pytest.raises(TooManyRequests, match="2 are allowed"):
            await storage.memories.add(samples.ids.memory(), ALICE, "three", SAID, max_memories=2)
        known = await storage.memories.add(samples.ids.memory(), ALICE, "two", SAID, max_memories=2)
        assert known.text == "two"
        await storage.memories.add(samples.ids.memory(), BOB, "three", SAID, max_memories=2)
