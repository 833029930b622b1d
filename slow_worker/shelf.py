"""The files of one job as its tools see them: what its caller brought (uploads and documents of the request), and what its tools made.

Covered: a file of another tenant (the store asks for the tenant); a file that was deleted after the job was submitted (its tool is told so, the job
goes on); two files of one name (the later one is numbered). Not covered: what is in the files, which is for the tools to distrust.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slow_worker.artifacts import Artifacts, Made
from tandem.errors import NotFound, ToolFailed
from tandem.file_names import clean_name, distinct_name, has_text_ending, media_type_of
from tandem.ids import FileId, TenantId
from tandem.ports import FileStore, ShelfFile
from tandem.schemas.jobs import Document

_SHOWN: Final = 20
"""Names of files that an error tells."""


@dataclass(frozen=True, slots=True)
class _Brought:
    """A file of the caller's."""

    file: ShelfFile
    id: FileId | None
    """Of an upload."""
    content: bytes | None
    """Of a document, which came with the request."""


class JobShelf:
    """Implements ``Shelf`` for one run of one job."""

    def __init__(self, tenant: TenantId, file_ids: Sequence[str], documents: Sequence[Document], store: FileStore, artifacts: Artifacts) -> None:
        self._tenant = tenant
        self._file_ids = [FileId(file_id) for file_id in dict.fromkeys(file_ids)]
        self._documents = documents
        self._store = store
        self._artifacts = artifacts
        self._brought: dict[str, _Brought] | None = None
        self._gone: list[FileId] = []

    async def files(self) -> Sequence[ShelfFile]:
        brought = [each.file for each in (await self._look()).values()]
        made = [ShelfFile(each.name, each.media_type, each.size, is_made=True) for each in await self._artifacts.listed()]
        return [*brought, *made]

    async def read(self, name: str) -> bytes:
        if (brought := (await self._look()).get(name)) is not None:
            return await self._content(brought)
        made = next((each for each in await self._artifacts.listed() if each.name == name), None)
        if made is None:
            raise ToolFailed(await self._unknown(name))
        return await self._artifacts.content(made)

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        return await self._artifacts.add(Made(name, media_type, content), taken=await self._look())

    async def _content(self, brought: _Brought) -> bytes:
        if brought.id is None:
            return brought.content or b""
        try:
            return (await self._store.content(brought.id, self._tenant))[1]
        except NotFound:
            message = f"the file {brought.file.name!r} was deleted, or its time was over, after the job was submitted; go on without it, and say so"
            raise ToolFailed(message) from None

    async def _look(self) -> dict[str, _Brought]:
        """What the caller brought, by name; asked of the store once, for an upload never changes."""
        if self._brought is None:
            found: dict[str, _Brought] = {}
            gone: list[FileId] = []
            for file_id in self._file_ids:
                try:
                    upload = await self._store.get(file_id, self._tenant)
                except NotFound:
                    gone.append(file_id)
                    continue
                name = distinct_name(upload.filename, found)
                found[name] = _Brought(ShelfFile(name, upload.media_type, upload.bytes), file_id, None)
            for document in self._documents:
                name, content = distinct_name(_text_name(document.name), found), document.text.encode()
                found[name] = _Brought(ShelfFile(name, media_type_of(name, content), len(content)), None, content)
            self._brought, self._gone = found, gone
        return self._brought

    async def _unknown(self, name: str) -> str:
        names = [each.name for each in await self.files()]
        shown = ", ".join(repr(each) for each in names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        message = f"there is no file {name!r}; " + (f"there are {shown}" if names else "this job has no files")
        return message + (f"; {', '.join(self._gone)} of the request was deleted, or its time was over" if self._gone else "")


def _text_name(name: str) -> str:
    clean = clean_name(name)
    return clean if has_text_ending(clean) else clean_name(f"{clean}.txt")
