"""Tools, and what a call may use of the job that makes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from pydantic import JsonValue

from tandem.errors import ToolFailed
from tandem.ids import JobId, KeyId, TenantId
from tandem.schemas.tools import ToolReport, ToolResult, ToolSpec


@dataclass(frozen=True, slots=True)
class ShelfFile:
    """A file that a job's tools may read."""

    name: str
    """Unique within the job."""
    media_type: str
    size: int
    """Bytes."""
    is_made: bool = False
    """The job made it; otherwise its caller brought it."""


class Shelf(Protocol):
    """The files of one job: what its caller brought and what its tools made."""

    async def files(self) -> Sequence[ShelfFile]:
        """Those brought first, each group oldest first."""
        ...

    async def read(self, name: str) -> bytes:
        """A file's bytes. Raises ``ToolFailed`` that names the files there are."""
        ...

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        """Keep a file as an artifact of the job; returns the name it got, which differs when another file has that one.

        Raises:
            ToolFailed: It is too large, or the job keeps too many files already.
            LeaseLost: The job has another owner.
        """
        ...


class EmptyShelf:
    """The shelf of a call without a job: nothing to read, nowhere to keep."""

    async def files(self) -> Sequence[ShelfFile]:
        return ()

    async def read(self, name: str) -> bytes:
        raise ToolFailed(f"there is no file {name!r}: this call has no files")

    async def keep(self, name: str, media_type: str, content: bytes) -> str:  # noqa: ARG002 - the port's signature
        raise ToolFailed(f"the file {name!r} cannot be kept: this call belongs to no job")


EMPTY_SHELF: Final = EmptyShelf()


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Who calls a tool, and for which job."""

    tenant: TenantId
    job_id: JobId
    call_id: str
    shelf: Shelf = field(default=EMPTY_SHELF)
    key_id: KeyId | None = None
    """The API key behind the job."""
    tainted_by: str = ""
    """Where words of strangers came into the job before this call; empty while there are none."""


class Tool(Protocol):
    """Something System 2 may use."""

    @property
    def spec(self) -> ToolSpec: ...

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        """Run once. What the model can repair comes back as ``ok=False``; only defects raise."""
        ...


class ToolBoard(Protocol):
    """Which tools the live workers offer."""

    async def report(self, worker: str, reports: Sequence[ToolReport]) -> None:
        """Replace what this worker said before; ``worker`` and ``seen_at`` of the reports are the board's to set."""
        ...

    async def read(self, fresh_s: float) -> Sequence[ToolReport]:
        """What was reported in the last ``fresh_s`` seconds, by tool name."""
        ...
