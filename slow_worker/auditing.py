"""What a job's tools did and were not let do, written to its tenant's chain. A log that cannot be written stops the job: nothing happens unseen.

Knows no rule and asks nobody; arguments come in redacted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tandem.egress import Reached
from tandem.ids import JobId, KeyId, TenantId
from tandem.ports import AuditLog
from tandem.schemas.audit import AuditEntry
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import ToolResult
from tools.redaction import digest, redacted

_MOST_REACHED: Final = 32
"""Requests of one call that are written one by one; a call that makes more is told by the first ones."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the job wants it made."""

    id: str
    """Names it for ever: the step, and its number where a step makes several."""
    tool: str
    arguments: JsonObject

    @property
    def digest(self) -> str:
        return digest(self.arguments)

    @property
    def shown(self) -> JsonObject:
        """The arguments as logs and events may show them."""
        return redacted(self.arguments)


@dataclass(frozen=True, slots=True)
class Auditor:
    """Writes for one job."""

    log: AuditLog
    tenant: TenantId
    job_id: JobId
    key_id: KeyId | None

    async def called(self, call: ToolCall, result: ToolResult, rule: str, reached: Sequence[Reached], approval_id: str | None) -> None:
        """A call that was made, and each request it sent out or was not let send."""
        outcome = "ok" if result.ok else result.error.code if result.error else "failed"
        entry = self._entry(call, "tool_call").model_copy(
            update={"rule": rule, "outcome": outcome, "seconds": result.seconds, "approval_id": approval_id}
        )
        await self.log.append(self.tenant, entry)
        for each in reached[:_MOST_REACHED]:
            await self.log.append(self.tenant, self._egress(call, each))

    async def unfinished(self, call: ToolCall, rule: str, approval_id: str | None) -> None:
        """A call that began, and of which nobody knows whether it took effect."""
        entry = self._entry(call, "tool_call").model_copy(update={"rule": rule, "outcome": "unknown", "approval_id": approval_id})
        await self.log.append(self.tenant, entry)

    async def refused(self, call: ToolCall, rule: str) -> None:
        """A call that was not let through."""
        await self.log.append(self.tenant, self._entry(call, "tool_refused").model_copy(update={"decision": "refused", "rule": rule}))

    async def asked(self, call: ToolCall, rule: str) -> None:
        """Somebody is asked for approval."""
        await self.log.append(self.tenant, self._entry(call, "approval_asked").model_copy(update={"decision": "asked", "rule": rule}))

    async def answered(
        self, call: ToolCall, rule: str, decision: Literal["approved", "rejected", "expired"], approval_id: str, by: str | None
    ) -> None:
        """Somebody approved or rejected, or nobody did in time."""
        kind: Literal["approval_given", "approval_refused"] = "approval_given" if decision == "approved" else "approval_refused"
        change = {"decision": decision, "rule": rule, "approval_id": approval_id, "key_id": by}
        await self.log.append(self.tenant, self._entry(call, kind).model_copy(update=change))

    def _entry(
        self, call: ToolCall, kind: Literal["tool_call", "tool_refused", "approval_asked", "approval_given", "approval_refused"]
    ) -> AuditEntry:
        return AuditEntry(
            kind=kind, job_id=self.job_id, key_id=self.key_id, tool=call.tool, call_id=call.id, arguments_digest=call.digest, arguments=call.shown
        )

    def _egress(self, call: ToolCall, reached: Reached) -> AuditEntry:
        return AuditEntry(
            kind="egress",
            job_id=self.job_id,
            key_id=self.key_id,
            tool=call.tool,
            call_id=call.id,
            decision="refused" if reached.is_refused else "allowed",
            rule=reached.rule,
            outcome="" if reached.status is None else str(reached.status),
            host=reached.host,
            address=reached.address,
            bytes_out=reached.bytes_out,
            bytes_in=reached.bytes_in,
            seconds=round(reached.seconds, 4),
        )
