"""What callers upload, and what jobs remember."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tandem.ids import FileId, MemoryId, TenantId
from tandem.ports.common import Once
from tandem.schemas.files import FileObject, FilePurpose
from tandem.schemas.memories import Memory, Provenance


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be kept."""

    id: FileId
    tenant: TenantId
    name: str
    media_type: str
    purpose: FilePurpose
    content: bytes
    expires_after_s: float | None = None


class FileStore(Protocol):
    """Uploaded files. Every method that takes a tenant raises ``NotFound`` also for another tenant's file."""

    async def add(self, new: NewFile, *, max_total_bytes: int, once: Once | None = None) -> tuple[FileObject, bool]:
        """The file as stored, and whether an earlier call with the same key had stored it.

        Raises:
            TooManyRequests: The tenant's files would be larger than ``max_total_bytes`` together.
            IdempotencyKeyReused: The key is known with another fingerprint.
        """
        ...

    async def get(self, file_id: FileId, tenant: TenantId) -> FileObject: ...

    async def content(self, file_id: FileId, tenant: TenantId) -> tuple[FileObject, bytes]: ...

    async def find(self, file_ids: Sequence[FileId], tenant: TenantId) -> Sequence[FileObject]:
        """In the order asked. Raises ``NotFound`` for the first that is not there."""
        ...

    async def list(
        self, tenant: TenantId, *, purpose: FilePurpose | None, after: FileId | None, limit: int, is_oldest_first: bool = False
    ) -> Sequence[FileObject]:
        """Newest first, or oldest first; those beyond ``after``. Raises ``NotFound`` for an unknown cursor."""
        ...

    async def delete(self, file_id: FileId, tenant: TenantId) -> None: ...


class MemoryStore(Protocol):
    """What is remembered for a tenant. Every method raises ``NotFound`` also for another tenant's memory."""

    async def add(self, memory_id: MemoryId, tenant: TenantId, text: str, provenance: Provenance, *, max_memories: int) -> Memory:
        """The memory; one with the same text is returned as it is. Raises ``TooManyRequests`` at ``max_memories``."""
        ...

    async def list(self, tenant: TenantId, *, after: MemoryId | None, limit: int) -> Sequence[Memory]:
        """Newest first, those made before ``after``."""
        ...

    async def get(self, memory_id: MemoryId, tenant: TenantId) -> Memory: ...

    async def delete(self, memory_id: MemoryId, tenant: TenantId) -> None: ...
