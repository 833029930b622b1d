"""``/v1/jobs/{id}/artifacts``: the files a job has made.

Covered: a file whose name or type tries to break out of a header; a page or a script that a browser would run on our address (it is offered as a
download, its type is never guessed, and its content is sandboxed). Not covered: what the file does on the machine of who opens it.
"""

import re
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Response

from gateway.routes.common import KnownJob, MayReadJobs, UseServices, known_id
from tandem.file_names import ANY_BYTES
from tandem.ids import ArtifactId
from tandem.schemas.jobs import ArtifactPage

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}(; ?charset=[a-z0-9._-]{1,40})?", re.IGNORECASE)
doors = APIRouter(prefix="/v1/jobs/{job_id}/artifacts", tags=["jobs"])


@doors.get("")
async def list_artifacts(job_id: KnownJob, services: UseServices, caller: MayReadJobs) -> ArtifactPage:
    """The job's files, oldest first."""
    return ArtifactPage(data=(await services.dependencies.storage.jobs.get(job_id, caller.tenant)).artifacts)


@doors.get(
    "/{artifact_id}",
    response_class=Response,
    responses={200: {"content": {ANY_BYTES: {"schema": {"type": "string", "format": "binary"}}}, "description": "The file's bytes."}},
)
async def read_artifact(job_id: KnownJob, artifact_id: str, services: UseServices, caller: MayReadJobs) -> Response:
    """One file."""
    known = ArtifactId(known_id(artifact_id, "art", "artifact"))
    artifact, content = await services.dependencies.storage.jobs.artifact(job_id, caller.tenant, known)
    return download(artifact.name, artifact.media_type, content)


def download(name: str, media_type: str, content: bytes) -> Response:
    """A file as an answer that no browser runs on our address."""
    headers = {
        "content-type": media_type if _MEDIA_TYPE.fullmatch(media_type) else ANY_BYTES,
        "content-disposition": disposition(name),
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "cache-control": "private, no-cache",
    }
    return Response(content, headers=headers)


def disposition(name: str) -> str:
    """A download under the file's name (RFC 6266); folders are left off, and what no header can hold is escaped."""
    base = re.split(r"[/\\]", name)[-1].strip(" .") or "artifact"
    plain = re.sub(r'[^\x20-\x7e]|["\\%;]', "_", base)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(base.encode('utf-8', 'replace'), safe='')}"
