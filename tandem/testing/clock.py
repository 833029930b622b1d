"""A clock that stands still until a test moves it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""What a ``FakeClock`` shows before it is moved."""


class FakeClock:
    """Implements ``Clock`` without waiting.

    Args:
        now: Wall clock at the start.
        auto_advance: ``sleep`` moves the clock itself and returns at once (for code that sleeps between tries). Otherwise a sleeper waits until
            ``advance`` has moved the clock past its moment (for code that must be seen waiting).

    ``sleeps`` lists the seconds of every ``sleep``, in order.
    """

    def __init__(self, now: datetime = START, *, auto_advance: bool = True) -> None:
        self._start = now
        self._elapsed_s = 0.0
        self._auto_advance = auto_advance
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        if self._auto_advance or seconds <= 0:
            self.advance(max(0.0, seconds))
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed_s + seconds, woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move the clock; sleepers whose moment has come run at the caller's next ``await``.

        Raises:
            ValueError: ``seconds`` is negative; a monotonic clock never goes back.
        """
        if seconds < 0:
            raise ValueError(f"seconds must be >= 0, got {seconds!r}; make another FakeClock to start earlier")
        self._elapsed_s += seconds
        due = [woken for at_s, woken in self._sleepers if at_s <= self._elapsed_s]
        self._sleepers = [(at_s, woken) for at_s, woken in self._sleepers if at_s > self._elapsed_s]
        for woken in due:
            if not woken.done():
                woken.set_result(None)
