"""What the doors of jobs are sent and how their answers are read. No I/O."""

from collections.abc import Mapping
from typing import Final, Literal

from tandem.client.calls import ANSWER_TIMEOUT_S, Call, delete, get, params, post, segment
from tandem.schemas.events import EventPage
from tandem.schemas.inputs import InputAnswer, InputPage, InputRequest, Steer, SteerRequest
from tandem.schemas.jobs import Artifact, ArtifactPage, Job, JobCancel, JobChange, JobPage, JobRequest, JobRetry, JobStatus
from tandem.schemas.traces import StepPage, Trace

FILE_TIMEOUT_S: Final = 120.0
"""Longest silence while a file comes."""


def create_job(request: JobRequest, idempotency_key: str | None) -> Call[Job]:
    """``POST /v1/jobs``."""
    return post("/v1/jobs", Job, request, idempotency_key)


def get_job(job_id: str, wait_s: float | None = None) -> Call[Job]:
    """``GET /v1/jobs/{id}``."""
    wait = {} if wait_s is None else {"wait": f"{wait_s:g}"}
    return Call("GET", _job(job_id), Job.model_validate_json, wait, timeout_s=ANSWER_TIMEOUT_S + (wait_s or 0))


def list_jobs(
    status: JobStatus | None,
    after: str | None,
    limit: int,
    metadata: Mapping[str, str] | None = None,
    thread_id: str | None = None,
    parent_id: str | None = None,
    schedule_id: str | None = None,
) -> Call[JobPage]:
    """``GET /v1/jobs``."""
    where = params(status=status, after=after, limit=limit, thread_id=thread_id, parent_id=parent_id, schedule_id=schedule_id)
    return get("/v1/jobs", JobPage, where | {f"metadata[{key}]": value for key, value in (metadata or {}).items()})


def delete_job(job_id: str) -> Call[None]:
    """``DELETE /v1/jobs/{id}``."""
    return delete(_job(job_id))


def change_job(job_id: str, change: JobChange) -> Call[Job]:
    """``PATCH /v1/jobs/{id}``."""
    return post(_job(job_id), Job, change, method="PATCH")


def cancel_job(job_id: str, mode: Literal["interrupt", "rollback"]) -> Call[Job]:
    """``POST /v1/jobs/{id}/cancel``."""
    return post(f"{_job(job_id)}/cancel", Job, None if mode == "interrupt" else JobCancel(mode=mode))


def pause_job(job_id: str) -> Call[Job]:
    """``POST /v1/jobs/{id}/pause``."""
    return post(f"{_job(job_id)}/pause", Job)


def resume_job(job_id: str) -> Call[Job]:
    """``POST /v1/jobs/{id}/resume``."""
    return post(f"{_job(job_id)}/resume", Job)


def retry_job(job_id: str, retry: JobRetry | None, idempotency_key: str | None) -> Call[Job]:
    """``POST /v1/jobs/{id}/retry``."""
    return post(f"{_job(job_id)}/retry", Job, retry, idempotency_key)


def steer_job(job_id: str, message: str, idempotency_key: str | None) -> Call[Steer]:
    """``POST /v1/jobs/{id}/steer``."""
    return post(f"{_job(job_id)}/steer", Steer, SteerRequest(message=message), idempotency_key)


def job_inputs(job_id: str) -> Call[list[InputRequest]]:
    """``GET /v1/jobs/{id}/inputs``."""
    return Call("GET", f"{_job(job_id)}/inputs", lambda body: InputPage.model_validate_json(body).data)


def answer_input(job_id: str, input_id: str, answer: InputAnswer, idempotency_key: str | None) -> Call[InputRequest]:
    """``POST /v1/jobs/{id}/inputs/{input_id}``."""
    return post(f"{_job(job_id)}/inputs/{segment(input_id)}", InputRequest, answer, idempotency_key)


def job_steps(job_id: str) -> Call[StepPage]:
    """``GET /v1/jobs/{id}/steps``."""
    return get(f"{_job(job_id)}/steps", StepPage)


def job_trace(job_id: str) -> Call[Trace]:
    """``GET /v1/jobs/{id}/trace``."""
    return get(f"{_job(job_id)}/trace", Trace)


def job_artifacts(job_id: str) -> Call[list[Artifact]]:
    """``GET /v1/jobs/{id}/artifacts``."""
    return Call("GET", f"{_job(job_id)}/artifacts", lambda body: ArtifactPage.model_validate_json(body).data)


def read_artifact(job_id: str, artifact_id: str) -> Call[bytes]:
    """``GET /v1/jobs/{id}/artifacts/{artifact_id}``."""
    return Call("GET", f"{_job(job_id)}/artifacts/{segment(artifact_id)}", bytes, timeout_s=FILE_TIMEOUT_S)


def job_event_page(job_id: str, after: int, limit: int) -> Call[EventPage]:
    """``GET /v1/jobs/{id}/events`` as JSON."""
    where = params(after=after, limit=limit)
    return Call("GET", f"{_job(job_id)}/events", EventPage.model_validate_json, where, headers={"accept": "application/json"})


def _job(job_id: str) -> str:
    return f"/v1/jobs/{segment(job_id)}"
