"""``/v1/jobs/{id}/inputs``: what a job asks, and the answers."""

from fastapi import APIRouter, Response

from gateway.dependencies import Services
from gateway.inputs import check_answer
from gateway.once import REPLAYED_HEADER, MayRepeat
from gateway.routes.common import KnownJob, MayReadJobs, MayWriteJobs, UseServices, known_id
from tandem.errors import NotFound
from tandem.ids import InputId, JobId, TenantId
from tandem.schemas.inputs import InputAnswer, InputPage, InputRequest

doors = APIRouter(prefix="/v1/jobs/{job_id}/inputs", tags=["jobs"])


@doors.get("")
async def list_inputs(job_id: KnownJob, services: UseServices, caller: MayReadJobs) -> InputPage:
    """Everything the job has asked, answered or not, oldest first."""
    return InputPage(data=(await services.dependencies.storage.jobs.get(job_id, caller.tenant)).inputs)


@doors.get("/{input_id}")
async def read_input(job_id: KnownJob, input_id: str, services: UseServices, caller: MayReadJobs) -> InputRequest:
    """One question, with its answer if there is one."""
    return await _question(services, job_id, caller.tenant, input_id)


@doors.post("/{input_id}")
async def answer_input(
    job_id: KnownJob, input_id: str, request: InputAnswer, services: UseServices, caller: MayWriteJobs, repeat: MayRepeat, response: Response
) -> InputRequest:
    """Answer a question once: ``decision`` for an approval, else ``value``. The job goes on when none is left open. 409: it is closed."""
    question = await _question(services, job_id, caller.tenant, input_id)
    if question.status == "pending":
        check_answer(question, request, max_chars=services.settings.gateway.max_input_chars)
    answered, is_replay = await services.desk.answer(job_id, caller, InputId(question.id), request, repeat.of(request))
    if is_replay:
        response.headers[REPLAYED_HEADER] = "true"
    return answered


async def _question(services: Services, job_id: JobId, tenant: TenantId, input_id: str) -> InputRequest:
    known = known_id(input_id, "inp", "input")
    job = await services.dependencies.storage.jobs.get(job_id, tenant)
    question = next((asked for asked in job.inputs if asked.id == known), None)
    if question is None:
        raise NotFound(f"job {job_id!r} has not asked {known!r}; GET /v1/jobs/{job_id}/inputs lists what it asks", param="input_id")
    return question
