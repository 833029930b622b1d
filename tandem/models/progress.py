"""What a model download reports, and a reporter that writes plain lines.

A reporter is any callable that takes a ``FetchStep``; bars belong to whoever owns the terminal.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO


@dataclass(frozen=True, slots=True)
class FetchStep:
    """Where a fetch stands."""

    model: str
    activity: str
    """What is being done, with the source: ``downloading https://…``, ``verifying …``, ``waiting for another process …``."""
    done_bytes: int
    total_bytes: int


class Progress(Protocol):
    """Told of every step, often; must be quick and not raise."""

    def __call__(self, step: FetchStep, /) -> None: ...


class LineProgress:
    """Writes a line when the activity changes, when it is done, and otherwise at most every ``every_s`` seconds: for logs."""

    def __init__(self, stream: TextIO, monotonic: Callable[[], float] = time.monotonic, every_s: float = 5.0) -> None:
        self._stream = stream
        self._monotonic = monotonic
        self._every_s = every_s
        self._activity = ""
        self._next_s = 0.0

    def __call__(self, step: FetchStep, /) -> None:
        now_s = self._monotonic()
        is_done = step.done_bytes >= step.total_bytes
        if step.activity == self._activity and not is_done and now_s < self._next_s:
            return
        self._activity, self._next_s = step.activity, now_s + self._every_s
        share = 100 * step.done_bytes // step.total_bytes if step.total_bytes else 100
        self._stream.write(f"{step.model}: {step.activity}: {share} % of {step.total_bytes / 1e6:.0f} MB\n")
        self._stream.flush()
