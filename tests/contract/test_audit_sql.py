"""Whoever changes the audit log in the database is found out, and what workers said long ago is forgotten."""
# ruff: noqa: S608 - the tests forge rows with words of their own

from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import text

from tandem.ports import Storage, Swept
from tandem.schemas.audit import AuditEntry, AuditRecord, AuditVerdict
from tandem.settings import DatabaseSettings
from tandem.storage.engine import Database
from tandem.testing.samples import ALICE, BOB
from tandem.testing.suites.tool_board import reported

LENGTH = 6


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, DatabaseSettings(synchronous="normal"))
    yield database
    await database.close()


@pytest.fixture
async def records(storage: Storage) -> Sequence[AuditRecord]:
    return [await storage.audit.append(ALICE, AuditEntry(kind="tool_call", job_id=f"job_{number % 2}", tool="sql")) for number in range(LENGTH)]


async def _forged(database: Database, storage: Storage, *statements: str, kept_head: str | None = None) -> AuditVerdict:
    for statement in statements:
        await database.write(lambda connection, statement=statement: connection.execute(text(statement)))
    return await storage.audit.verify(ALICE, kept_head=kept_head)


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize(
    "edit",
    [
        """entry = replace(CAST(entry AS TEXT), '"sql"', '"memory"')""",
        "at = '2001-01-01T00:00:00Z'",
        "job_id = 'job_9'",
        f"hash = '{'ab' * 32}'",
        f"previous_hash = '{'ab' * 32}'",
    ],
)
async def test_an_edited_record_is_found(storage: Storage, database: Database, edit: str) -> None:
    if not database.is_sqlite and edit.startswith("entry"):
        edit = "entry = CAST(" + edit.removeprefix("entry = ") + " AS JSON)"
    verdict = await _forged(database, storage, f"UPDATE audit_log SET {edit} WHERE seq = 3")
    assert (verdict.is_intact, verdict.first_broken) == (False, 3)
    assert "record 3" in verdict.reason


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("seq", [1, 3])
async def test_a_deleted_record_is_found(storage: Storage, database: Database, seq: int) -> None:
    verdict = await _forged(database, storage, f"DELETE FROM audit_log WHERE seq = {seq}")
    assert (verdict.is_intact, verdict.first_broken) == (False, seq)


@pytest.mark.usefixtures("records")
async def test_a_deleted_record_is_found_also_where_the_others_move_up(storage: Storage, database: Database) -> None:
    moves = [f"UPDATE audit_log SET seq = {seq - 1} WHERE seq = {seq}" for seq in range(4, LENGTH + 1)]
    verdict = await _forged(database, storage, "DELETE FROM audit_log WHERE seq = 3", *moves)
    assert (verdict.is_intact, verdict.first_broken) == (False, 3)


@pytest.mark.usefixtures("records")
async def test_swapped_records_are_found(storage: Storage, database: Database) -> None:
    swap = [f"UPDATE audit_log SET seq = {new} WHERE seq = {old}" for old, new in ((3, 99), (4, 3), (99, 4))]
    verdict = await _forged(database, storage, *swap)
    assert (verdict.is_intact, verdict.first_broken) == (False, 3)


async def test_a_cut_tail_is_found_by_a_head_that_was_kept(storage: Storage, database: Database, records: Sequence[AuditRecord]) -> None:
    cut = f"DELETE FROM audit_log WHERE seq > {LENGTH - 2}"
    verdict = await _forged(database, storage, cut, kept_head=records[-1].hash)
    assert (verdict.is_intact, verdict.first_broken, verdict.checked) == (False, None, LENGTH - 2)
    assert "cut off" in verdict.reason
    assert (await storage.audit.verify(ALICE, kept_head=records[1].hash)).is_intact


@pytest.mark.usefixtures("records")
async def test_a_chain_that_was_written_anew_is_found_by_a_head_that_was_kept(storage: Storage, database: Database) -> None:
    head = (await storage.audit.verify(ALICE)).head
    await database.write(lambda connection: connection.execute(text("DELETE FROM audit_log")))
    for _ in range(LENGTH):
        await storage.audit.append(ALICE, AuditEntry(kind="tool_call", tool="nothing_to_see"))
    assert (await storage.audit.verify(ALICE)).is_intact
    assert not (await storage.audit.verify(ALICE, kept_head=head)).is_intact


@pytest.mark.usefixtures("records")
async def test_a_record_of_another_tenant_does_not_fit(storage: Storage, database: Database) -> None:
    for _ in range(3):
        await storage.audit.append(BOB, AuditEntry(kind="grant"))
    moved = f"UPDATE audit_log SET tenant = '{ALICE}' WHERE tenant = '{BOB}' AND seq = 3"
    verdict = await _forged(database, storage, f"DELETE FROM audit_log WHERE tenant = '{ALICE}' AND seq = 3", moved)
    assert (verdict.is_intact, verdict.first_broken) == (False, 3)


async def test_the_words_of_a_dead_worker_are_swept_after_a_day(storage: Storage, database: Database) -> None:
    await storage.tools.report("dead", [reported("calculator"), reported("python")])
    await storage.tools.report("alive", [reported("calculator")])
    await database.write(lambda connection: connection.execute(text("UPDATE tool_reports SET seen_at = seen_at - 86401 WHERE worker = 'dead'")))
    assert await storage.retention.sweep() == Swept(tool_reports=2)
    assert await storage.retention.sweep() == Swept()
    assert [report.worker for report in await storage.tools.read(1e9)] == ["alive"]


async def test_what_a_worker_of_another_version_said_does_not_hide_the_others(storage: Storage, database: Database) -> None:
    await storage.tools.report("newer", [reported("calculator")])
    await storage.tools.report("same", [reported("calculator")])
    await database.write(lambda connection: connection.execute(text("UPDATE tool_reports SET spec = '{\"new\": 1}' WHERE worker = 'newer'")))
    assert [report.worker for report in await storage.tools.read(1e9)] == ["same"]
