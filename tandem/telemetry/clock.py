"""The machine's clock, behind ``ports.Clock``. Leases never use it: they use the database's."""

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """Wall clock in UTC and the monotonic clock of this process."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
