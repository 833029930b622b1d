"""What comes back from a program, wherever it ran. Knows how an answer is spelled and believes none of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

Cause = Literal["ended", "time", "flood", "memory", "stopped"]


@dataclass(frozen=True, slots=True)
class Made:
    """A file that the program made."""

    name: str
    """As the program called it; to be cleaned before it names anything here."""
    content: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the program did not end well."""

    type: str
    message: str
    line: int | None = None
    where: str = ""
    """The library that failed, where that explains the failure."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a program."""

    cause: Cause
    status: int
    value: Any = None
    """Plain JSON data, of no promised size or truth."""
    fault: Fault | None = None
    printed: str = ""
    is_cut: bool = False
    files: Sequence[Made] = ()
    left_out: Sequence[str] = ()
    """Files that were too many or too large to come out."""
    has_replied: bool = False
    """Otherwise the program ended its interpreter, or crashed it."""


class ProgramRunner(Protocol):
    """Somewhere that programs can run."""

    async def run(self, code: str, files: Mapping[str, bytes]) -> Answer:
        """Run a program to its end or to a limit; cancelling ends it.

        Raises:
            SandboxUnavailable: It cannot be started (any more).
            BlockingIOError: Too many run already.
        """
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a reply that is JSON."""

    value: Any
    fault: Fault | None
    is_cut: bool
    left_out: Sequence[str]
    files: Sequence[tuple[str, object]]
    """Names, and what stands for the contents."""

    @classmethod
    def read(cls, text: bytes | str) -> "Head":
        """Raises ``ValueError`` for what no bootstrap writes: the program may have written it."""
        try:
            told = cast("dict[str, Any]", json.loads(text))
            files = [(str(name), stands_for) for name, stands_for in cast("list[tuple[object, object]]", told["files"])]
            left_out = [str(name) for name in cast("list[object]", told.get("left_out") or [])][:20]
            return cls(told["value"], _fault(told["error"]), bool(told.get("is_cut")), left_out, files)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"the reply has not the form of one: {error!r}") from error


def _fault(told: "dict[str, Any] | None") -> Fault | None:
    if told is None:
        return None
    line = told.get("line")
    return Fault(str(told["type"]), str(told["message"]), line if isinstance(line, int) else None, str(told.get("where", "")))
