"""How Tandem behaves towards the web's servers: it says who it is, asks few things of a host at a time, and waits when it is asked to."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

USER_AGENT: Final = "Mozilla/5.0 (compatible; Tandem/1)"
"""An honest name; many servers answer nothing to one that does not begin like a browser's."""


class HostSlots:
    """At most so many requests to a host at a time; a host without requests is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._hosts: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def of(self, host: str) -> AsyncGenerator[None]:
        """Hold one of the host's slots."""
        slots, users = self._hosts.get(host, (asyncio.Semaphore(self._most), 0))
        self._hosts[host] = slots, users + 1
        try:
            async with slots:
                yield
        finally:
            slots, users = self._hosts[host]
            if users == 1:
                del self._hosts[host]
            else:
                self._hosts[host] = slots, users - 1


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, not negative; None when it is missing or malformed."""
    if value is None:
        return None
    text = value.strip()
    # Longer ones ask for centuries; as an integer they may even be too large for a float.
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= 9 else math.inf
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
