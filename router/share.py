"""The share of slow requests that a policy's cap is held against. Knows nothing of policies."""

from collections import deque
from typing import Final

from tandem.schemas.routing import CALLER_SOURCES, Lane, OverrideSource

WINDOW: Final = 400
"""Requests looked back on: few enough to follow a busy hour, many enough that chance moves the share by 2.5 points at most (one standard error)."""
LEAST: Final = 50
"""Fewer say nothing of the traffic, so that the first slow request of a quiet gateway is not capped."""


class SlowShare:
    """Counts the lanes of the newest requests that the caller left open (``auto``). One per gateway process, or per replay."""

    def __init__(self, window: int = WINDOW, least: int = LEAST) -> None:
        self._lanes: deque[bool] = deque(maxlen=window)
        self._slow = 0
        self._least = least

    def add(self, lane: Lane, override: OverrideSource | None) -> None:
        """Count a decision, if the caller left it open."""
        if override in CALLER_SOURCES:
            return
        if len(self._lanes) == self._lanes.maxlen:
            self._slow -= self._lanes[0]
        self._lanes.append(lane == "slow")
        self._slow += lane == "slow"

    @property
    def value(self) -> float | None:
        """The share, 0..1; None while there are too few."""
        return self._slow / len(self._lanes) if len(self._lanes) >= self._least else None
