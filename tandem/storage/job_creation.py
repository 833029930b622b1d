"""Creating a job: its row, first events and idempotency key in the caller's transaction."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import bindparam, case, func, insert, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import Conflict, NotFound, TooManyRequests
from tandem.ids import FileId, StreamId
from tandem.ports import Appended, Created, NewEvent, NewJob
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobStatus, JobView
from tandem.storage.engine import Database
from tandem.storage.events import insert_events
from tandem.storage.files import find_files
from tandem.storage.idempotency import find_earlier, remember
from tandem.storage.job_rows import job_from, lock_job, mirror_to_thread, view_json
from tandem.storage.tables import MOMENT, jobs, threads, webhook_endpoints
from tandem.storage.times import db_now, wire_time

_QUOTA_RETRY_S: Final = 5.0
NOT_STORED: Final = 0.0
"""``purge_at`` of a job that is not to be stored: swept ``retention.unstored_s`` after its end."""
# Who creates a job also hints, so the reaper waits for that one (``hint_at``); a scheduled job comes to its eyes when its time has come.
_INSERT: Final = insert(jobs).values(status=JobStatus.QUEUED, hint_at=db_now(), queued_at=db_now(), run_at=None, created_at=db_now()).returning(jobs)
_MOMENT: Final = bindparam("moment", type_=MOMENT)
_IS_LATER: Final = db_now() < _MOMENT
_INSERT_FOR_LATER: Final = (
    insert(jobs)
    .values(
        status=case((_IS_LATER, JobStatus.SCHEDULED), else_=JobStatus.QUEUED),
        hint_at=case((_IS_LATER, _MOMENT), else_=db_now()),
        queued_at=case((_IS_LATER, None), else_=db_now()),
        run_at=_MOMENT,
        created_at=db_now(),
    )
    .returning(jobs)
)


async def create_job(
    database: Database, connection: AsyncConnection, new: NewJob, max_unfinished: int, *, inherited: Mapping[str, object] | None = None
) -> Created:
    """See ``JobStore.create``. Creations of one tenant take turns, so neither quota nor key can be raced.

    ``inherited`` are columns that a retry takes over from the job it tries again.
    """
    await database.lock(connection, f"create:{new.tenant}")
    if (earlier := await find_replay(database, connection, new)) is not None:
        return earlier
    await _check_quota(connection, new, max_unfinished)
    await _check_thread(connection, new)
    await _check_endpoints(connection, new)
    await _check_files(connection, new)
    root_id = await _find_root(connection, new)
    columns = {**_columns(new), "root_id": root_id, "retry_of": None, **(inherited or {})}
    if new.request.run_at is None:
        statement = _INSERT
    else:
        statement, columns["moment"] = _INSERT_FOR_LATER, new.request.run_at.timestamp()
    row = (await connection.execute(statement, columns)).mappings().one()
    await remember(connection, new.tenant, new.once, new.id)
    return Created(job_from(row), is_replay=False, appended=await _insert_first_events(connection, new, row))


async def find_replay(database: Database, connection: AsyncConnection, new: NewJob) -> Created | None:
    """The job that an earlier call with the same key made, unless it has been purged since."""
    job_id = await find_earlier(database, connection, new.tenant, new.once)
    if job_id is None:
        return None
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).mappings().one_or_none()
    return None if row is None else Created(job_from(row), is_replay=True)


async def _check_quota(connection: AsyncConnection, new: NewJob, max_unfinished: int) -> None:
    unfinished = select(jobs.c.id).where(jobs.c.tenant == new.tenant, jobs.c.finished_at.is_(None)).limit(max_unfinished)
    count = (await connection.execute(select(func.count()).select_from(unfinished.subquery()))).scalar_one()
    if count >= max_unfinished:
        raise TooManyRequests(f"{max_unfinished} jobs are unfinished already; wait for one to end or cancel one", retry_after_s=_QUOTA_RETRY_S)


async def _check_thread(connection: AsyncConnection, new: NewJob) -> None:
    if new.thread_id is None:
        return
    statement = select(threads.c.id).where(threads.c.id == new.thread_id, threads.c.tenant == new.tenant)
    if (await connection.execute(statement)).one_or_none() is None:
        raise NotFound(f"no thread {new.thread_id!r}; create it first with POST /v1/threads", param="thread_id")


async def _check_endpoints(connection: AsyncConnection, new: NewJob) -> None:
    wanted = new.request.webhook_endpoints
    if not wanted:
        return
    theirs = select(webhook_endpoints.c.id).where(webhook_endpoints.c.id.in_(wanted), webhook_endpoints.c.tenant == new.tenant)
    known = set((await connection.execute(theirs)).scalars())
    for endpoint_id in wanted:
        if endpoint_id not in known:
            raise NotFound(f"no webhook endpoint {endpoint_id!r}; create it first with POST /v1/webhook_endpoints", param="webhook_endpoints")


async def _check_files(connection: AsyncConnection, new: NewJob) -> None:
    """They may still be deleted before the job reads them: its tools say so then."""
    try:
        await find_files(connection, [FileId(file_id) for file_id in new.request.files], new.tenant)
    except NotFound as error:
        raise NotFound(error.message, param="files") from None


async def _find_root(connection: AsyncConnection, new: NewJob) -> str | None:
    """The topmost ancestor. The parent stays locked until the commit, so that its cancellation sees this child."""
    parent_id = new.request.parent_id
    if parent_id is None:
        return None
    parent = await lock_job(connection, parent_id)
    if parent is None or parent["tenant"] != new.tenant:
        raise NotFound(f"no job {parent_id!r} to be a part of; check the id, and that the key belongs to the same tenant", param="parent_id")
    if parent["finished_at"] is not None or parent["cancel_requested_at"] is not None:
        raise Conflict(f"job {parent_id!r} is {parent['status']} and takes no more children; create the job without a parent", param="parent_id")
    return parent["root_id"] or parent_id


def _columns(new: NewJob) -> dict[str, object]:
    request = new.request
    return {
        "id": new.id,
        "tenant": new.tenant,
        "key_id": new.key_id,
        "thread_id": new.thread_id,
        "decision_id": new.decision_id,
        "response_id": new.response_id,
        "schedule_id": new.schedule_id,
        "parent_id": request.parent_id,
        "request": request.model_dump(mode="json", by_alias=True),
        "tools": None if new.tools is None else list(new.tools),
        "effort": new.effort,
        "priority": request.priority,
        "share_key": new.key_id or new.tenant,
        "view": view_json(JobView(title=new.title)),
        "inputs": [],
        "inbox": [],
        "artifacts": [],
        "last_seq": 1,
        "items": 0,
        "epoch": 0,
        "attempt": 0,
        "lost": 0,
        "hint_wait_s": 0.0,
        "deadline_at": None if request.deadline is None else request.deadline.timestamp(),
        "purge_at": None if new.is_stored else NOT_STORED,
    }


async def _insert_first_events(connection: AsyncConnection, new: NewJob, row: RowMapping) -> Sequence[Appended]:
    created = NewEvent(JobEvent.CREATED, {"job_id": new.id, "status": row["status"], "title": new.title, "effort": new.effort})
    if row["status"] == JobStatus.SCHEDULED:
        second = NewEvent(JobEvent.SCHEDULED, {"status": JobStatus.SCHEDULED, "run_at": wire_time(row["run_at"])})
    else:
        second = NewEvent(JobEvent.QUEUED, {"status": JobStatus.QUEUED})
    await insert_events(connection, new.id, 0, [created, second], row["created_at"])
    return [Appended(StreamId(new.id), 1), *await mirror_to_thread(connection, row)]
