"""Files that a job makes: the bytes in a table of their own, what they are called on the job's row."""

from collections.abc import Sequence

from pydantic import JsonValue
from sqlalchemy import insert, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import NotFound
from tandem.ids import ArtifactId, JobId
from tandem.ports import Appended, NewArtifact, NewEvent
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Artifact
from tandem.storage.engine import Database
from tandem.storage.job_rows import change_job
from tandem.storage.tables import artifacts, jobs
from tandem.storage.times import db_now, to_datetime


async def add_artifact(connection: AsyncConnection, row: RowMapping, new: NewArtifact) -> tuple[Artifact, Sequence[Appended]]:
    """See ``JobWork.add_artifact``; the caller has locked the row."""
    for known in row["artifacts"]:
        if known["name"] == new.name:
            return Artifact.model_validate(known), ()
    artifact = Artifact(id=new.id, name=new.name, media_type=new.media_type, size=len(new.content), created_at=to_datetime(row["now_s"]))
    await connection.execute(insert(artifacts).values(id=new.id, job_id=row["id"], content=new.content))
    entry: dict[str, JsonValue] = artifact.model_dump(mode="json")
    change = {"artifacts": [*row["artifacts"], entry], "event_at": db_now()}
    _, appended = await change_job(connection, row, change, [NewEvent(JobEvent.ARTIFACT_CREATED, entry)])
    return artifact, appended


async def list_artifacts(database: Database, job_id: JobId) -> Sequence[Artifact]:
    """See ``JobWork.artifacts``."""
    row = await database.row(select(jobs.c.artifacts).where(jobs.c.id == job_id))
    return [] if row is None else [Artifact.model_validate(known) for known in row["artifacts"]]


async def artifact_content(database: Database, job_id: JobId, artifact_id: ArtifactId) -> bytes:
    """See ``JobWork.artifact_content``."""
    row = await database.row(select(artifacts.c.content).where(artifacts.c.id == artifact_id, artifacts.c.job_id == job_id))
    if row is None:
        raise NotFound(f"job {job_id!r} has no artifact {artifact_id!r}", param="artifact_id")
    return bytes(row["content"])
