"""``/v1/audit``: what tools did and were not let do, as a chain of hashes per tenant."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tandem.schemas.base import JsonObject, Wire

AuditKind = Literal["tool_call", "tool_refused", "approval_asked", "approval_given", "approval_refused", "egress", "grant"]


class AuditEntry(Wire):
    """What happened, before it has a place in the chain. Holds no secret and no argument in the clear beyond short, redacted ones."""

    kind: AuditKind
    job_id: str | None = None
    key_id: str | None = None
    """The API key behind the job, or of who approved."""
    tool: str | None = None
    call_id: str | None = None
    arguments_digest: str | None = None
    """SHA-256 of the canonical JSON of the arguments."""
    arguments: JsonObject = Field(default_factory=JsonObject)
    """Redacted: long texts are cut, what looks like a secret is masked."""
    decision: Literal["allowed", "refused", "asked", "approved", "rejected", "expired"] = "allowed"
    rule: str = ""
    """Which rule decided."""
    outcome: str = ""
    """``ok``, or the code of the fault."""
    host: str | None = None
    address: str | None = None
    """The literal address that was dialled."""
    bytes_out: int | None = None
    bytes_in: int | None = None
    seconds: float | None = None
    approval_id: str | None = None
    """The input request behind an approval."""


class AuditRecord(AuditEntry):
    """An entry in its tenant's chain."""

    object: Literal["audit_record"] = "audit_record"
    seq: int
    """From 1, without gaps within a tenant."""
    at: datetime
    previous_hash: str
    """Of the record before; 64 zeros for the first."""
    hash: str
    """SHA-256 over the previous hash and the canonical JSON of everything else."""


class AuditPage(Wire):
    """A page of the chain, oldest first."""

    object: Literal["list"] = "list"
    data: list[AuditRecord]
    next_after: int | None = None
    """Pass it as ``after`` to read on; null at the end."""


class AuditVerdict(Wire):
    """Whether a tenant's chain holds."""

    is_intact: bool
    checked: int
    """Records looked at."""
    head: str | None = None
    """Hash of the newest record: keep it elsewhere to notice a chain that was cut."""
    first_broken: int | None = None
    """The first record that does not fit."""
    reason: str = ""
