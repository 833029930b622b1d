"""What people tell a job: answers to its questions, and words it did not ask for."""

from typing import Final

from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import Conflict, InputClosed, NotFound
from tandem.ports import Changed, NewEvent, Once
from tandem.schemas.base import JsonObject
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputAnswer, InputRequest, Steer
from tandem.schemas.jobs import JobStatus
from tandem.storage.engine import Database
from tandem.storage.idempotency import find_earlier, remember
from tandem.storage.job_changes import requeue
from tandem.storage.job_rows import change_job, job_from, lock_theirs
from tandem.storage.times import to_datetime

MAX_STEERS: Final = 64
"""Words that a job's inbox holds, taken up or not."""


async def steer_job(
    database: Database, connection: AsyncConnection, job_id: str, tenant: str, steer_id: str, message: str, once: Once | None
) -> tuple[Steer, Changed]:
    """See ``JobStore.steer``. Sent again, it finds the words as they stand now."""
    earlier = await find_earlier(database, connection, tenant, once)
    row = await lock_theirs(connection, job_id, tenant)
    for known in row["inbox"]:
        if known["id"] == earlier:
            return Steer.model_validate(known), Changed(job_from(row))
    if row["finished_at"] is not None or row["status"] == JobStatus.CANCELLING:
        raise Conflict(f"job {job_id!r} is {row['status']} and listens no more; retry it, or submit another one")
    if len(row["inbox"]) >= MAX_STEERS:
        raise Conflict(f"the inbox of job {job_id!r} holds {MAX_STEERS} messages already; cancel it and submit it with all that it must know")
    steer = Steer(id=steer_id, message=message, created_at=to_datetime(row["now_s"]))
    entry = steer.model_dump(mode="json")
    changed, appended = await change_job(connection, row, {"inbox": [*row["inbox"], entry]}, [NewEvent(JobEvent.STEERED, entry)])
    await remember(connection, tenant, once, steer_id)
    return steer, Changed(job_from(changed), appended)


async def answer_input(
    database: Database,
    connection: AsyncConnection,
    job_id: str,
    tenant: str,
    input_id: str,
    answer: InputAnswer,
    answered_by: str | None,
    once: Once | None,
) -> tuple[InputRequest, Changed]:
    """See ``JobStore.answer``. Sent again with its key, it finds the question as it stands now."""
    earlier = await find_earlier(database, connection, tenant, once)
    row = await lock_theirs(connection, job_id, tenant)
    asked: JsonObject | None = next((each for each in row["inputs"] if each["id"] == input_id), None)
    if asked is None:
        raise NotFound(f"job {job_id!r} has asked no question {input_id!r}; GET /v1/jobs/{job_id}/inputs lists them", param="input_id")
    if earlier == input_id:
        return InputRequest.model_validate(asked), Changed(job_from(row))
    _check_open(row, InputRequest.model_validate(asked))
    now = to_datetime(row["now_s"])
    said = {"answered_at": now, "answered_by": answered_by, "decision": answer.decision, "value": answer.value}
    given = InputRequest.model_validate({**asked, **said, "status": "answered"})
    entry = given.model_dump(mode="json", by_alias=True)
    inputs = [entry if each["id"] == input_id else each for each in row["inputs"]]
    received = NewEvent(JobEvent.INPUT_RECEIVED, {"input_id": input_id, "key": given.key, "decision": given.decision, "value": given.value})
    await remember(connection, tenant, once, input_id)
    if row["status"] == JobStatus.INPUT_REQUIRED and all(each["status"] != "pending" for each in inputs):
        return given, await requeue(connection, row, {"inputs": inputs}, [received])
    changed, appended = await change_job(connection, row, {"inputs": inputs}, [received])
    return given, Changed(job_from(changed), appended)


def _check_open(row: RowMapping, asked: InputRequest) -> None:
    """A question is open until its time is over by the database's clock, whether a sweep has seen that or not."""
    if asked.status == "answered":
        said = asked.decision if asked.decision is not None and asked.value is None else asked.value
        raise InputClosed(
            f"the question {asked.id!r} was answered already, with {str(said)[:200]!r}, and that stands; GET the job to see how it goes on"
        )
    if asked.status == "withdrawn" or row["finished_at"] is not None:
        raise InputClosed(f"the question {asked.id!r} is closed because its job has ended as {row['status']}; retry the job to be asked again")
    if asked.status == "expired" or asked.expires_at.timestamp() <= row["now_s"]:
        raise InputClosed(f"the question {asked.id!r} expired at {asked.expires_at.isoformat()}; its default stands, or the job fails without one")
