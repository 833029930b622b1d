"""What the doors of files, memories, the audit log and tools are sent, and how their answers are read. No I/O."""

import hashlib
from typing import Final

from tandem.client.calls import Call, delete, get, params, post, segment
from tandem.client.job_calls import FILE_TIMEOUT_S
from tandem.schemas.audit import AuditPage, AuditVerdict
from tandem.schemas.files import FileDeleted, FileObject, FilePage, FilePurpose
from tandem.schemas.memories import Memory, MemoryCreate, MemoryPage
from tandem.schemas.tools import OfferedTool, ToolPage

_ESCAPED: Final = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""What a quoted name of a form cannot hold (HTML's rule for forms)."""


def upload_file(name: str, content: bytes, purpose: FilePurpose, expires_after_s: int | None, idempotency_key: str | None) -> Call[FileObject]:
    """``POST /v1/files``."""
    fields = {"purpose": purpose}
    if expires_after_s is not None:
        fields |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(expires_after_s)}
    # Of the content, so that no line of it is the boundary unless somebody inverts the digest.
    boundary = hashlib.sha256(content).hexdigest()[:48]
    head = "".join(f'--{boundary}\r\ncontent-disposition: form-data; name="{field}"\r\n\r\n{value}\r\n' for field, value in fields.items())
    opening = f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{name.translate(_ESCAPED)}"\r\n\r\n'
    body = b"".join((head.encode(), opening.encode("utf-8", "replace"), content, f"\r\n--{boundary}--\r\n".encode()))
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"} | ({"idempotency-key": idempotency_key} if idempotency_key else {})
    return Call("POST", "/v1/files", FileObject.model_validate_json, body=body, headers=headers, timeout_s=FILE_TIMEOUT_S)


def list_files(after: str | None, limit: int, purpose: FilePurpose | None) -> Call[FilePage]:
    """``GET /v1/files``."""
    return get("/v1/files", FilePage, params(after=after, limit=limit, purpose=purpose))


def get_file(file_id: str) -> Call[FileObject]:
    """``GET /v1/files/{id}``."""
    return get(f"/v1/files/{segment(file_id)}", FileObject)


def read_file(file_id: str) -> Call[bytes]:
    """``GET /v1/files/{id}/content``."""
    return Call("GET", f"/v1/files/{segment(file_id)}/content", bytes, timeout_s=FILE_TIMEOUT_S)


def delete_file(file_id: str) -> Call[FileDeleted]:
    """``DELETE /v1/files/{id}``."""
    return Call("DELETE", f"/v1/files/{segment(file_id)}", FileDeleted.model_validate_json)


def create_memory(text: str) -> Call[Memory]:
    """``POST /v1/memory``."""
    return post("/v1/memory", Memory, MemoryCreate(text=text))


def list_memories(after: str | None, limit: int) -> Call[MemoryPage]:
    """``GET /v1/memory``."""
    return get("/v1/memory", MemoryPage, params(after=after, limit=limit))


def get_memory(memory_id: str) -> Call[Memory]:
    """``GET /v1/memory/{id}``."""
    return get(f"/v1/memory/{segment(memory_id)}", Memory)


def delete_memory(memory_id: str) -> Call[None]:
    """``DELETE /v1/memory/{id}``."""
    return delete(f"/v1/memory/{segment(memory_id)}")


def read_audit(after: int, limit: int, job_id: str | None) -> Call[AuditPage]:
    """``GET /v1/audit``."""
    return get("/v1/audit", AuditPage, params(after=after, limit=limit, job_id=job_id))


def verify_audit(head: str | None) -> Call[AuditVerdict]:
    """``GET /v1/audit/verify``."""
    return get("/v1/audit/verify", AuditVerdict, params(head=head))


def list_tools() -> Call[ToolPage]:
    """``GET /v1/tools``."""
    return get("/v1/tools", ToolPage)


def get_tool(name: str) -> Call[OfferedTool]:
    """``GET /v1/tools/{name}``."""
    return get(f"/v1/tools/{segment(name)}", OfferedTool)
