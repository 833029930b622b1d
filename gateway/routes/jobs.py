"""``/v1/jobs``: submit, list, read, wait, follow, delete. What changes a job is in ``job_changes.py``."""

import asyncio
import contextlib
import re
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from gateway.auth import Principal
from gateway.dependencies import Services
from gateway.once import REPLAYED_HEADER, MayRepeat
from gateway.routes.common import KnownJob, MayReadJobs, MayWriteJobs, UseServices, known_id, start_cursor
from gateway.routes.events import Log, Snapshot, event_stream, page, wants_stream
from gateway.routing import newest_and_history, title_of
from router.overrides import strip_command
from tandem.errors import CursorExpired, InvalidRequest
from tandem.ids import DecisionId, JobId, ScheduleId, StreamId, TenantId, ThreadId
from tandem.ports import Created, JobFilter, NewJob, Turns
from tandem.schemas.chat import ChatMessage
from tandem.schemas.events import Event, EventPage, JobEvent
from tandem.schemas.jobs import Job, JobPage, JobRequest, JobStatus
from tandem.schemas.routing import Effort

MAX_WAIT_S: Final = 60.0
_POLL_AFTER_S: Final = "2"
_METADATA: Final = re.compile(r"metadata\[([^\x00]{1,64})\]", re.DOTALL)
_LISTED_BY: Final = frozenset({"status", "after", "limit", "thread_id", "parent_id", "schedule_id"})
_METADATA_PARAMETER: Final = {
    "name": "metadata",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "explode": True,
    "description": "Pairs the job must have, as metadata[key]=value.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
doors = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@doors.post("", status_code=202)
async def submit_job(request: JobRequest, services: UseServices, caller: MayWriteJobs, repeat: MayRepeat, response: Response) -> Job:
    """Hand over a task. The answer comes after the commit: an accepted job is never lost."""
    once = repeat.of(request)
    request = _cleaned(request)
    await services.check_request(request)
    granted = await services.grants.settle(request, caller)
    effort, decision_id = await _effort(services, caller, request)
    created = await services.desk.submit(
        NewJob(
            id=services.dependencies.ids.job(),
            tenant=caller.tenant,
            key_id=caller.key_id,
            request=request,
            tools=granted,
            effort=effort,
            title=title_of(request.input if isinstance(request.input, str) else request.input[-1].content),
            thread_id=None if request.thread_id is None else ThreadId(request.thread_id),
            decision_id=decision_id,
            once=once,
        )
    )
    return accepted(created, response)


def accepted(created: Created, response: Response) -> Job:
    """The new job, with the headers that say where it is and when to look."""
    response.headers["location"] = f"/v1/jobs/{created.job.id}"
    response.headers["retry-after"] = _POLL_AFTER_S
    if created.is_replay:
        response.headers[REPLAYED_HEADER] = "true"
    return created.job


async def _filter(
    request: Request,
    status: JobStatus | None = None,
    thread_id: str | None = None,
    parent_id: str | None = None,
    schedule_id: str | None = None,
) -> JobFilter:
    """The filter of a listing. What cannot be an id matches nothing, so it is refused like an unknown parameter rather than ignored."""
    metadata: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        pair = _METADATA.fullmatch(name)
        if pair is None and name not in _LISTED_BY:
            raise InvalidRequest(f"{name[:64]!r} does not filter jobs; use {', '.join(sorted(_LISTED_BY))} or metadata[key]", param=name[:64])
        if pair is None:
            if len(request.query_params.getlist(name)) > 1:
                raise InvalidRequest(f"{name!r} is given twice; ask once for each value", param=name)
            continue
        if metadata.setdefault(pair[1], value) != value:
            raise InvalidRequest(f"{name!r} is given twice with different values; a job has one value per key", param=name)
        if "\x00" in value:
            raise InvalidRequest(f"{name!r} holds the character U+0000; remove it", param=name)
    return JobFilter(
        status=status,
        metadata=metadata,
        thread_id=None if thread_id is None else ThreadId(known_id(thread_id, "thr", "thread")),
        parent_id=None if parent_id is None else JobId(known_id(parent_id, "job", "job", "parent_id")),
        schedule_id=None if schedule_id is None else ScheduleId(known_id(schedule_id, "sch", "schedule")),
    )


@doors.get("", openapi_extra={"parameters": [_METADATA_PARAMETER]})
async def list_jobs(
    services: UseServices,
    caller: MayReadJobs,
    where: Annotated[JobFilter, Depends(_filter)],
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> JobPage:
    """The tenant's jobs, newest first."""
    cursor = None if after is None else JobId(known_id(after, "job", "job", "after"))
    found = await services.dependencies.storage.jobs.list(caller.tenant, where=where, after=cursor, limit=limit + 1)
    jobs = list(found)[:limit]
    return JobPage(data=jobs, next_after=jobs[-1].id if len(found) > limit else None)


@doors.get("/{job_id}")
async def read_job(
    job_id: KnownJob,
    services: UseServices,
    caller: MayReadJobs,
    wait: Annotated[
        float | None, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the job's end, or for a state in which somebody must act.")
    ] = None,
) -> Job:
    """The job as it stands; with ``wait``, as soon as it ends, is parked until somebody acts, or the seconds are over."""
    job = await services.dependencies.storage.jobs.get(job_id, caller.tenant)
    if not wait or job.status.is_terminal or job.status.is_parked:
        return job
    await _wait_for_rest(services, job_id, job.last_seq, wait)
    return await services.dependencies.storage.jobs.get(job_id, caller.tenant)


@doors.delete("/{job_id}", status_code=204)
async def delete_job(job_id: KnownJob, services: UseServices, caller: MayWriteJobs) -> None:
    """Delete an ended job with its events, artifacts and recorded steps. Webhooks that are still to be sent are sent."""
    await services.dependencies.storage.jobs.purge(job_id, caller.tenant)


@doors.get("/{job_id}/events", response_model=EventPage, responses={200: {"content": {"text/event-stream": {}}}})
async def read_job_events(
    job_id: KnownJob,
    services: UseServices,
    caller: MayReadJobs,
    after: Annotated[int | None, Query(ge=-1)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str | None, Header()] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventPage | Response:
    """A page of the job's events; with ``Accept: text/event-stream`` the live stream, which ends with the job. 204: the job's last event was read."""
    job = await services.dependencies.storage.jobs.get(job_id, caller.tenant)
    cursor = start_cursor(after, last_event_id)
    is_over = job.status.is_terminal and cursor == job.last_seq
    log = Log(StreamId(job_id), job.last_seq, _is_end, partial(_snapshot, services, job_id, caller.tenant))
    if wants_stream(accept):
        # 204 is what tells an EventSource to stop reconnecting.
        return Response(status_code=204) if is_over else event_stream(services, log, cursor)
    found = await page(services.dependencies.storage.events, log, cursor, limit)
    return found.model_copy(update={"is_final": found.is_final or (job.status.is_terminal and found.next_after == job.last_seq)})


async def _snapshot(services: Services, job_id: JobId, tenant: TenantId) -> Snapshot:
    job = await services.dependencies.storage.jobs.get(job_id, tenant)
    return Snapshot(job.model_dump(mode="json", by_alias=True), job.last_seq, job.status.is_terminal)


def _is_end(event: Event) -> bool:
    return event.type in JobEvent.TERMINAL


def _cleaned(request: JobRequest) -> JobRequest:
    """A leading ``/deep`` says where to think, which this door has decided already; the task is what follows."""
    if isinstance(request.input, str):
        return request.model_copy(update={"input": strip_command(request.input)})
    return request


async def _effort(services: Services, caller: Principal, request: JobRequest) -> tuple[Effort, DecisionId | None]:
    if request.effort is not None:
        return request.effort, None
    messages = [ChatMessage(role="user", content=request.input)] if isinstance(request.input, str) else request.input
    text, history = newest_and_history(messages)
    turns = Turns(text=text, history=history, choice="slow")
    decision_id, decision = await services.routing.decide(turns, TenantId(caller.tenant), "jobs", key=request.thread_id)
    return decision.effort, decision_id


async def _wait_for_rest(services: Services, job_id: JobId, after: int, wait_s: float) -> None:
    """Return at the event after which nothing comes, for good or until somebody acts."""
    # A log that is swept meanwhile belongs to a job that has ended.
    with contextlib.suppress(TimeoutError, CursorExpired):
        async with asyncio.timeout(wait_s), contextlib.aclosing(services.tails.tail(StreamId(job_id), after, pause_s=wait_s)) as events:
            async for event in events:
                if event is not None and (_is_end(event) or event.type in JobEvent.PARKED):
                    return
