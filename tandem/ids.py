"""Identifiers: one type per kind, one factory, time-ordered.

An id is ``<prefix>_<26 characters>``: 48 bits of milliseconds since 1970 and 80 random bits in Crockford base 32 (the ULID layout), so ids
sort by creation and serve as listing cursors. This module knows nothing of who stores them.
"""

import os
import re
from collections.abc import Callable
from typing import Final, NewType

TenantId = NewType("TenantId", str)
KeyId = NewType("KeyId", str)
JobId = NewType("JobId", str)
ThreadId = NewType("ThreadId", str)
TurnId = NewType("TurnId", str)
MessageId = NewType("MessageId", str)
DecisionId = NewType("DecisionId", str)
DeliveryId = NewType("DeliveryId", str)
ResponseId = NewType("ResponseId", str)
EndpointId = NewType("EndpointId", str)
ScheduleId = NewType("ScheduleId", str)
InputId = NewType("InputId", str)
SteerId = NewType("SteerId", str)
ArtifactId = NewType("ArtifactId", str)
PolicyVersionId = NewType("PolicyVersionId", str)
OutcomeId = NewType("OutcomeId", str)
FileId = NewType("FileId", str)
MemoryId = NewType("MemoryId", str)
StreamId = NewType("StreamId", str)
"""The owner of an event log: a ``JobId`` or a ``ThreadId``."""

DEFAULT_TENANT: Final = TenantId("default")

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_PATTERN: Final = re.compile(r"[a-z]{2,5}_[0-9a-hjkmnp-tv-z]{26}")


def is_id(text: str, prefix: str) -> bool:
    """Whether ``text`` has the shape of an id with this prefix."""
    return text.startswith(f"{prefix}_") and _ID_PATTERN.fullmatch(text) is not None


class IdFactory:
    """Makes ids; the clock and the source of randomness come in by argument.

    Args:
        now_ms: Milliseconds since 1970-01-01 UTC.
        random_bytes: Returns that many random bytes.
    """

    def __init__(self, now_ms: Callable[[], int], random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._now_ms = now_ms
        self._random_bytes = random_bytes

    def _new(self, prefix: str) -> str:
        value = (self._now_ms() & (2**48 - 1)) << 80 | int.from_bytes(self._random_bytes(10), "big")
        digits = [_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5)]
        return f"{prefix}_{''.join(digits)}"

    def job(self) -> JobId:
        return JobId(self._new("job"))

    def thread(self) -> ThreadId:
        return ThreadId(self._new("thr"))

    def turn(self) -> TurnId:
        return TurnId(self._new("trn"))

    def message(self) -> MessageId:
        return MessageId(self._new("msg"))

    def decision(self) -> DecisionId:
        return DecisionId(self._new("dec"))

    def delivery(self) -> DeliveryId:
        return DeliveryId(self._new("dlv"))

    def key(self) -> KeyId:
        return KeyId(self._new("key"))

    def response(self) -> ResponseId:
        return ResponseId(self._new("resp"))

    def endpoint(self) -> EndpointId:
        return EndpointId(self._new("whe"))

    def schedule(self) -> ScheduleId:
        return ScheduleId(self._new("sch"))

    def input(self) -> InputId:
        return InputId(self._new("inp"))

    def steer(self) -> SteerId:
        return SteerId(self._new("str"))

    def artifact(self) -> ArtifactId:
        return ArtifactId(self._new("art"))

    def policy_version(self) -> PolicyVersionId:
        return PolicyVersionId(self._new("pol"))

    def outcome(self) -> OutcomeId:
        return OutcomeId(self._new("out"))

    def file(self) -> FileId:
        """OpenAI's clients know a file by ``file_…``."""
        return FileId(self._new("file"))

    def memory(self) -> MemoryId:
        return MemoryId(self._new("mem"))
