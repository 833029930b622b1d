"""``/v1/jobs/{id}``: cancel, pause, resume, change, steer, retry."""

from fastapi import APIRouter, Response

from gateway.once import REPLAYED_HEADER, MayRepeat
from gateway.routes.common import KnownJob, MayWriteJobs, UseServices
from gateway.routes.jobs import accepted
from tandem.errors import InputTooLong, InvalidRequest
from tandem.schemas.inputs import Steer, SteerRequest
from tandem.schemas.jobs import Job, JobCancel, JobChange, JobRetry

doors = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@doors.patch("/{job_id}")
async def change_job(job_id: KnownJob, request: JobChange, services: UseServices, caller: MayWriteJobs) -> Job:
    """Set budget, priority or metadata; 409 after the end. A job that waits in ``budget_reached`` goes on with the new budget."""
    if not request.model_dump(exclude_none=True):
        raise InvalidRequest("the body changes nothing; give 'budget', 'priority' or 'metadata'")
    return await services.desk.change(job_id, caller.tenant, request)


@doors.post("/{job_id}/cancel")
async def cancel_job(job_id: KnownJob, services: UseServices, caller: MayWriteJobs, request: JobCancel | None = None) -> Job:
    """Ask for the end of the job and of its children. One without a worker ends at once, a running one within about a second.

    An ended one is returned unchanged.
    """
    is_rollback = request is not None and request.mode == "rollback"
    return await services.desk.cancel(job_id, caller.tenant, is_rollback=is_rollback)


@doors.post("/{job_id}/pause")
async def pause_job(job_id: KnownJob, services: UseServices, caller: MayWriteJobs) -> Job:
    """Stop at the next checkpoint and wait for ``resume`` without a worker; a job that no worker holds is paused at once."""
    return await services.desk.pause(job_id, caller.tenant)


@doors.post("/{job_id}/resume")
async def resume_job(job_id: KnownJob, services: UseServices, caller: MayWriteJobs) -> Job:
    """Queue a paused job again, or withdraw the wish to pause."""
    return await services.desk.resume(job_id, caller.tenant)


@doors.post("/{job_id}/retry", status_code=202)
async def retry_job(
    job_id: KnownJob, services: UseServices, caller: MayWriteJobs, repeat: MayRepeat, response: Response, request: JobRetry | None = None
) -> Job:
    """Try an ended job again as a new one, which keeps what is recorded of the finished steps unless ``from`` is ``start``."""
    wish = request or JobRetry()
    ended = await services.dependencies.storage.jobs.get(job_id, caller.tenant)
    return accepted(await services.desk.retry(ended, caller, wish, repeat.of(wish)), response)


@doors.post("/{job_id}/steer", status_code=202)
async def steer_job(
    job_id: KnownJob, request: SteerRequest, services: UseServices, caller: MayWriteJobs, repeat: MayRepeat, response: Response
) -> Steer:
    """Add words to a job under way; its worker takes them up before its next step."""
    if not request.message.strip():
        raise InvalidRequest("'message' is blank; say what the job should know", param="message")
    if len(request.message) > (limit := services.settings.gateway.max_input_chars):
        raise InputTooLong(f"'message' has {len(request.message)} characters, {limit} are allowed; shorten it", param="message")
    steer, is_replay = await services.desk.steer(job_id, caller.tenant, request.message, repeat.of(request))
    if is_replay:
        response.headers[REPLAYED_HEADER] = "true"
    return steer
