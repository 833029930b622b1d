"""What every ``AuditLog`` must do: one chain per tenant, without gaps, that can be computed anew. Part of ``storage``.

That a changed chain is noticed needs a way around the port: ``tests/contract/test_audit_sql.py``.
"""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence
from typing import Final

from tandem.ids import JobId
from tandem.ports import Storage
from tandem.schemas.audit import AuditEntry, AuditRecord
from tandem.testing.samples import ALICE, BOB

FIRST_PREVIOUS: Final = "0" * 64
APPENDS: Final = 200
CALL: Final = AuditEntry(
    kind="tool_call",
    job_id="job_1",
    key_id="key_1",
    tool="web_fetch",
    call_id="call_1",
    arguments_digest="ab" * 32,
    arguments={"url": "https://例子.example/?q=\x00\ud800", "depth": 2, "ratio": 0.1, "big": 2**70},
    rule="known_host",
    outcome="ok",
    host="例子.example",
    bytes_in=2**40,
    seconds=1,
)
"""With all that might change on its way through a database."""


class AuditConformance:
    """The chain of records."""

    async def test_a_record_reads_back_as_it_was_written(self, storage: Storage) -> None:
        record = await storage.audit.append(ALICE, CALL)
        assert (record.seq, record.previous_hash, AuditEntry(**record.model_dump(include=set(AuditEntry.model_fields)))) == (1, FIRST_PREVIOUS, CALL)
        assert list(await storage.audit.read(ALICE, after=0, limit=10)) == [record]
        assert [AuditRecord.model_validate(line) async for line in storage.audit.export(ALICE)] == [record]

    async def test_each_record_follows_the_one_before(self, storage: Storage) -> None:
        records = [await storage.audit.append(ALICE, CALL) for _ in range(3)]
        assert [record.seq for record in records] == [1, 2, 3]
        assert [record.previous_hash for record in records[1:]] == [record.hash for record in records[:-1]]
        assert len({record.hash for record in records}) == 3

    async def test_tenants_have_chains_of_their_own(self, storage: Storage) -> None:
        assert list(await storage.audit.tenants()) == []
        await storage.audit.append(ALICE, CALL)
        theirs = await storage.audit.append(BOB, CALL)
        assert (theirs.seq, theirs.previous_hash) == (1, FIRST_PREVIOUS)
        assert list(await storage.audit.read(BOB, after=0, limit=10)) == [theirs]
        assert sorted(await storage.audit.tenants()) == sorted([ALICE, BOB])

    async def test_pages_follow_one_another(self, storage: Storage) -> None:
        records = [await storage.audit.append(ALICE, CALL) for _ in range(5)]
        first = await storage.audit.read(ALICE, after=0, limit=3)
        rest = await storage.audit.read(ALICE, after=first[-1].seq, limit=3)
        assert [*first, *rest] == records

    async def test_the_records_of_a_job_are_found(self, storage: Storage) -> None:
        await storage.audit.append(ALICE, CALL)
        other = await storage.audit.append(ALICE, AuditEntry(kind="tool_refused", job_id="job_2", decision="refused", rule="taint"))
        await storage.audit.append(ALICE, AuditEntry(kind="grant"))
        assert list(await storage.audit.read(ALICE, after=0, limit=10, job_id=JobId("job_2"))) == [other]
        assert list(await storage.audit.read(ALICE, after=other.seq, limit=10, job_id=JobId("job_2"))) == []
        assert list(await storage.audit.read(BOB, after=0, limit=10, job_id=JobId("job_2"))) == []

    async def test_an_untouched_chain_is_intact_and_tells_its_head(self, storage: Storage) -> None:
        empty = await storage.audit.verify(ALICE)
        assert (empty.is_intact, empty.checked, empty.head) == (True, 0, None)
        records = [await storage.audit.append(ALICE, CALL) for _ in range(3)]
        verdict = await storage.audit.verify(ALICE)
        assert (verdict.is_intact, verdict.checked, verdict.head, verdict.first_broken) == (True, 3, records[-1].hash, None)
        assert (await storage.audit.verify(ALICE, kept_head=records[1].hash)).is_intact

    async def test_a_chain_that_lacks_a_kept_head_is_not_intact(self, storage: Storage) -> None:
        await storage.audit.append(ALICE, CALL)
        theirs = await storage.audit.append(BOB, AuditEntry(kind="grant"))
        verdict = await storage.audit.verify(ALICE, kept_head=theirs.hash)
        assert (verdict.is_intact, verdict.first_broken) == (False, None)
        assert theirs.hash in verdict.reason

    async def test_appends_at_once_leave_no_gap_and_no_fork(self, peers: Sequence[Storage]) -> None:
        entries = [(peers[number % len(peers)], CALL.model_copy(update={"call_id": f"call_{number}"})) for number in range(APPENDS)]
        await asyncio.gather(*(peer.audit.append(ALICE, entry) for peer, entry in entries))
        records = await peers[0].audit.read(ALICE, after=0, limit=APPENDS + 1)
        assert [record.seq for record in records] == list(range(1, APPENDS + 1))
        assert {record.call_id for record in records} == {entry.call_id for _, entry in entries}
        verdict = await peers[0].audit.verify(ALICE)
        assert (verdict.is_intact, verdict.checked) == (True, APPENDS)
