"""Jobs as their workers change them. The promises are those of ``JobWork``.

Every write is one transaction that first locks the job's row; a stale epoch finds nothing to change and raises ``LeaseLost``. Choosing the next
job is in ``claims.py``, letting one go in ``parking.py``.

``attempt`` counts all claims and never goes down. The attempt cap looks at ``lost``, the claims whose lease ran out: a worker that gives its job
back in good order (``release``) uses up no attempt.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from pydantic import JsonValue
from sqlalchemy import case, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import ArtifactId, IdFactory, JobId, StreamId
from tandem.ports import Appended, Claim, Effect, LeaseState, NewArtifact, NewEvent, Outcome, Parking
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import Steer
from tandem.schemas.jobs import Artifact, JobFailure, JobStatus, JobView
from tandem.storage.artifacts import add_artifact, artifact_content, list_artifacts
from tandem.storage.checkpoints import SqlCheckpointStore, drop_checkpoints
from tandem.storage.claims import Claiming, claim_next, claim_one
from tandem.storage.effects import begin_effect, recall_effect, record_effect
from tandem.storage.engine import Database
from tandem.storage.events import insert_events
from tandem.storage.job_ends import end_job
from tandem.storage.job_rows import change_job, is_owned, lock_owned, lost, mirror_to_thread, view_json
from tandem.storage.parking import defer_job, park_job, release_job
from tandem.storage.tables import jobs
from tandem.storage.times import db_now, to_datetime
from tandem.storage.work_rows import hold

Result = TypeVar("Result")

_CARD: Final = (jobs.c.id, jobs.c.thread_id, jobs.c.status, jobs.c.view, jobs.c.inputs, jobs.c.inbox, jobs.c.last_seq)
"""Columns that an append needs back; the request may be large and is not among them."""


class SqlJobWork:
    """Implements ``JobWork``."""

    def __init__(self, database: Database, ids: IdFactory) -> None:
        self._database = database
        self._ids = ids
        self.checkpoints = SqlCheckpointStore(database)

    async def claim(self, worker: str, lease_s: float, max_attempts: int, *, ageing_s: float = 60.0, job_id: JobId | None = None) -> Claim | None:
        claiming = Claiming(worker, lease_s, max_attempts, ageing_s)
        if job_id is not None:
            return await claim_one(self._database, job_id, claiming)
        return await claim_next(self._database, claiming)

    async def heartbeat(self, job_id: JobId, epoch: int, lease_s: float) -> LeaseState:
        change = update(jobs).where(is_owned(job_id, epoch)).values(lease_until=db_now() + lease_s, beat_at=db_now())
        change = change.returning(jobs.c.status, jobs.c.pause_requested_at, jobs.c.beat_at, jobs.c.event_at)

        async def work(connection: AsyncConnection) -> LeaseState:
            row = (await connection.execute(change)).mappings().one_or_none()
            if row is None:
                raise lost(job_id, epoch)
            return LeaseState(
                is_cancel_requested=row["status"] == JobStatus.CANCELLING,
                is_pause_requested=row["pause_requested_at"] is not None,
                silent_s=max(0.0, row["beat_at"] - row["event_at"]),
            )

        return await self._database.write(work)

    async def append(self, job_id: JobId, epoch: int, events: Sequence[NewEvent], view: JobView | None = None) -> Sequence[Appended]:
        change: dict[str, object] = {"last_seq": jobs.c.last_seq + len(events)} | _items_after(events)
        if events:
            change["event_at"] = db_now()
        if view is not None:
            change["view"] = view_json(view)
        statement = update(jobs).where(is_owned(job_id, epoch)).values(change).returning(*_CARD, db_now().label("now_s"))

        async def work(connection: AsyncConnection) -> Sequence[Appended]:
            row = (await connection.execute(statement)).mappings().one_or_none()
            if row is None:
                raise lost(job_id, epoch)
            appended: Sequence[Appended] = ()
            if events:
                await insert_events(connection, job_id, row["last_seq"] - len(events) + 1, events, row["now_s"], epoch=epoch)
                appended = [Appended(StreamId(job_id), row["last_seq"])]
            return appended if view is None else [*appended, *await mirror_to_thread(connection, row)]

        return await self._database.write(work)

    async def take_steers(self, job_id: JobId, epoch: int, step: str) -> tuple[Sequence[Steer], Sequence[Appended]]:
        """Most steps find nothing new, so a look without a lock comes first."""
        seen = await self._database.row(select(jobs.c.inbox).where(is_owned(job_id, epoch)))
        if seen is None:
            raise lost(job_id, epoch)
        if all(each["applied_at"] is not None for each in seen["inbox"]):
            return [Steer.model_validate(each) for each in seen["inbox"]], ()

        async def work(connection: AsyncConnection, row: RowMapping) -> tuple[Sequence[Steer], Sequence[Appended]]:
            inbox = [Steer.model_validate(each) for each in row["inbox"]]
            mark = {"applied_at": to_datetime(row["now_s"]), "applied_step": step}
            steers = [each.model_copy(update=mark) if each.applied_at is None else each for each in inbox]
            news = [NewEvent(JobEvent.STEER_APPLIED, {"steer_id": each.id, "step": step}) for each in inbox if each.applied_at is None]
            change = {"inbox": [each.model_dump(mode="json") for each in steers], "event_at": db_now()}
            return steers, (await change_job(connection, row, change, news))[1]

        return await self._owned(job_id, epoch, work)

    async def park(self, job_id: JobId, epoch: int, parking: Parking, view: JobView | None = None) -> Sequence[Appended]:
        return await self._owned(job_id, epoch, lambda connection, row: park_job(connection, self._ids, row, parking, view))

    async def finish(self, job_id: JobId, epoch: int, outcome: Outcome, view: JobView | None = None) -> Sequence[Appended]:
        async def work(connection: AsyncConnection, row: RowMapping) -> Sequence[Appended]:
            job, appended = await end_job(connection, self._ids, row, outcome, view=view)
            if job.status is JobStatus.COMPLETED:
                await drop_checkpoints(connection, job_id)
            return appended

        return await self._owned(job_id, epoch, work)

    async def defer(
        self, job_id: JobId, epoch: int, reason: JobFailure, *, patience_s: float, view: JobView | None = None
    ) -> Sequence[Appended] | None:
        return await self._owned(job_id, epoch, lambda connection, row: defer_job(connection, self._ids, row, reason, patience_s, view))

    async def release(self, job_id: JobId, epoch: int) -> Sequence[Appended]:
        return await self._owned(job_id, epoch, lambda connection, row: release_job(connection, self._ids, row))

    async def recall_effect(self, job_id: JobId, key: str) -> Effect | None:
        return await recall_effect(self._database, job_id, key)

    async def begin_effect(self, job_id: JobId, epoch: int, key: str) -> Effect | None:
        async def work(connection: AsyncConnection) -> Effect | None:
            await hold(connection, job_id, epoch)
            return await begin_effect(connection, job_id, epoch, key)

        return await self._database.write(work)

    async def record_effect(self, job_id: JobId, epoch: int, key: str, result: JsonValue) -> JsonValue:
        async def work(connection: AsyncConnection) -> JsonValue:
            await hold(connection, job_id, epoch, is_served=True)
            return await record_effect(connection, job_id, epoch, key, result)

        return await self._database.write(work)

    async def add_artifact(self, job_id: JobId, epoch: int, new: NewArtifact) -> tuple[Artifact, Sequence[Appended]]:
        return await self._owned(job_id, epoch, lambda connection, row: add_artifact(connection, row, new))

    async def artifacts(self, job_id: JobId) -> Sequence[Artifact]:
        return await list_artifacts(self._database, job_id)

    async def artifact_content(self, job_id: JobId, artifact_id: ArtifactId) -> bytes:
        return await artifact_content(self._database, job_id, artifact_id)

    async def _owned(self, job_id: JobId, epoch: int, change: Callable[[AsyncConnection, RowMapping], Awaitable[Result]]) -> Result:
        """Run one transaction on a job that this epoch owns."""

        async def work(connection: AsyncConnection) -> Result:
            return await change(connection, await lock_owned(connection, job_id, epoch))

        return await self._database.write(work)


def _items_after(events: Sequence[NewEvent]) -> dict[str, object]:
    """Columns that follow the output items: how many were opened, and which message is being written."""
    change: dict[str, object] = {}
    for each in events:
        is_message = each.data.get("item_type") == "message"
        if each.type == JobEvent.ITEM_ADDED:
            index = each.data["output_index"]
            if not isinstance(index, int):
                raise ValueError(f"output_index {index!r} of an added item must be a whole number")
            change["items"] = case((jobs.c["items"] > index + 1, jobs.c["items"]), else_=index + 1)  # `.items` is the collection's own
        if is_message and each.type in {JobEvent.ITEM_ADDED, JobEvent.ITEM_DONE}:
            change["open_item"] = each.data["item_id"] if each.type == JobEvent.ITEM_ADDED else None
        if each.type == JobEvent.TEXT_RESET:
            change["open_item"] = None
    return change
