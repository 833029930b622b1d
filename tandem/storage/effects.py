"""The ledger of effects: what a job's step has done to the world, recorded once, so that a re-run step repeats nothing."""

from pydantic import JsonValue
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.storage.engine import Database
from tandem.storage.tables import effects
from tandem.storage.times import db_now


async def recall_effect(database: Database, job_id: str, key: str) -> JsonValue | None:
    """The recorded result, or None."""
    row = await database.row(select(effects.c.result).where(effects.c.job_id == job_id, effects.c.key == key))
    return None if row is None else row["result"]


async def record_effect(connection: AsyncConnection, job_id: str, epoch: int, key: str, result: JsonValue) -> JsonValue:
    """What stands in the ledger after the call. The caller holds the job's row lock, so nobody records in between."""
    earlier = (await connection.execute(select(effects.c.result).where(effects.c.job_id == job_id, effects.c.key == key))).mappings().one_or_none()
    if earlier is not None:
        return earlier["result"]
    await connection.execute(insert(effects).values(job_id=job_id, key=key, result=result, epoch=epoch, created_at=db_now()))
    return result
