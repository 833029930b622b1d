"""Conversations. The gateway owns a turn from the moment it answers 202; a client only watches."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tandem.schemas.base import Wire
from tandem.schemas.jobs import JobFailure
from tandem.schemas.routing import Effort, Lane, LaneChoice
from tandem.schemas.text import CleanText


class ThreadCreate(Wire):
    """Body of ``POST /v1/threads``."""

    title: CleanText = Field(default="", max_length=200)
    """Empty takes the first words of the first message."""


class Thread(Wire):
    """A conversation."""

    id: str
    object: Literal["thread"] = "thread"
    title: str
    created_at: datetime
    last_seq: int
    """Sequence number of its newest event; -1 before the first."""


class ThreadPage(Wire):
    """A page of threads, newest first."""

    object: Literal["list"] = "list"
    data: list[Thread]
    next_after: str | None = None


class MessageCreate(Wire):
    """Body of ``POST /v1/threads/{id}/messages``."""

    content: CleanText = Field(min_length=1)
    lane: LaneChoice = "auto"
    effort: Effort | None = None


class ThreadMessage(Wire):
    """A stored message."""

    id: str
    thread_id: str
    turn_id: str | None
    """The turn it belongs to; null for a result that a job brought later."""
    role: Literal["user", "assistant"]
    content: str
    created_at: datetime
    seq: int
    """Sequence number of its MESSAGE_CREATED event."""
    lane: Lane | None = None
    """Which mind answered; null for a user's message."""
    job_id: str | None = None
    decision_id: str | None = None
    error: JobFailure | None = None


class MessagePage(Wire):
    """A page of messages, oldest first."""

    object: Literal["list"] = "list"
    data: list[ThreadMessage]
    live_after: int
    """Where a viewer that has drawn these messages should start the event stream: just before the first event of the oldest unfinished turn, else
    the newest event."""
    running_jobs: list[str] = Field(default_factory=list[str])
    """Jobs of this thread that have not ended."""


class Turn(Wire):
    """Answer of ``POST …/messages`` (202): the server owns the turn now."""

    id: str
    object: Literal["turn"] = "turn"
    thread_id: str
    message_id: str
    status: Literal["running", "completed", "failed", "cancelled"]
