"""Files that a job makes: the bytes in a table of their own, what they are called on the job's row."""

from collections.abc import Sequence

from pydantic import JsonValue
from sqlalchemy import insert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ports import Appended, NewArtifact, NewEvent
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Artifact
from tandem.storage.job_rows import change_job
from tandem.storage.tables import artifacts
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
