"""An exported audit log can be checked without the database, and a change of the file is found."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tandem.errors import InvalidRequest
from tandem.ports import Storage
from tandem.schemas.audit import AuditEntry
from tandem.storage.audit_export import verify_export, write_export
from tandem.testing.samples import ALICE, BOB

AT = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
async def lines(storage: Storage) -> Sequence[str]:
    for number in range(4):
        await storage.audit.append(ALICE, AuditEntry(kind="tool_call", tool="sql", arguments={"query": f"选择 {number} \x00\ud800"}, seconds=0.1))
    await storage.audit.append(BOB, AuditEntry(kind="grant"))
    out = io.StringIO()
    assert (await write_export(storage.audit, ALICE, out, AT)).is_intact
    return out.getvalue().splitlines()


async def test_an_export_holds_and_has_the_head_of_the_log(storage: Storage, lines: Sequence[str]) -> None:
    verdict = verify_export(lines)
    assert verdict == await storage.audit.verify(ALICE)
    assert (verdict.checked, json.loads(lines[0])["tenant"], json.loads(lines[-1])["head"]) == (4, ALICE, verdict.head)
    assert verify_export(lines, kept_head=json.loads(lines[2])["hash"]).is_intact


async def test_an_empty_chain_can_be_exported(storage: Storage) -> None:
    out = io.StringIO()
    await write_export(storage.audit, BOB, out, AT)
    verdict = verify_export(out.getvalue().splitlines())
    assert (verdict.is_intact, verdict.checked) == (True, 0)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_line_that_is_left_out_is_found(lines: Sequence[str], at: int) -> None:
    assert not verify_export([*lines[:at], *lines[at + 1 :]]).is_intact


def test_an_edited_line_is_found(lines: Sequence[str]) -> None:
    verdict = verify_export([line.replace('"sql"', '"memory"') if number == 2 else line for number, line in enumerate(lines)])
    assert (verdict.is_intact, verdict.first_broken) == (False, 2)


def test_a_shorter_export_with_a_head_of_its_own_is_found_by_a_head_that_was_kept(lines: Sequence[str]) -> None:
    kept = json.loads(lines[4])["hash"]
    end = json.dumps({"object": "audit_head", "records": 3, "head": json.loads(lines[3])["hash"]})
    shorter = [*lines[:4], end]
    assert verify_export(shorter).is_intact
    assert not verify_export(shorter, kept_head=kept).is_intact


@pytest.mark.parametrize(("number", "line"), [(0, "{}"), (2, "{"), (2, "[1]"), (2, '{"object": "file"}'), (1, '{"object": "audit_record"}')])
def test_what_is_no_export_is_named_by_its_line(lines: Sequence[str], number: int, line: str) -> None:
    with pytest.raises(InvalidRequest, match=f"line {number + 1} "):
        verify_export([*lines[:number], line, *lines[number + 1 :]])


def test_nothing_may_stand_after_the_head(lines: Sequence[str]) -> None:
    with pytest.raises(InvalidRequest, match="after the head"):
        verify_export([*lines, lines[1]])
