"""``/v1/files``: what callers upload for their jobs, in the shape of OpenAI's files."""

from typing import Literal

from pydantic import Field

from tandem.schemas.base import Wire
from tandem.schemas.text import CleanText

FilePurpose = Literal["user_data", "assistants"]


class FileObject(Wire):
    """An uploaded file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    """Seconds since 1970-01-01 UTC, as OpenAI's."""
    expires_at: int | None = None
    """When it is deleted by itself; null keeps it until somebody deletes it."""
    filename: CleanText = Field(min_length=1, max_length=200)
    purpose: FilePurpose = "user_data"
    media_type: str
    sha256: str
    status: Literal["processed"] = "processed"
    """OpenAI's clients look at it; an upload that was answered is whole."""


class FileDeleted(Wire):
    """Answer of ``DELETE /v1/files/{id}``."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class FilePage(Wire):
    """A page of files, newest first."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None = None
    last_id: str | None = None
    """Pass it as ``after`` to read on."""
    has_more: bool = False
