"""Files that a job keeps: what its tools make on the way, and what a finished job leaves (the program that found the answer, or the answer itself).

A step that is run again after a crash keeps the same bytes under the same name once. Knows nothing of the files that the job's caller brought; whose
names those are, and that they are not used again, is ``shelf.py``'s.
"""

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Final

from slow_worker.fences import is_python
from slow_worker.progress import Progress
from slow_worker.workspace import Task, Try
from tandem.errors import ToolFailed
from tandem.file_names import ANY_BYTES, clean_name, media_type_of, names_like
from tandem.ids import ArtifactId, IdFactory, JobId
from tandem.ports import JobWork, NewArtifact
from tandem.schemas.jobs import Artifact, JobResult
from tandem.telemetry import get_logger

MAX_ARTIFACTS: Final = 50
"""Files of one job."""
_UNTOLD: Final = frozenset({ANY_BYTES, "text/plain"})
"""What the bytes are taken for when they tell nothing more."""


@dataclass(frozen=True, slots=True)
class Made:
    """A file before it is kept."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The files of one claimed job."""

    work: JobWork
    progress: Progress
    ids: IdFactory
    job_id: JobId
    epoch: int
    max_bytes: int
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)
    """Calls beside one another choose names one after the other."""

    async def keep(self, made: Made) -> None:
        """Keep what the finished job leaves; a file that cannot be kept is left out, for its text is in the answer. Raises ``LeaseLost``."""
        try:
            await self.add(made)
        except ToolFailed as refusal:
            get_logger(__name__).warning("artifact_left_out", name=made.name, bytes=len(made.content), reason=refusal.message)

    async def add(self, made: Made, *, taken: Container[str] = ()) -> str:
        """Keep a file under its name or, where that is taken by other bytes, under the next one like it; returns the name.

        Raises:
            ToolFailed: It is too large, or the job keeps too many files.
            LeaseLost: The job has another owner.
        """
        wanted, size = clean_name(made.name), len(made.content)
        if size > self.max_bytes:
            raise ToolFailed(f"the file {wanted!r} has {size} bytes and at most {self.max_bytes} are kept; make it smaller, or write a part of it")
        async with self._turn:
            known = {artifact.name: artifact for artifact in await self.listed()}
            name = wanted
            for name in names_like(wanted):
                if name in known and await self._is_same(known[name], made.content):
                    return name
                if name not in known and name not in taken:
                    break
            if len(known) >= MAX_ARTIFACTS:
                raise ToolFailed(f"the job keeps {len(known)} files already, the most there may be; put what belongs together into one file")
            new = NewArtifact(self.ids.artifact(), name, _media_type(name, made), made.content)
            _, appended = await self.work.add_artifact(self.job_id, self.epoch, new)
        await self.progress.told(appended)
        return name

    async def listed(self) -> Sequence[Artifact]:
        """Oldest first."""
        return await self.work.artifacts(self.job_id)

    async def content(self, artifact: Artifact) -> bytes:
        return await self.work.artifact_content(self.job_id, ArtifactId(artifact.id))

    async def _is_same(self, known: Artifact, content: bytes) -> bool:
        return known.size == len(content) and await self.content(known) == content


def files_of(task: Task, result: JobResult, supporters: list[Try]) -> list[Made]:
    """What a complete answer leaves behind."""
    match task.kind:
        case "math" | "choice":
            program = next((attempt.program for attempt in supporters if attempt.program), None)
            return [_text("program.py", "text/x-python", program)] if program else []
        case "json":
            return [_text("answer.json", "application/json", result.output_text)]
        case "code":
            code, shown = str(result.answer), result.output_text
            return [_text("answer.py", "text/x-python", code) if is_python(code, shown) else _text("answer.txt", "text/plain", code)]
        case "open":
            return [_text("answer.md", "text/markdown", result.output_text)]


def _text(name: str, media_type: str, text: str) -> Made:
    return Made(name, media_type, text.encode())


def _media_type(name: str, made: Made) -> str:
    """What the bytes and the name say; what the tool says only where those tell nothing, and never that it is an image."""
    seen = media_type_of(name, made.content)
    return made.media_type if seen in _UNTOLD and made.media_type and not made.media_type.startswith("image/") else seen
