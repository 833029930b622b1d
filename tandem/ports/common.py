"""Time, and the append-only logs that everything else writes to and watches."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from pydantic import JsonValue

from tandem.ids import StreamId
from tandem.schemas.base import JsonObject
from tandem.schemas.events import Event


class Clock(Protocol):
    """Time comes in by argument."""

    def now(self) -> datetime:
        """Wall clock, UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds since some start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it has a sequence number."""

    type: str
    data: JsonObject = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class Appended:
    """A log grew: what a ``Notifier`` is told after the commit."""

    stream: StreamId
    last_seq: int


class EventLog(Protocol):
    """Reads the append-only logs; cost is that of the page, not of the history."""

    async def read(self, stream: StreamId, after: int, limit: int) -> Sequence[Event]:
        """Events with a sequence number above ``after``, oldest first, at most ``limit``. An unknown stream has none."""
        ...

    async def first_seq(self, stream: StreamId) -> int | None:
        """Oldest sequence number that is kept; None when no event is kept. A reader whose cursor is below it minus one has missed something."""
        ...

    async def last_seq(self, stream: StreamId) -> int:
        """Newest sequence number that is kept; -1 for an empty or unknown stream."""
        ...


class Notifier(Protocol):
    """Says "there is more" between processes; may lose words, so readers also poll."""

    async def notify(self, appended: Sequence[Appended]) -> None:
        """Best effort, bounded in time, never raises for an absent Redis."""
        ...

    def subscribe(self, stream: StreamId) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """Yields once for each wake-up of this stream; coalesces; never ends by itself."""
        ...

    async def is_up(self) -> bool: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Once:
    """Makes a creating call repeatable: sent again, it finds what the first one made."""

    scope: str
    """Method and path: the same key at another door is another key."""
    key: str
    """The caller's ``Idempotency-Key``, or one made of API key and fingerprint for a client that counts its retries."""
    fingerprint: str
    """Digest of the canonical body."""
    kind: Literal["key", "first", "retry"] = "key"
    """``key``: remembered for a day, refused with another body. Without a key, from a client that counts its retries: ``first`` always makes anew
    and is remembered for a minute; ``retry`` finds what the first one made within that minute."""
