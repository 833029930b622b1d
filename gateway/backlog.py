"""Records on their way to the database: kept while it is away, written in the order they were made once it is back."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Final, Generic, TypeVar

from tandem.errors import OperatorError
from tandem.telemetry import get_logger

MAX_KEPT: Final = 10_000
"""Records kept while the database is away; beyond it the oldest are dropped, and counted in the log."""
BATCH: Final = 500
"""Records of one transaction: a long outage's are not written in one go, which would hold up everybody's streams."""
T = TypeVar("T")
_log = get_logger(__name__)


class Backlog(Generic[T]):
    """What still has to be written of one kind. Its writer may be given a batch again of which it is unknown whether it was stored.

    Args:
        name: For the log.
        write: Raises ``OperatorError`` while the database cannot serve.
    """

    def __init__(self, name: str, write: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._name = name
        self._write = write
        self._kept: deque[T] = deque()
        self._dropped = 0
        self._is_away = False

    def add(self, records: Iterable[T]) -> None:
        self._kept.extend(records)
        while len(self._kept) > MAX_KEPT:
            self._kept.popleft()
            self._dropped += 1

    async def flush(self) -> list[T]:
        """What could be written; an outage is told once, and so is its end."""
        written: list[T] = []
        while self._kept:
            batch = list(islice(self._kept, BATCH))
            try:
                await self._write(batch)
            except OperatorError as error:
                if not self._is_away:
                    _log.warning("records_wait_for_database", records=self._name, count=len(self._kept), code=error.code)
                self._is_away = True
                break
            for _ in batch:
                self._kept.popleft()
            written += batch
        else:
            if self._is_away:
                _log.info("records_written_again", records=self._name, count=len(written), dropped=self._dropped)
            self._is_away, self._dropped = False, 0
        return written
