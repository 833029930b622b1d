"""``/v1/files``: what callers upload for their jobs, in the shape of OpenAI's files. How an upload is read is ``uploads.py``'s."""

from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Depends, Query, Request, Response

from gateway.once import REPLAYED_HEADER, MayRepeat
from gateway.routes.artifacts import ANY_BYTES, download
from gateway.routes.common import MayReadJobs, MayWriteJobs, UseServices, known_id
from gateway.uploads import EXPIRY_S, PATH, UploadRoom
from tandem.ids import FileId
from tandem.ports import NewFile
from tandem.schemas.files import FileDeleted, FileObject, FilePage, FilePurpose

_PAGE: Final = 1_000
"""Most files of one page; OpenAI's clients ask for more and follow ``has_more``."""
_SHORTEST, _LONGEST = EXPIRY_S
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "The file, under its name."},
                        "purpose": {"type": "string", "enum": ["user_data", "assistants"], "default": "user_data"},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer", "minimum": _SHORTEST, "maximum": _LONGEST},
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}
doors = APIRouter(prefix=PATH, tags=["files"])


async def _known_file(file_id: str) -> FileId:
    return FileId(known_id(file_id, "file", "file"))


KnownFile = Annotated[FileId, Depends(_known_file)]


@doors.post("", openapi_extra=_FORM)
async def upload_file(request: Request, services: UseServices, caller: MayWriteJobs, repeat: MayRepeat, response: Response) -> FileObject:
    """Keep a file for this tenant's jobs, which name it in ``files``. It stays until it is deleted, or ``expires_after`` is over."""
    room, limits, needs = cast("UploadRoom", request.app.state.uploads), services.settings.tools, services.dependencies
    async with room.receive(request.headers, request.stream(), limits.max_file_bytes) as upload:
        asked = upload.asked
        new = NewFile(needs.ids.file(), caller.tenant, asked.name, upload.media_type, asked.purpose, upload.content, asked.expires_after_s)
        file, is_replay = await needs.storage.files.add(new, max_total_bytes=limits.max_files_bytes, once=repeat.of(asked))
    response.headers["location"] = f"{PATH}/{file.id}"
    if is_replay:
        response.headers[REPLAYED_HEADER] = "true"
    return file


@doors.get("")
async def list_files(
    services: UseServices,
    caller: MayReadJobs,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = _PAGE,
    order: Literal["asc", "desc"] = "desc",
    purpose: FilePurpose | None = None,
) -> FilePage:
    """The tenant's files, newest first (``order=asc``: oldest first); at most 1,000 at once."""
    cursor, limit = None if after is None else FileId(known_id(after, "file", "file", "after")), min(limit, _PAGE)
    store = services.dependencies.storage.files
    found = await store.list(caller.tenant, purpose=purpose, after=cursor, limit=limit + 1, is_oldest_first=order == "asc")
    page = list(found)[:limit]
    return FilePage(data=page, first_id=page[0].id if page else None, last_id=page[-1].id if page else None, has_more=len(found) > limit)


@doors.get("/{file_id}")
async def read_file(file_id: KnownFile, services: UseServices, caller: MayReadJobs) -> FileObject:
    """One file, without its content."""
    return await services.dependencies.storage.files.get(file_id, caller.tenant)


@doors.get(
    "/{file_id}/content",
    response_class=Response,
    responses={200: {"content": {ANY_BYTES: {"schema": {"type": "string", "format": "binary"}}}, "description": "The file's bytes."}},
)
async def read_file_content(file_id: KnownFile, services: UseServices, caller: MayReadJobs) -> Response:
    """The bytes as they were uploaded, as a download that no browser runs."""
    file, content = await services.dependencies.storage.files.content(file_id, caller.tenant)
    return download(file.filename, file.media_type, content)


@doors.delete("/{file_id}")
async def delete_file(file_id: KnownFile, services: UseServices, caller: MayWriteJobs) -> FileDeleted:
    """Forget it; a job that still wants to read it is told so and goes on."""
    await services.dependencies.storage.files.delete(file_id, caller.tenant)
    return FileDeleted(id=file_id)
