"""What is to be done with a job that a crash or time has left behind, and doing it under the row's lock."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import IdFactory, JobId
from tandem.ports import Appended, NewEvent, Outcome
from tandem.schemas.base import JsonObject
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import JobFailure, JobResult, JobStatus
from tandem.storage.job_ends import CANCELLED, end_job
from tandem.storage.job_rows import OWNED, altered, change_job, lock_job, queued

DEADLINE_GRACE_S: Final = 30.0
"""How long a worker that lives may outstay its job's deadline: it ends the job itself, with the best it has, and is fenced after that."""
_DECISIONS: Final = ("approve", "reject")
"""Defaults of an approval that are decisions; any other is what it is edited to."""


class Repair(StrEnum):
    """What a job needs."""

    CANCEL = "cancel"
    """Its worker died before it could follow the cancellation."""
    FAIL = "fail"
    """It has lost too many workers."""
    END_LATE = "end_late"
    """Its deadline has passed."""
    QUEUE = "queue"
    """It was scheduled, and its time has come."""
    EXPIRE = "expire"
    """Nobody answered its questions, or gave it a budget, in time."""


def choose_repair(row: RowMapping, max_attempts: int) -> Repair | None:
    """The repair for a job as its row says at ``now_s``; None when it needs none."""
    status, now_s = row["status"], row["now_s"]
    if row["finished_at"] is not None:
        return None
    if _is_abandoned(row):
        if status == JobStatus.CANCELLING:
            return Repair.CANCEL
        if row["lost"] + 1 >= max_attempts:
            return Repair.FAIL
    if _is_late(row):
        return Repair.END_LATE
    if status == JobStatus.SCHEDULED and row["hint_at"] <= now_s:
        return Repair.QUEUE
    if status in {JobStatus.INPUT_REQUIRED, JobStatus.BUDGET_REACHED} and row["expires_at"] is not None and row["expires_at"] <= now_s:
        return Repair.EXPIRE
    return None


async def repair_job(connection: AsyncConnection, ids: IdFactory, job_id: JobId, max_attempts: int) -> tuple[Repair | None, Sequence[Appended]]:
    """Mend one job, unless a sign of life, a caller or another reaper came first."""
    row = await lock_job(connection, job_id)
    repair = None if row is None else choose_repair(row, max_attempts)
    if row is None or repair is None:
        return None, ()
    if repair is Repair.QUEUE:
        _, appended = await change_job(connection, row, queued(0.0), [NewEvent(JobEvent.QUEUED, {"status": JobStatus.QUEUED})])
        return repair, appended
    if repair is Repair.EXPIRE and row["status"] == JobStatus.INPUT_REQUIRED:
        return repair, await _expire_inputs(connection, ids, row)
    is_abandoned = _is_abandoned(row)
    lost: int = row["lost"] + int(is_abandoned)
    before = [NewEvent(JobEvent.ATTEMPT_LOST, {"attempt": row["attempt"]})] if is_abandoned else []
    _, appended = await end_job(connection, ids, row, _end_of(row, repair, lost), before=before, lost=lost)
    return repair, appended


def _is_abandoned(row: RowMapping) -> bool:
    return row["status"] in OWNED and row["lease_until"] is not None and row["lease_until"] < row["now_s"]


def _is_late(row: RowMapping) -> bool:
    if row["deadline_at"] is None or row["status"] == JobStatus.CANCELLING:
        return False
    is_held = row["status"] == JobStatus.IN_PROGRESS and not _is_abandoned(row)
    return row["deadline_at"] + (DEADLINE_GRACE_S if is_held else 0.0) <= row["now_s"]


def _end_of(row: RowMapping, repair: Repair, lost: int) -> Outcome:
    best = None if row["result"] is None else JobResult.model_validate(row["result"])
    if repair is Repair.CANCEL:
        return CANCELLED
    if repair is Repair.FAIL:
        message = f"{lost} workers in turn died or froze while running this job; look at the workers' logs, then submit it again"
        return Outcome(JobStatus.FAILED, error=JobFailure(code="worker_lost", message=message))
    if repair is Repair.END_LATE:
        message = "The job's deadline passed before it was done; submit it again with a later one."
        return Outcome(JobStatus.INCOMPLETE, best, JobFailure(code="deadline_exceeded", message=message))
    reason = None if row["error"] is None else JobFailure.model_validate(row["error"])
    return Outcome(JobStatus.INCOMPLETE, best, reason)


async def _expire_inputs(connection: AsyncConnection, ids: IdFactory, row: RowMapping) -> Sequence[Appended]:
    """Every open question takes its default and the job is queued; when one has none, the job fails."""
    pending: list[JsonObject] = [each for each in row["inputs"] if each["status"] == "pending"]
    inputs = [_expired(each) if each["status"] == "pending" else each for each in row["inputs"]]
    expired = [NewEvent(JobEvent.INPUT_EXPIRED, {"input_id": each["id"], "key": each["key"]}) for each in pending]
    undecided = [each["prompt"] for each in pending if each["default"] is None]
    if undecided:
        message = f"Nobody answered {undecided[0]!r} in time; submit the job again, and answer it then."
        failed = Outcome(JobStatus.FAILED, error=JobFailure(code="input_expired", message=message))
        return (await end_job(connection, ids, altered(row, {"inputs": inputs}), failed, before=expired))[1]
    again = NewEvent(JobEvent.QUEUED, {"status": JobStatus.QUEUED})
    return (await change_job(connection, row, {"inputs": inputs, **queued(0.0)}, [*expired, again]))[1]


def _expired(asked: JsonObject) -> JsonObject:
    """A question after its time: its default, if it has one, stands as the answer."""
    default = asked["default"]
    if asked["kind"] != "approval" or default is None:
        return asked | {"status": "expired", "value": default}
    if isinstance(default, str) and default in _DECISIONS:
        return asked | {"status": "expired", "decision": default}
    return asked | {"status": "expired", "decision": "edit", "value": default}
