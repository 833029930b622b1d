"""The chain of hashes of an audit log: how a record is hashed, and whether records follow one another. Knows nothing of where they are kept.

A record's hash is SHA-256 over the previous hash and the canonical JSON (sorted keys, no spaces, ASCII) of everything else in the record as it was
written, so a record read with a newer program still has its hash.

Covered: a record that was changed, left out, doubled, or put elsewhere; with a head that was kept elsewhere, also an end that was cut off and a chain
that was written anew from some record on. Not covered: whoever can write to the database and to the place where heads are kept; a chain without any
kept head may have lost its newest records; what was never appended.
"""

import hashlib
from collections.abc import Mapping
from json import dumps
from typing import Final, cast

from pydantic import JsonValue

from tandem.schemas.audit import AuditVerdict
from tandem.schemas.base import JsonObject

GENESIS: Final = "0" * 64
"""The previous hash of a first record."""
_UNHASHED: Final = frozenset({"object", "previous_hash", "hash"})


def chained(seq: int, at: str, previous_hash: str, entry: Mapping[str, JsonValue]) -> JsonObject:
    """The whole record, with its hash."""
    record: JsonObject = {"seq": seq, "at": at, **entry, "previous_hash": previous_hash}
    return {"object": "audit_record", **record, "hash": hash_of(record)}


def hash_of(record: Mapping[str, JsonValue]) -> str:
    """What the hash of this record must be; its own ``hash`` is not looked at."""
    hashed = {name: value for name, value in record.items() if name not in _UNHASHED}
    text = dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(f"{record['previous_hash']}{text}".encode("ascii")).hexdigest()


class ChainReading:
    """Reads a chain from its beginning, record by record.

    Args:
        kept_head: Hash of a record that must be in it.
    """

    def __init__(self, kept_head: str | None = None) -> None:
        self._kept_head = kept_head
        self._has_kept_head = kept_head is None
        self._head: str | None = None
        self._checked = 0
        self._first_broken: int | None = None
        self._reason = ""

    @property
    def is_broken(self) -> bool:
        """There is no need to read on."""
        return self._first_broken is not None

    def read(self, record: Mapping[str, JsonValue]) -> None:
        """The next record."""
        self._checked += 1
        if fault := self._fault_of(record):
            self._first_broken, self._reason = self._checked, fault
            return
        self._head = cast("str", record["hash"])
        self._has_kept_head = self._has_kept_head or self._head == self._kept_head

    def _fault_of(self, record: Mapping[str, JsonValue]) -> str:
        if record["seq"] != self._checked:
            return f"record {self._checked} is missing: the next one says it is {record['seq']!r}"
        if record["previous_hash"] != (self._head or GENESIS):
            return f"record {self._checked} does not follow the one before it: one of the two was put in, left out or changed"
        if record["hash"] != hash_of(record):
            return f"record {self._checked} is not as it was written: its hash does not fit"
        return ""

    def verdict(self) -> AuditVerdict:
        """Of what has been read so far."""
        is_cut = self._first_broken is None and not self._has_kept_head
        reason = f"no record has the kept head {self._kept_head!r}: the end was cut off, or the chain written anew" if is_cut else self._reason
        return AuditVerdict(
            is_intact=self._first_broken is None and not is_cut,
            checked=self._checked,
            head=self._head,
            first_broken=self._first_broken,
            reason=reason,
        )
