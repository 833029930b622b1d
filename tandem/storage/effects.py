"""The ledger of effects: what a job's step has done to the world, recorded once, so that a re-run step repeats nothing.

A line is ``started`` from just before something that writes is called until its outcome is recorded. One that stays so after its worker died
means that nobody knows the outcome.
"""

from typing import Final

from pydantic import JsonValue
from sqlalchemy import ColumnElement, insert, null, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ports import Effect
from tandem.storage.engine import Database
from tandem.storage.tables import effects
from tandem.storage.times import db_now, to_datetime

STARTED: Final = "started"
DONE: Final = "done"


async def recall_effect(database: Database, job_id: str, key: str) -> Effect | None:
    """The ledger's line, or None."""
    row = await database.row(select(effects).where(_is(job_id, key)))
    return None if row is None else effect_from(row)


async def begin_effect(connection: AsyncConnection, job_id: str, epoch: int, key: str) -> Effect | None:
    """None when this call wrote the line. The caller holds the job's row lock, so nobody begins in between."""
    earlier = (await connection.execute(select(effects).where(_is(job_id, key)))).mappings().one_or_none()
    if earlier is not None:
        return effect_from(earlier)
    await connection.execute(insert(effects).values(job_id=job_id, key=key, state=STARTED, result=null(), epoch=epoch, created_at=db_now()))
    return None


async def record_effect(connection: AsyncConnection, job_id: str, epoch: int, key: str, result: JsonValue) -> JsonValue:
    """What stands in the ledger after the call. The caller holds the job's row lock, so nobody records in between."""
    earlier = (await connection.execute(select(effects).where(_is(job_id, key)))).mappings().one_or_none()
    if earlier is not None and earlier["state"] == DONE:
        return earlier["result"]
    if earlier is not None:
        await connection.execute(update(effects).where(_is(job_id, key)).values(state=DONE, result=result, epoch=epoch))
        return result
    await connection.execute(insert(effects).values(job_id=job_id, key=key, state=DONE, result=result, epoch=epoch, created_at=db_now()))
    return result


def effect_from(row: RowMapping) -> Effect:
    """A stored line as the ports speak of it."""
    return Effect(key=row["key"], is_done=row["state"] == DONE, result=row["result"], created_at=to_datetime(row["created_at"]), epoch=row["epoch"])


def _is(job_id: str, key: str) -> ColumnElement[bool]:
    return (effects.c.job_id == job_id) & (effects.c.key == key)
