"""The seams of Tandem: small protocols that rooms depend on, and the values that cross them.

Every port has adapters elsewhere (``tandem/storage``, ``tandem/events``, ``tandem/models``, ``router``, ``tools``, ``gateway/queue.py``) and a
conformance suite in ``tandem/testing``. This package knows no adapter. All times are UTC; leases use the database's clock.
"""

from tandem.ports.audit import AuditLog
from tandem.ports.common import (
    Appended,
    Clock,
    EventLog,
    NewEvent,
    Notifier,
    Once,
)
from tandem.ports.files import FileStore, MemoryStore, NewFile
from tandem.ports.jobs import (
    Changed,
    Created,
    Effect,
    JobCounts,
    JobFilter,
    JobQueue,
    JobStore,
    NewJob,
    Reaped,
)
from tandem.ports.models import (
    ChatModel,
    Classifier,
    DecisionModel,
    Score,
    Scorer,
    Turns,
)
from tandem.ports.responses import ResponseStatus, ResponseStore, StoredResponse
from tandem.ports.routing import DecidingDoor, DecisionLog, JobTimes, LoggedDecision, NewOutcome, NewState, OutcomeStore, PolicyStore
from tandem.ports.schedules import DueSchedule, Retention, ScheduleStore, ScheduleUpdate, Swept
from tandem.ports.storage import Storage
from tandem.ports.threads import KeyStore, ThreadStore, TurnWork
from tandem.ports.tools import EMPTY_SHELF, EmptyShelf, Shelf, ShelfFile, Tool, ToolBoard, ToolContext
from tandem.ports.webhooks import INTERNAL, Answered, Delivery, Outbox, SealedSecret, WebhookStore
from tandem.ports.work import (
    CheckpointStore,
    Claim,
    JobWork,
    LeaseState,
    NewArtifact,
    Outcome,
    Parking,
    StoredCheckpoint,
    StoredWrite,
)

__all__ = [
    "EMPTY_SHELF",
    "INTERNAL",
    "Answered",
    "Appended",
    "AuditLog",
    "Changed",
    "ChatModel",
    "CheckpointStore",
    "Claim",
    "Classifier",
    "Clock",
    "Created",
    "DecidingDoor",
    "DecisionLog",
    "DecisionModel",
    "Delivery",
    "DueSchedule",
    "Effect",
    "EmptyShelf",
    "EventLog",
    "FileStore",
    "JobCounts",
    "JobFilter",
    "JobQueue",
    "JobStore",
    "JobTimes",
    "JobWork",
    "KeyStore",
    "LeaseState",
    "LoggedDecision",
    "MemoryStore",
    "NewArtifact",
    "NewEvent",
    "NewFile",
    "NewJob",
    "NewOutcome",
    "NewState",
    "Notifier",
    "Once",
    "Outbox",
    "Outcome",
    "OutcomeStore",
    "Parking",
    "PolicyStore",
    "Reaped",
    "ResponseStatus",
    "ResponseStore",
    "Retention",
    "ScheduleStore",
    "ScheduleUpdate",
    "Score",
    "Scorer",
    "SealedSecret",
    "Shelf",
    "ShelfFile",
    "Storage",
    "StoredCheckpoint",
    "StoredResponse",
    "StoredWrite",
    "Swept",
    "ThreadStore",
    "Tool",
    "ToolBoard",
    "ToolContext",
    "TurnWork",
    "Turns",
    "WebhookStore",
]
