"""Conversations and API keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tandem.ids import DecisionId, JobId, KeyId, MessageId, TenantId, ThreadId, TurnId
from tandem.ports.common import Appended, NewEvent, Once
from tandem.schemas.jobs import JobFailure
from tandem.schemas.keys import ApiKey, Scope
from tandem.schemas.routing import Lane
from tandem.schemas.threads import Thread, ThreadMessage, Turn


@dataclass(frozen=True, slots=True)
class TurnWork:
    """A turn the gateway has accepted and now owns."""

    turn: Turn
    user_message: ThreadMessage
    appended: Sequence[Appended]
    is_replay: bool = False
    """An earlier request with the same key had begun it: nothing is to be done."""


class ThreadStore(Protocol):
    """Conversations, messages and turns."""

    async def create(self, thread_id: ThreadId, tenant: TenantId, title: str, *, once: Once | None = None) -> Thread:
        """With ``once`` a repeated call returns the thread of the first. Raises ``IdempotencyKeyReused``."""
        ...

    async def get(self, thread_id: ThreadId, tenant: TenantId) -> Thread: ...

    async def list(self, tenant: TenantId, *, after: ThreadId | None, limit: int) -> Sequence[Thread]: ...

    async def messages(self, thread_id: ThreadId, tenant: TenantId, *, after_seq: int, limit: int) -> Sequence[ThreadMessage]:
        """Oldest first."""
        ...

    async def live_after(self, thread_id: ThreadId, tenant: TenantId) -> int:
        """Sequence number just before the first event of the oldest unfinished turn, else the newest one."""
        ...

    async def running_jobs(self, thread_id: ThreadId, tenant: TenantId) -> Sequence[JobId]: ...

    async def begin_turn(
        self, thread_id: ThreadId, tenant: TenantId, turn_id: TurnId, message_id: MessageId, content: str, lease_s: float, *, once: Once | None = None
    ) -> TurnWork:
        """Store the user's message and the running turn; events MESSAGE_CREATED, TURN_STARTED.

        With ``once`` a repeated call returns the turn of the first, as it stands, with ``is_replay``. Raises ``IdempotencyKeyReused``.
        """
        ...

    async def append(self, turn_id: TurnId, events: Sequence[NewEvent], lease_s: float) -> Sequence[Appended]:
        """Append to the turn's thread and extend the turn's lease. Raises ``Conflict`` when the turn has ended (cancelled)."""
        ...

    async def complete_turn(
        self, turn_id: TurnId, message_id: MessageId, content: str, *, lane: Lane, decision_id: DecisionId | None, job_id: JobId | None
    ) -> Sequence[Appended]:
        """Store the answer, then MESSAGE_CREATED and TURN_COMPLETED, in one transaction. Raises ``Conflict`` when the turn has ended."""
        ...

    async def fail_turn(self, turn_id: TurnId, error: JobFailure) -> Sequence[Appended]:
        """Store the failure as an assistant message with ``error``; no effect on a turn that has ended."""
        ...

    async def cancel_turn(self, turn_id: TurnId, thread_id: ThreadId, tenant: TenantId) -> tuple[Turn, Sequence[Appended]]:
        """Idempotent; an ended turn is returned unchanged."""
        ...

    async def fail_orphans(self) -> Sequence[Appended]:
        """Fail running turns whose gateway died (lease over) with ``turn_interrupted``."""
        ...


class KeyStore(Protocol):
    """API keys; only digests are stored."""

    async def add(self, key_id: KeyId, tenant: TenantId, name: str, scopes: Sequence[Scope], digest: bytes) -> ApiKey: ...

    async def find(self, key_id: KeyId) -> tuple[ApiKey, bytes] | None:
        """The key and its digest, revoked ones included."""
        ...

    async def list(self) -> Sequence[ApiKey]: ...

    async def revoke(self, key_id: KeyId) -> ApiKey:
        """Idempotent. Raises ``NotFound``."""
        ...
