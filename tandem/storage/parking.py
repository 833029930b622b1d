"""A worker lets go of its job: to wait for a caller, or back into the queue.

What a caller did meanwhile wins: a pause that was withdrawn parks nothing, and a budget that was changed while the worker ran into the old one
queues the job again. Otherwise the job would wait for something that has happened already.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue
from sqlalchemy import exists, func, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import IdFactory
from tandem.ports import Appended, NewEvent, Parking
from tandem.schemas.base import JsonObject
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputAsk, InputRequest
from tandem.schemas.jobs import JobFailure, JobStatus, JobView
from tandem.schemas.webhooks import WebhookType
from tandem.storage.checkpoints import drop_checkpoints
from tandem.storage.deliveries import queue_deliveries
from tandem.storage.job_ends import CANCELLED, end_job
from tandem.storage.job_rows import change_job, job_from, view_json
from tandem.storage.tables import events
from tandem.storage.times import to_datetime, wire_time
from tandem.storage.work_rows import given_up

_WEBHOOKS: Final[Mapping[JobStatus, WebhookType]] = {
    JobStatus.INPUT_REQUIRED: "response.tandem.input_required",
    JobStatus.BUDGET_REACHED: "response.tandem.budget_reached",
}
_FIRST_DELAY_S: Final = 5.0
_LONGEST_DELAY_S: Final = 60.0
"""A deferred job is tried again after half the time it has been put off already, between these two."""


async def park_job(connection: AsyncConnection, ids: IdFactory, row: RowMapping, parking: Parking, view: JobView | None) -> Sequence[Appended]:
    """See ``JobWork.park``; the caller has locked the row."""
    if row["status"] == JobStatus.CANCELLING:
        return (await end_job(connection, ids, row, CANCELLED, view=view))[1]
    inputs, asked = _asked(ids, row, parking)
    seen: dict[str, object] = {"inputs": inputs}
    if view is not None:
        seen["view"] = view_json(view)
    if await _is_settled(connection, row, parking, inputs):
        return await _let_go(connection, row, seen)
    change = seen | given_up(parking.status)
    if parking.wait_s is not None:
        change["expires_at"] = row["now_s"] + parking.wait_s
    if parking.status is JobStatus.BUDGET_REACHED:
        change["result"] = None if parking.best is None else parking.best.model_dump(mode="json")
        change["error"] = None if parking.reason is None else parking.reason.model_dump(mode="json")
    changed, appended = await change_job(connection, row, change, asked or [_event(parking)])
    if (kind := _WEBHOOKS.get(parking.status)) is not None:
        job = job_from(changed)
        first_seq: int = row["last_seq"] + 1
        await queue_deliveries(connection, ids, tenant=row["tenant"], job=job, kind=kind, sequence_number=first_seq, now_s=row["now_s"])
    return appended


async def release_job(connection: AsyncConnection, ids: IdFactory, row: RowMapping) -> Sequence[Appended]:
    """See ``JobWork.release``; the caller has locked the row."""
    if row["status"] == JobStatus.CANCELLING:
        return (await end_job(connection, ids, row, CANCELLED))[1]
    return await _let_go(connection, row, {})


async def defer_job(
    connection: AsyncConnection, ids: IdFactory, row: RowMapping, reason: JobFailure, patience_s: float, view: JobView | None
) -> Sequence[Appended] | None:
    """See ``JobWork.defer``; the caller has locked the row."""
    if row["status"] == JobStatus.CANCELLING:
        return (await end_job(connection, ids, row, CANCELLED, view=view))[1]
    seen: dict[str, object] = {} if view is None else {"view": view_json(view)}
    if row["pause_requested_at"] is not None:
        return await _let_go(connection, row, seen)
    now_s: float = row["now_s"]
    since: float = now_s if row["deferred_since"] is None else row["deferred_since"]
    if now_s - since >= patience_s:
        return None
    again_at = now_s + min(max(_FIRST_DELAY_S, (now_s - since) / 2), _LONGEST_DELAY_S)
    change = {**seen, **given_up(JobStatus.SCHEDULED), "deferred_since": since, "run_at": again_at, "hint_at": again_at}
    data: JsonObject = {"status": JobStatus.SCHEDULED, "run_at": wire_time(again_at), "reason": reason.model_dump(mode="json")}
    # Its state holds the failures; from the start, with what the ledger has, the model is asked anew.
    await drop_checkpoints(connection, row["id"])
    return (await change_job(connection, row, change, [NewEvent(JobEvent.DEFERRED, data)]))[1]


async def _let_go(connection: AsyncConnection, row: RowMapping, seen: Mapping[str, object]) -> Sequence[Appended]:
    """Into the queue, or out of it when a pause was asked for."""
    status, kind = (JobStatus.QUEUED, JobEvent.QUEUED) if row["pause_requested_at"] is None else (JobStatus.PAUSED, JobEvent.PAUSED)
    _, appended = await change_job(connection, row, {**seen, **given_up(status)}, [NewEvent(kind, {"status": status})])
    return appended


def _asked(ids: IdFactory, row: RowMapping, parking: Parking) -> tuple[list[dict[str, JsonValue]], list[NewEvent]]:
    """All questions of the job with those that are new, and the events that ask these."""
    if parking.status is not JobStatus.INPUT_REQUIRED:
        return row["inputs"], []
    if parking.wait_s is None or not parking.asks:
        raise ValueError(f"cannot wait for input with asks={parking.asks!r} and wait_s={parking.wait_s!r}; give at least one question, and a time")
    known = {each["key"] for each in row["inputs"]}
    new = {ask.key: ask for ask in parking.asks if ask.key not in known}
    requests = [_request(ids, row, ask, parking.wait_s) for ask in new.values()]
    return [*row["inputs"], *requests], [NewEvent(JobEvent.INPUT_REQUIRED, request) for request in requests]


def _request(ids: IdFactory, row: RowMapping, ask: InputAsk, wait_s: float) -> dict[str, JsonValue]:
    fields: dict[str, Any] = {
        **ask.model_dump(by_alias=True),
        "id": ids.input(),
        "job_id": row["id"],
        "created_at": to_datetime(row["now_s"]),
        "expires_at": to_datetime(row["now_s"] + wait_s),
    }
    return InputRequest.model_validate(fields).model_dump(mode="json", by_alias=True)


async def _is_settled(connection: AsyncConnection, row: RowMapping, parking: Parking, inputs: Sequence[Mapping[str, JsonValue]]) -> bool:
    """Whether what the job would wait for has happened already."""
    if parking.status is JobStatus.INPUT_REQUIRED:
        return all(each["status"] != "pending" for each in inputs)
    if parking.status is JobStatus.PAUSED:
        return row["pause_requested_at"] is None
    own = events.c.stream_id == row["id"]
    claimed = select(func.max(events.c.seq)).where(own, events.c.type == JobEvent.ATTEMPT_STARTED).scalar_subquery()
    is_changed = exists().where(own, events.c.seq > claimed, events.c.type == JobEvent.CHANGED)
    return bool((await connection.execute(select(is_changed))).scalar_one())


def _event(parking: Parking) -> NewEvent:
    if parking.status is JobStatus.BUDGET_REACHED:
        message = "The budget is used up." if parking.reason is None else parking.reason.message
        return NewEvent(JobEvent.BUDGET_REACHED, {"message": message})
    return NewEvent(JobEvent.PAUSED, {"status": JobStatus.PAUSED})
