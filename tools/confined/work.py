"""What the two sides of a confined piece of work say to each other; light, for the child imports it.

On the wire: one line of JSON (the request with the sizes of its parts), then the parts; back comes one line of JSON, then at most one part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]
"""A JSON object on its way through the pipe; each side reads out of it what it knows."""
Work = Callable[[Json, Sequence[bytes]], "Done"]
"""What a module that runs in the child has under the name ``work``."""

READY: Final = b"ready\n"
"""What a nest says when it has imported its module."""


class WorkRefused(Exception):
    """The work cannot be done with this content; worded for the model that asked for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """Stable, for the fault of the tool."""
        self.message = message
        """What is wrong and what to do instead."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    answer: Mapping[str, object]
    """Plain JSON."""
    part: bytes = b""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use."""

    seconds: float = 20.0
    """From start to end, waiting included; the processor's time is bounded by the same number."""
    memory_bytes: int = 1024 * 1024 * 1024
    """Address space."""
    output_bytes: int = 32 * 1024 * 1024
    """Longest answer, its part included."""
    file_bytes: int = 0
    """Largest file it may write."""
