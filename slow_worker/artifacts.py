"""Files a finished job leaves: the program that found the answer, or the answer itself in a form of its own."""

from dataclasses import dataclass

from slow_worker.fences import is_python
from slow_worker.progress import Progress
from slow_worker.workspace import Task, Try
from tandem.ids import IdFactory, JobId
from tandem.ports import JobWork, NewArtifact
from tandem.schemas.jobs import JobResult
from tandem.telemetry import get_logger


@dataclass(frozen=True, slots=True)
class Made:
    """A file before it is kept."""

    name: str
    media_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The files of one claimed job."""

    work: JobWork
    progress: Progress
    ids: IdFactory
    job_id: JobId
    epoch: int
    max_bytes: int

    async def keep(self, made: Made) -> None:
        """Keep a file; one that the job has by this name already, or that is too large, is left out. Raises ``LeaseLost``."""
        content = made.text.encode()
        if len(content) > self.max_bytes:
            get_logger(__name__).warning("artifact_left_out", name=made.name, bytes=len(content), max_bytes=self.max_bytes)
            return
        new = NewArtifact(id=self.ids.artifact(), name=made.name, media_type=made.media_type, content=content)
        _, appended = await self.work.add_artifact(self.job_id, self.epoch, new)
        await self.progress.told(appended)


def files_of(task: Task, result: JobResult, supporters: list[Try]) -> list[Made]:
    """What a complete answer leaves behind."""
    match task.kind:
        case "math" | "choice":
            program = next((attempt.program for attempt in supporters if attempt.program), None)
            return [Made("program.py", "text/x-python", program)] if program else []
        case "json":
            return [Made("answer.json", "application/json", result.output_text)]
        case "code":
            code, shown = str(result.answer), result.output_text
            return [Made("answer.py", "text/x-python", code) if is_python(code, shown) else Made("answer.txt", "text/plain", code)]
        case "open":
            return [Made("answer.md", "text/markdown", result.output_text)]
