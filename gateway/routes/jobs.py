"""``/v1/jobs``: submit, read, wait, list, follow, cancel."""

import contextlib
import hashlib
import re
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response

from gateway.auth import Principal
from gateway.dependencies import Services
from gateway.jobs import check_job
from gateway.routes.common import MayReadJobs, MayWriteJobs, UseServices, known_id, start_cursor
from gateway.routes.events import event_stream, page, wants_stream
from gateway.routing import newest_and_history, title_of
from router.overrides import strip_command
from tandem.errors import EgressDenied, InvalidRequest
from tandem.ids import DecisionId, JobId, StreamId, TenantId, ThreadId, is_id
from tandem.ports import NewJob, Turns
from tandem.schemas.chat import ChatMessage
from tandem.schemas.events import Event, EventPage, JobEvent
from tandem.schemas.jobs import Job, JobPage, JobRequest, JobStatus
from tandem.schemas.routing import Effort

MAX_WAIT_S: Final = 60.0
_POLL_AFTER_S: Final = "2"
_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
doors = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@doors.post("", status_code=202)
async def submit_job(
    request: JobRequest,
    services: UseServices,
    caller: MayWriteJobs,
    response: Response,
    idempotency_key: Annotated[str | None, Header(description="Sending the same key and body again returns the same job.")] = None,
) -> Job:
    """Hand over a task. The answer comes after the commit: an accepted job is never lost."""
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise InvalidRequest("the header Idempotency-Key must be 1 to 255 printable ASCII characters; send a shorter one", param="Idempotency-Key")
    request = _cleaned(request)
    check_job(request, max_input_chars=services.settings.gateway.max_input_chars, tools=services.dependencies.tools)
    thread_id = _thread_of(request)
    await _check_webhook(services, request.webhook_url)
    effort, decision_id = _effort(services, caller, request)
    created = await services.desk.submit(
        NewJob(
            id=services.dependencies.ids.job(),
            tenant=caller.tenant,
            key_id=caller.key_id,
            request=request,
            effort=effort,
            title=title_of(request.input if isinstance(request.input, str) else request.input[-1].content),
            thread_id=thread_id,
            decision_id=decision_id,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint(request) if idempotency_key else None,
        )
    )
    response.headers["location"] = f"/v1/jobs/{created.job.id}"
    response.headers["retry-after"] = _POLL_AFTER_S
    if created.is_replay:
        response.headers["idempotent-replayed"] = "true"
    return created.job


@doors.get("")
async def list_jobs(
    services: UseServices,
    caller: MayReadJobs,
    status: JobStatus | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> JobPage:
    """The tenant's jobs, newest first."""
    cursor = None if after is None else JobId(known_id(after, "job", "job"))
    found = await services.dependencies.storage.jobs.list(caller.tenant, status=status, after=cursor, limit=limit + 1)
    jobs = list(found)[:limit]
    return JobPage(data=jobs, next_after=jobs[-1].id if len(found) > limit else None)


@doors.get("/{job_id}")
async def read_job(
    job_id: str,
    services: UseServices,
    caller: MayReadJobs,
    wait: Annotated[float | None, Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for the job's end.")] = None,
) -> Job:
    """The job as it stands; with ``wait``, as soon as it ends or the seconds are over."""
    known = JobId(known_id(job_id, "job", "job"))
    job = await services.dependencies.storage.jobs.get(known, caller.tenant)
    if not wait or job.status.is_terminal:
        return job
    await _wait_for_end(services, known, job.last_seq, wait)
    return await services.dependencies.storage.jobs.get(known, caller.tenant)


@doors.get("/{job_id}/events", response_model=EventPage, responses={200: {"content": {"text/event-stream": {}}}})
async def read_job_events(
    job_id: str,
    services: UseServices,
    caller: MayReadJobs,
    after: Annotated[int | None, Query(ge=-1)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str | None, Header()] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventPage | Response:
    """A page of the job's events; with ``Accept: text/event-stream`` the live stream, which ends with the job. 204: the job's last event was read."""
    known = JobId(known_id(job_id, "job", "job"))
    job = await services.dependencies.storage.jobs.get(known, caller.tenant)
    cursor = start_cursor(after, last_event_id)
    is_over = job.status.is_terminal and cursor >= job.last_seq
    if wants_stream(accept):
        # 204 is what tells an EventSource to stop reconnecting.
        return Response(status_code=204) if is_over else event_stream(services, StreamId(known), cursor, _is_end)
    found = await page(services.dependencies.storage.events, StreamId(known), cursor, limit, _is_end)
    return found.model_copy(update={"is_final": found.is_final or is_over})


@doors.post("/{job_id}/cancel")
async def cancel_job(job_id: str, services: UseServices, caller: MayWriteJobs) -> Job:
    """Ask for the job's end. A queued job ends at once, a running one within about a second; an ended one is returned unchanged."""
    return await services.desk.cancel(JobId(known_id(job_id, "job", "job")), caller.tenant)


def fingerprint(request: JobRequest) -> str:
    """Digest of the body in canonical form: field order and spelled-out defaults do not matter."""
    return hashlib.sha256(request.model_dump_json(by_alias=True).encode()).hexdigest()


def _is_end(event: Event) -> bool:
    return event.type in JobEvent.TERMINAL


def _cleaned(request: JobRequest) -> JobRequest:
    """A leading ``/deep`` says where to think, which this door has decided already; the task is what follows."""
    if isinstance(request.input, str):
        return request.model_copy(update={"input": strip_command(request.input)})
    return request


def _thread_of(request: JobRequest) -> ThreadId | None:
    if request.thread_id is None:
        return None
    if not is_id(request.thread_id, "thr"):
        raise InvalidRequest(f"'thread_id' {request.thread_id[:64]!r} is no thread's id; make one with POST /v1/threads", param="thread_id")
    return ThreadId(request.thread_id)


async def _check_webhook(services: Services, url: str | None) -> None:
    if url is None:
        return
    try:
        await services.dependencies.check_webhook(url)
    except (EgressDenied, InvalidRequest) as error:
        raise type(error)(error.message, param="webhook_url") from None


def _effort(services: Services, caller: Principal, request: JobRequest) -> tuple[Effort, DecisionId | None]:
    if request.effort is not None:
        return request.effort, None
    messages = [ChatMessage(role="user", content=request.input)] if isinstance(request.input, str) else request.input
    text, history = newest_and_history(messages)
    decision_id, decision = services.routing.decide(Turns(text=text, history=history, choice="slow"), TenantId(caller.tenant), "jobs")
    return decision.effort, decision_id


async def _wait_for_end(services: Services, job_id: JobId, after: int, wait_s: float) -> None:
    async with contextlib.aclosing(services.tails.tail(StreamId(job_id), after, pause_s=wait_s, max_s=wait_s)) as events:
        deadline = services.dependencies.clock.monotonic() + wait_s
        async for event in events:
            if event is None or _is_end(event) or services.dependencies.clock.monotonic() >= deadline:
                return
