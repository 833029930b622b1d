"""``/v1/schedules``: jobs that come again. The dispatcher takes the turns; here schedules are made, read, changed, tried out and deleted."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response

from gateway.auth import Principal
from gateway.cron import first_run
from gateway.dependencies import Services
from gateway.once import REPLAYED_HEADER, MayRepeat
from gateway.routes.common import MayReadJobs, MayWriteJobs, UseServices, known_id
from gateway.routes.jobs import accepted
from gateway.schedules import UNREADABLE, turn_of
from router.overrides import strip_command
from tandem.errors import CallerError, Conflict, InvalidRequest, NotFound
from tandem.ids import EndpointId, FileId, ScheduleId, TenantId, ThreadId
from tandem.ports import ScheduleUpdate, Storage
from tandem.schemas.jobs import Job, JobRequest
from tandem.schemas.schedules import Schedule, ScheduleChange, ScheduleCreate, SchedulePage

MAX_SCHEDULES: Final = 1_000
"""Schedules of one tenant."""
_OF_ONE_JOB: Final = ("run_at", "deadline", "parent_id")
"""Fields of a job's request that can be right once only."""
doors = APIRouter(prefix="/v1/schedules", tags=["schedules"])


async def _known_schedule(schedule_id: str) -> ScheduleId:
    return ScheduleId(known_id(schedule_id, "sch", "schedule"))


KnownSchedule = Annotated[ScheduleId, Depends(_known_schedule)]


@doors.post("", status_code=201)
async def create_schedule(request: ScheduleCreate, services: UseServices, caller: MayWriteJobs, repeat: MayRepeat, response: Response) -> Schedule:
    """Start a job again and again, by cron and time zone. The request is checked now as ``POST /v1/jobs`` checks it."""
    once = repeat.of(request)
    store = services.dependencies.storage.schedules
    first = first_run(request.cron, request.timezone, await store.now())
    new = request.model_copy(update={"request": await _checked(services, caller, request.request)})
    schedule, is_replay = await store.add(
        services.dependencies.ids.schedule(),
        caller.tenant,
        caller.key_id,
        new,
        first if new.is_enabled else None,
        max_schedules=MAX_SCHEDULES,
        once=once,
    )
    response.headers["location"] = f"/v1/schedules/{schedule.id}"
    if is_replay:
        response.headers[REPLAYED_HEADER] = "true"
    return schedule


@doors.get("")
async def list_schedules(
    services: UseServices, caller: MayReadJobs, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> SchedulePage:
    """The tenant's schedules, newest first."""
    cursor = None if after is None else ScheduleId(known_id(after, "sch", "schedule"))
    found = await services.dependencies.storage.schedules.list(caller.tenant, after=cursor, limit=limit + 1)
    schedules = list(found)[:limit]
    return SchedulePage(data=schedules, next_after=schedules[-1].id if len(found) > limit else None)


@doors.get("/{schedule_id}")
async def read_schedule(schedule_id: KnownSchedule, services: UseServices, caller: MayReadJobs) -> Schedule:
    """One schedule: when it comes next, and what became of its newest turn. Its jobs: ``GET /v1/jobs?schedule_id=…``."""
    return await services.dependencies.storage.schedules.get(schedule_id, caller.tenant)


@doors.patch("/{schedule_id}")
async def change_schedule(schedule_id: KnownSchedule, change: ScheduleChange, services: UseServices, caller: MayWriteJobs) -> Schedule:
    """Set what is given. A new time, or switching on, counts from now; jobs that were started stay as they are.

    Whoever sets the request lends it the tools of their key.
    """
    given = {name: getattr(change, name) for name in change.model_fields_set if getattr(change, name) is not None}
    if not given:
        raise InvalidRequest("the body changes nothing; give 'name', 'cron', 'timezone', 'request', 'overlap' or 'is_enabled'")
    store = services.dependencies.storage.schedules
    if change.request is not None:
        given["request"] = await _checked(services, caller, change.request)
    wanted = (await store.get(schedule_id, caller.tenant)).model_copy(update=given)
    if wanted.request is None:
        raise Conflict(UNREADABLE, param="request")
    first = first_run(wanted.cron, wanted.timezone, await store.now())
    update = ScheduleUpdate(
        name=wanted.name,
        cron=wanted.cron,
        timezone=wanted.timezone,
        request_json=wanted.request.model_dump_json(by_alias=True),
        overlap=wanted.overlap,
        is_enabled=wanted.is_enabled,
        next_run_at=first if wanted.is_enabled else None,
        key_id=None if change.request is None else caller.key_id,
    )
    return await store.change(schedule_id, caller.tenant, update)


@doors.delete("/{schedule_id}", status_code=204)
async def delete_schedule(schedule_id: KnownSchedule, services: UseServices, caller: MayWriteJobs) -> None:
    """No more turns; the jobs it has started go on."""
    await services.dependencies.storage.schedules.remove(schedule_id, caller.tenant)


@doors.post("/{schedule_id}/run", status_code=202)
async def run_schedule(schedule_id: KnownSchedule, services: UseServices, caller: MayWriteJobs, repeat: MayRepeat, response: Response) -> Job:
    """Start its job once, now: also beside one that has not ended, and while the schedule is off. The next turn comes as planned."""
    schedule = await services.dependencies.storage.schedules.get(schedule_id, caller.tenant)
    new = turn_of(schedule, services.dependencies.ids, caller.tenant, caller.key_id, once=repeat.of(None))
    new = replace(new, tools=await services.grants.settle(new.request, caller))
    return accepted(await services.desk.submit(new), response)


async def _checked(services: Services, caller: Principal, request: JobRequest) -> JobRequest:
    """The request as each turn will submit it. Raises a ``CallerError`` whose ``param`` begins with ``request.``."""
    for name in _OF_ONE_JOB:
        if getattr(request, name) is not None:
            raise InvalidRequest(f"'request.{name}' can be right for one job only, and a schedule makes many; leave it out", param=f"request.{name}")
    if isinstance(request.input, str):
        request = request.model_copy(update={"input": strip_command(request.input)})
    try:
        await services.check_request(request)
        await services.grants.settle(request, caller)
        await _check_references(services.dependencies.storage, caller.tenant, request)
    except CallerError as error:
        raise type(error)(error.message, param=f"request.{error.param}" if error.param else "request") from None
    return request


async def _check_references(storage: Storage, tenant: TenantId, request: JobRequest) -> None:
    """A thread, an endpoint or a file that goes later shows in the schedule's ``last_error``."""
    if request.thread_id is not None:
        await storage.threads.get(ThreadId(request.thread_id), tenant)
    for endpoint_id in request.webhook_endpoints or ():
        try:
            await storage.webhooks.get(EndpointId(endpoint_id), tenant)
        except NotFound as error:
            raise NotFound(error.message, param="webhook_endpoints") from None
    try:
        await storage.files.find([FileId(file_id) for file_id in request.files], tenant)
    except NotFound as error:
        raise NotFound(error.message, param="files") from None
