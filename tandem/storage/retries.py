"""Trying an ended job again as a new one, and forgetting it."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, literal, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import Conflict
from tandem.ids import IdFactory
from tandem.ports import Created, NewJob
from tandem.schemas.base import JsonObject
from tandem.schemas.jobs import JobStatus, JobView
from tandem.storage.effects import DONE
from tandem.storage.engine import Database
from tandem.storage.job_creation import create_job, find_replay
from tandem.storage.job_ends import WORK, drop_rows
from tandem.storage.job_rows import lock_theirs, view_json
from tandem.storage.tables import artifacts, effects, events, jobs, responses


async def retry_job(
    database: Database, connection: AsyncConnection, ended: str, new: NewJob, ids: IdFactory, *, carries_steps: bool, max_unfinished: int
) -> Created:
    """See ``JobStore.retry``."""
    await database.lock(connection, f"create:{new.tenant}")  # before the row's lock, as in every creation
    if (earlier := await find_replay(database, connection, new)) is not None:
        return earlier
    row = await lock_theirs(connection, ended, new.tenant)
    if row["finished_at"] is None:
        raise Conflict(f"job {ended!r} is {row['status']} and can be retried only after its end; cancel it first")
    if row["status"] == JobStatus.COMPLETED:
        raise Conflict(f"job {ended!r} was completed, so there is nothing to retry; submit its request as a new job to have it done again")
    inherited: dict[str, object] = {"retry_of": ended}
    # What a recorded step says it kept must be there for the steps after it.
    files: list[tuple[str, JsonObject]] = [(each["id"], each | {"id": ids.artifact()}) for each in row["artifacts"]] if carries_steps else []
    if carries_steps:
        done = JobView.model_validate(row["view"])
        inherited["view"] = view_json(JobView(title=new.title, plan=done.plan, attempts=done.attempts))
        inherited["artifacts"] = [entry for _, entry in files]
    created = await create_job(database, connection, new, max_unfinished, inherited=inherited)
    if carries_steps:
        await _copy_effects(connection, ended, new.id)
        await _copy_artifacts(connection, new.id, files)
    return created


async def purge_job(connection: AsyncConnection, job_id: str, tenant: str) -> None:
    """See ``JobStore.purge``. What the job said in a thread stays there."""
    row = await lock_theirs(connection, job_id, tenant)
    if row["finished_at"] is None:
        raise Conflict(f"job {job_id!r} is {row['status']} and can be deleted only after its end; cancel it first")
    await drop_rows(connection, job_id, (*WORK, responses))
    await connection.execute(delete(events).where(events.c.stream_id == job_id))
    await connection.execute(delete(jobs).where(jobs.c.id == job_id))


async def _copy_effects(connection: AsyncConnection, ended: str, new: str) -> None:
    """Take over what was recorded, failures apart: they are what is to be done anew. Begun effects are unknown outcomes and stay behind too."""
    statement = select(effects).where(effects.c.job_id == ended, effects.c.state == DONE).order_by(effects.c.created_at, effects.c.key)
    recorded: Sequence[RowMapping] = (await connection.execute(statement)).mappings().all()
    rows = [{**row, "job_id": new, "epoch": 0} for row in recorded if not _is_failure(row["result"])]
    if rows:
        await connection.execute(insert(effects), rows)


async def _copy_artifacts(connection: AsyncConnection, new: str, files: Sequence[tuple[str, JsonObject]]) -> None:
    """The bytes go from row to row within the database."""
    for artifact_id, entry in files:
        copy = select(literal(entry["id"]), literal(new), artifacts.c.content).where(artifacts.c.id == artifact_id)
        await connection.execute(insert(artifacts).from_select(["id", "job_id", "content"], copy))


def _is_failure(result: object) -> bool:
    return isinstance(result, dict) and result.get("failure") is not None
