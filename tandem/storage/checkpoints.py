"""Checkpoints of graphs. Writes are fenced by the job's epoch in their own transaction, so a worker that lost its job cannot move its state."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Select, delete, insert, select, tuple_, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import JobId
from tandem.ports import StoredCheckpoint, StoredWrite
from tandem.storage.engine import Database
from tandem.storage.tables import checkpoint_writes as writes_table
from tandem.storage.tables import checkpoints
from tandem.storage.times import db_now
from tandem.storage.work_rows import hold

_PAGE: Final = 20


class SqlCheckpointStore:
    """Implements ``CheckpointStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, job_id: JobId, epoch: int, checkpoint: StoredCheckpoint) -> None:
        values = {
            "parent_id": checkpoint.parent_id,
            "kind": checkpoint.kind,
            "state": checkpoint.state,
            "metadata": checkpoint.metadata,
            "epoch": epoch,
            "created_at": db_now(),
        }
        key = {"job_id": job_id, "namespace": checkpoint.namespace, "id": checkpoint.id}

        async def work(connection: AsyncConnection) -> None:
            await hold(connection, job_id, epoch)
            replaced = await connection.execute(update(checkpoints).filter_by(**key).values(**values))
            if replaced.rowcount == 0:
                await connection.execute(insert(checkpoints).values(**key, **values))

        await self._database.write(work)

    async def put_writes(self, job_id: JobId, epoch: int, namespace: str, checkpoint_id: str, writes: Sequence[StoredWrite]) -> None:
        key = {"job_id": job_id, "namespace": namespace, "checkpoint_id": checkpoint_id}
        known = select(writes_table.c.task_id, writes_table.c.place).filter_by(**key)
        places = {(each.task_id, each.place): each for each in writes}

        async def work(connection: AsyncConnection) -> None:
            await hold(connection, job_id, epoch)
            await connection.execute(delete(writes_table).filter_by(**key).where(_is_one_of([place for place in places if place[1] < 0])))
            stand = {(row.task_id, row.place) for row in await connection.execute(known.where(_is_one_of(list(places))))}
            rows = [key | _write_row(each, epoch) for place, each in places.items() if place not in stand]
            if rows:
                await connection.execute(insert(writes_table), rows)

        if writes:
            await self._database.write(work)

    async def get(self, job_id: JobId, namespace: str, checkpoint_id: str | None) -> StoredCheckpoint | None:
        statement = select(checkpoints).filter_by(job_id=job_id, namespace=namespace)
        if checkpoint_id is not None:
            statement = statement.filter_by(id=checkpoint_id)
        found = await self._with_writes(job_id, statement.order_by(checkpoints.c.id.desc()).limit(1))
        return found[0] if found else None

    async def list(self, job_id: JobId, namespace: str | None, *, before: str | None, limit: int | None) -> AsyncIterator[StoredCheckpoint]:
        statement = select(checkpoints).filter_by(job_id=job_id)
        if namespace is not None:
            statement = statement.filter_by(namespace=namespace)
        if before is not None:
            statement = statement.where(checkpoints.c.id < before)
        statement = statement.order_by(checkpoints.c.id.desc(), checkpoints.c.namespace.desc())
        left, page = limit, statement
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            found = await self._with_writes(job_id, page.limit(size))
            for each in found:
                yield each
            if len(found) < size:
                return
            left = None if left is None else left - size
            page = statement.where(tuple_(checkpoints.c.id, checkpoints.c.namespace) < (found[-1].id, found[-1].namespace))

    async def delete(self, job_id: JobId) -> None:
        await self._database.write(lambda connection: drop_checkpoints(connection, job_id))

    async def _with_writes(self, job_id: JobId, statement: Select[*tuple[object, ...]]) -> Sequence[StoredCheckpoint]:
        async def work(connection: AsyncConnection) -> Sequence[StoredCheckpoint]:
            rows = (await connection.execute(statement)).mappings().all()
            if not rows:
                return ()
            owners = [(row["namespace"], row["id"]) for row in rows]
            is_theirs = tuple_(writes_table.c.namespace, writes_table.c.checkpoint_id).in_(owners)
            found = select(writes_table).filter_by(job_id=job_id).where(is_theirs).order_by(writes_table.c.task_id, writes_table.c.place)
            writes = (await connection.execute(found)).mappings().all()
            return [_checkpoint_from(row, writes) for row in rows]

        return await self._database.read(work)


async def drop_checkpoints(connection: AsyncConnection, job_id: str) -> None:
    """Forget all checkpoints and writes of a job."""
    await connection.execute(delete(writes_table).filter_by(job_id=job_id))
    await connection.execute(delete(checkpoints).filter_by(job_id=job_id))


def _is_one_of(places: Sequence[tuple[str, int]]) -> ColumnElement[bool]:
    return tuple_(writes_table.c.task_id, writes_table.c.place).in_(places)


def _write_row(write: StoredWrite, epoch: int) -> dict[str, object]:
    return {
        "task_id": write.task_id,
        "place": write.place,
        "channel": write.channel,
        "kind": write.kind,
        "value": write.value,
        "task_path": write.task_path,
        "epoch": epoch,
    }


def _checkpoint_from(row: RowMapping, writes: Sequence[RowMapping]) -> StoredCheckpoint:
    own = [each for each in writes if (each["namespace"], each["checkpoint_id"]) == (row["namespace"], row["id"])]
    return StoredCheckpoint(
        namespace=row["namespace"],
        id=row["id"],
        parent_id=row["parent_id"],
        kind=row["kind"],
        state=row["state"],
        metadata=row["metadata"],
        writes=[
            StoredWrite(
                task_id=each["task_id"],
                place=each["place"],
                channel=each["channel"],
                kind=each["kind"],
                value=each["value"],
                task_path=each["task_path"],
            )
            for each in own
        ],
    )
