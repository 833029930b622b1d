"""Messages of a thread: the stored row, the wire object, and its MESSAGE_CREATED event, kept alike."""

from dataclasses import dataclass

from sqlalchemy import insert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.ids import MessageId
from tandem.ports import NewEvent
from tandem.schemas.events import ThreadEvent
from tandem.schemas.jobs import JobFailure
from tandem.schemas.routing import Lane
from tandem.schemas.threads import ThreadMessage
from tandem.storage.tables import messages
from tandem.storage.times import to_datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What an assistant message says and where it comes from."""

    id: MessageId
    content: str = ""
    turn_id: str | None = None
    lane: Lane | None = None
    job_id: str | None = None
    decision_id: str | None = None
    error: JobFailure | None = None

    def at(self, thread_id: str, seq: int, now_s: float) -> ThreadMessage:
        """The message under the number its event will have."""
        return ThreadMessage(
            id=self.id,
            thread_id=thread_id,
            turn_id=self.turn_id,
            role="assistant",
            content=self.content,
            created_at=to_datetime(now_s),
            seq=seq,
            lane=self.lane,
            job_id=self.job_id,
            decision_id=self.decision_id,
            error=self.error,
        )


async def insert_message(connection: AsyncConnection, message: ThreadMessage, now_s: float) -> NewEvent:
    """Store a message; returns its event, to be inserted under ``message.seq``."""
    row = message.model_dump(mode="json") | {"created_at": now_s}
    await connection.execute(insert(messages).values(**row))
    return NewEvent(ThreadEvent.MESSAGE_CREATED, message.model_dump(mode="json"))


def message_from(row: RowMapping) -> ThreadMessage:
    """The wire object of a stored message."""
    return ThreadMessage.model_validate(dict(row) | {"created_at": to_datetime(row["created_at"])})
