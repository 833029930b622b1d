"""``/v1/jobs/{id}/steps`` and ``/trace``: a job's course, for people and for tools."""

from collections.abc import Callable, Sequence

from fastapi import APIRouter

from gateway.routes.common import KnownJob, MayReadJobs, UseServices
from gateway.traces import MAX_EVENTS, Course, Steps
from tandem.ids import StreamId
from tandem.ports import EventLog
from tandem.schemas.events import Event
from tandem.schemas.jobs import Job
from tandem.schemas.traces import StepPage, Trace

_PAGE = 1_000
doors = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


@doors.get("/steps")
async def read_steps(job_id: KnownJob, services: UseServices, caller: MayReadJobs) -> StepPage:
    """The job's steps: where each stands, when it began and ended, what it found, and what people added at it."""
    storage = services.dependencies.storage
    job = await storage.jobs.get(job_id, caller.tenant)
    steps = Steps(job)
    is_partial = await _feed(storage.events, job, steps.feed)
    found, loose = steps.collected()
    return StepPage(data=found, steers=loose, is_partial=is_partial)


@doors.get("/trace")
async def read_trace(job_id: KnownJob, services: UseServices, caller: MayReadJobs) -> Trace:
    """The job as spans: attempts, steps, tools, checks, questions, and the recorded effects."""
    storage = services.dependencies.storage
    job = await storage.jobs.get(job_id, caller.tenant)
    course = Course(job)
    is_partial = await _feed(storage.events, job, course.feed)
    return Trace(job_id=job_id, spans=course.spans(await storage.jobs.effects(job_id, caller.tenant)), is_partial=is_partial)


async def _feed(log: EventLog, job: Job, feed: Callable[[Sequence[Event]], None]) -> bool:
    """Read the log up to where the job stood, page by page; whether something of it is missing."""
    after, read = -1, 0
    while after < job.last_seq and read < MAX_EVENTS:
        found = await log.read(StreamId(job.id), after, _PAGE)
        if not found:
            break
        feed(found)
        after = found[-1].sequence_number
        read += len(found)
    return read <= job.last_seq
