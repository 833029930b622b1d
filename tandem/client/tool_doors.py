"""The doors of files, memories, the audit log and tools, as both clients have them: each moves bytes by its own ``_send``."""

from abc import ABC, abstractmethod
from typing import TypeVar

from tandem.client import tool_calls
from tandem.client.calls import Call
from tandem.schemas.audit import AuditPage, AuditVerdict
from tandem.schemas.files import FileDeleted, FileObject, FilePage, FilePurpose
from tandem.schemas.memories import Memory, MemoryPage
from tandem.schemas.tools import OfferedTool, ToolPage

T = TypeVar("T")


class ToolDoors(ABC):
    """What ``TandemClient`` has of these doors."""

    @abstractmethod
    def _send(self, call: Call[T]) -> T: ...

    def upload_file(
        self, name: str, content: bytes, *, purpose: FilePurpose = "user_data", expires_after_s: int | None = None, idempotency_key: str | None = None
    ) -> FileObject:
        """Keep a file for later jobs, which name its id in ``files``; it stays until it is deleted or ``expires_after_s`` (3,600 or more) is over."""
        return self._send(tool_calls.upload_file(name, content, purpose, expires_after_s, idempotency_key))

    def list_files(self, after: str | None = None, limit: int = 100, purpose: FilePurpose | None = None) -> FilePage:
        """Newest first."""
        return self._send(tool_calls.list_files(after, limit, purpose))

    def get_file(self, file_id: str) -> FileObject:
        return self._send(tool_calls.get_file(file_id))

    def read_file(self, file_id: str) -> bytes:
        """The bytes as they were uploaded."""
        return self._send(tool_calls.read_file(file_id))

    def delete_file(self, file_id: str) -> FileDeleted:
        """A job that still wants to read it is told so."""
        return self._send(tool_calls.delete_file(file_id))

    def create_memory(self, text: str) -> Memory:
        """Remember a fact for later jobs; the same words are kept once."""
        return self._send(tool_calls.create_memory(text))

    def list_memories(self, after: str | None = None, limit: int = 20) -> MemoryPage:
        """Newest first."""
        return self._send(tool_calls.list_memories(after, limit))

    def get_memory(self, memory_id: str) -> Memory:
        return self._send(tool_calls.get_memory(memory_id))

    def delete_memory(self, memory_id: str) -> None:
        self._send(tool_calls.delete_memory(memory_id))

    def read_audit(self, after: int = 0, limit: int = 100, job_id: str | None = None) -> AuditPage:
        """What tools did and were not let do, oldest first."""
        return self._send(tool_calls.read_audit(after, limit, job_id))

    def verify_audit(self, head: str | None = None) -> AuditVerdict:
        """Whether the chain of records holds; ``head`` is a hash kept from an earlier answer, which must still be in it."""
        return self._send(tool_calls.verify_audit(head))

    def list_tools(self) -> ToolPage:
        """Every tool of the live workers, and whether a job of this key would get it."""
        return self._send(tool_calls.list_tools())

    def get_tool(self, name: str) -> OfferedTool:
        return self._send(tool_calls.get_tool(name))


class AsyncToolDoors(ABC):
    """What ``AsyncTandemClient`` has of these doors."""

    @abstractmethod
    async def _send(self, call: Call[T]) -> T: ...

    async def upload_file(
        self, name: str, content: bytes, *, purpose: FilePurpose = "user_data", expires_after_s: int | None = None, idempotency_key: str | None = None
    ) -> FileObject:
        """Keep a file for later jobs, which name its id in ``files``; it stays until it is deleted or ``expires_after_s`` (3,600 or more) is over."""
        return await self._send(tool_calls.upload_file(name, content, purpose, expires_after_s, idempotency_key))

    async def list_files(self, after: str | None = None, limit: int = 100, purpose: FilePurpose | None = None) -> FilePage:
        """Newest first."""
        return await self._send(tool_calls.list_files(after, limit, purpose))

    async def get_file(self, file_id: str) -> FileObject:
        return await self._send(tool_calls.get_file(file_id))

    async def read_file(self, file_id: str) -> bytes:
        """The bytes as they were uploaded."""
        return await self._send(tool_calls.read_file(file_id))

    async def delete_file(self, file_id: str) -> FileDeleted:
        """A job that still wants to read it is told so."""
        return await self._send(tool_calls.delete_file(file_id))

    async def create_memory(self, text: str) -> Memory:
        """Remember a fact for later jobs; the same words are kept once."""
        return await self._send(tool_calls.create_memory(text))

    async def list_memories(self, after: str | None = None, limit: int = 20) -> MemoryPage:
        """Newest first."""
        return await self._send(tool_calls.list_memories(after, limit))

    async def get_memory(self, memory_id: str) -> Memory:
        return await self._send(tool_calls.get_memory(memory_id))

    async def delete_memory(self, memory_id: str) -> None:
        await self._send(tool_calls.delete_memory(memory_id))

    async def read_audit(self, after: int = 0, limit: int = 100, job_id: str | None = None) -> AuditPage:
        """What tools did and were not let do, oldest first."""
        return await self._send(tool_calls.read_audit(after, limit, job_id))

    async def verify_audit(self, head: str | None = None) -> AuditVerdict:
        """Whether the chain of records holds; ``head`` is a hash kept from an earlier answer, which must still be in it."""
        return await self._send(tool_calls.verify_audit(head))

    async def list_tools(self) -> ToolPage:
        """Every tool of the live workers, and whether a job of this key would get it."""
        return await self._send(tool_calls.list_tools())

    async def get_tool(self, name: str) -> OfferedTool:
        return await self._send(tool_calls.get_tool(name))
