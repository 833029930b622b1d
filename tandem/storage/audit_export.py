"""The audit log as a file: JSON lines that can be checked without the database.

The first line says whose chain it is, then comes each record as it was written, and the last line is the head. Covered: whatever ``audit_chain.py``
covers, and a file that was cut. Not covered: whoever writes the file anew; keep the head, or the file's own digest, elsewhere.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, TextIO, cast

from pydantic import JsonValue

from tandem.errors import InvalidRequest
from tandem.ids import TenantId
from tandem.ports import AuditLog
from tandem.schemas.audit import AuditVerdict
from tandem.schemas.base import JsonObject
from tandem.storage.audit_chain import ChainReading

_OPENING: Final = "audit_export"
_RECORD: Final = "audit_record"
_HEAD: Final = "audit_head"
_FORMAT: Final = 1


async def write_export(log: AuditLog, tenant: TenantId, out: TextIO, now: datetime) -> AuditVerdict:
    """Write a tenant's whole chain; memory stays that of a page. The verdict is of what was written, which is the whole also when it is broken."""
    _write_line(out, {"object": _OPENING, "format": _FORMAT, "tenant": tenant, "exported_at": now.isoformat()})
    reading, count = ChainReading(), 0
    async for record in log.export(tenant):
        _write_line(out, record)
        count += 1
        if not reading.is_broken:
            reading.read(record)
    verdict = reading.verdict()
    _write_line(out, {"object": _HEAD, "records": count, "head": verdict.head, "is_intact": verdict.is_intact})
    return verdict


def verify_export(lines: Iterable[str], *, kept_head: str | None = None) -> AuditVerdict:
    """Whether an exported chain holds and is whole.

    Raises:
        InvalidRequest: It is no export, or a line is no JSON; the message names the line.
    """
    reading = ChainReading(kept_head)
    end: JsonObject | None = None
    for number, line in enumerate(lines, start=1):
        parsed = _parsed(line, number)
        if number == 1:
            _check_opening(parsed)
        elif parsed.get("object") == _HEAD and end is None:
            end = parsed
        elif end is not None:
            raise InvalidRequest(f"line {number} stands after the head, which ends an export; was something appended to the file?")
        elif not reading.is_broken:
            reading.read(_as_record(parsed, number))
    if end is None:
        reason = "the file has no head as its last line: its end was cut off, or the export did not finish"
        return reading.verdict().model_copy(update={"is_intact": False, "reason": reading.verdict().reason or reason})
    return _against(end, reading)


def _against(end: JsonObject, reading: ChainReading) -> AuditVerdict:
    verdict = reading.verdict()
    if verdict.is_intact and (end.get("records"), end.get("head")) != (verdict.checked, verdict.head):
        reason = f"the last line speaks of {end.get('records')!r} records up to {end.get('head')!r}, and the file has {verdict.checked}"
        return verdict.model_copy(update={"is_intact": False, "reason": f"{reason} up to {verdict.head!r}"})
    return verdict


def _write_line(out: TextIO, line: Mapping[str, JsonValue]) -> None:
    out.write(json.dumps(line, ensure_ascii=True, allow_nan=False) + "\n")


def _parsed(line: str, number: int) -> JsonObject:
    try:
        parsed: object = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"line {number} is no JSON; give a file that `tandem tools audit export` has written") from None
    if not isinstance(parsed, dict):
        raise InvalidRequest(f"line {number} is no JSON object; give a file that `tandem tools audit export` has written")
    return cast("JsonObject", parsed)


def _check_opening(parsed: JsonObject) -> None:
    if parsed.get("object") != _OPENING or parsed.get("format") != _FORMAT:
        raise InvalidRequest(f"line 1 does not open an export of format {_FORMAT}; give a file that `tandem tools audit export` has written")


def _as_record(parsed: JsonObject, number: int) -> JsonObject:
    if parsed.get("object") != _RECORD or not all(name in parsed for name in ("seq", "previous_hash", "hash")):
        raise InvalidRequest(f"line {number} is no record of an audit log; give a file that `tandem tools audit export` has written")
    return parsed
