"""Conversations, messages and turns. The promises are those of ``ThreadStore``.

Rows are locked in one order everywhere (turn or job, then thread), so writers never wait for each other in a circle.
"""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import JsonValue
from sqlalchemy import Insert, insert, select, tuple_, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import Conflict, NotFound
from tandem.ids import DecisionId, IdFactory, JobId, MessageId, StreamId, TenantId, ThreadId, TurnId
from tandem.ports import Appended, NewEvent, Once, TurnWork
from tandem.schemas.events import ThreadEvent
from tandem.schemas.jobs import JobFailure
from tandem.schemas.routing import Lane
from tandem.schemas.threads import Thread, ThreadMessage, Turn
from tandem.storage.engine import Database
from tandem.storage.events import BEFORE_FIRST, Reserved, insert_events, reserve_in_thread
from tandem.storage.idempotency import find_earlier, remember
from tandem.storage.messages import Answer, insert_message, message_from
from tandem.storage.tables import jobs, messages, threads, turns
from tandem.storage.times import db_now, to_datetime

_TITLE_CHARS: Final = 60
_INTERRUPTED: Final = JobFailure(code="turn_interrupted", message="The gateway stopped while it was answering; send the message again.")


class SqlThreadStore:
    """Implements ``ThreadStore``."""

    def __init__(self, database: Database, ids: IdFactory) -> None:
        self._database = database
        self._ids = ids

    async def create(self, thread_id: ThreadId, tenant: TenantId, title: str, *, once: Once | None = None) -> Thread:
        values = {"id": thread_id, "tenant": tenant, "title": title, "last_seq": BEFORE_FIRST}
        statement = insert(threads).values(**values, created_at=db_now()).returning(threads)

        async def work(connection: AsyncConnection) -> Thread:
            earlier = await find_earlier(self._database, connection, tenant, once)
            if earlier is not None:
                return _thread_from((await connection.execute(select(threads).where(threads.c.id == earlier))).mappings().one())
            await remember(connection, tenant, once, thread_id)
            return _thread_from((await connection.execute(statement)).mappings().one())

        return await self._database.write(work)

    async def get(self, thread_id: ThreadId, tenant: TenantId) -> Thread:
        row = await self._database.row(select(threads).where(threads.c.id == thread_id, threads.c.tenant == tenant))
        if row is None:
            raise _unknown(thread_id)
        return _thread_from(row)

    async def list(self, tenant: TenantId, *, after: ThreadId | None, limit: int) -> Sequence[Thread]:
        statement = select(threads).where(threads.c.tenant == tenant).order_by(threads.c.created_at.desc(), threads.c.id.desc()).limit(limit)
        if after is not None:
            cursor = await self._database.row(select(threads.c.created_at).where(threads.c.id == after, threads.c.tenant == tenant))
            if cursor is None:
                raise NotFound(f"no thread {after!r} to list after; take `next_after` of the page before", param="after")
            statement = statement.where(tuple_(threads.c.created_at, threads.c.id) < (cursor["created_at"], after))
        return [_thread_from(row) for row in await self._database.rows(statement)]

    async def messages(self, thread_id: ThreadId, tenant: TenantId, *, after_seq: int, limit: int) -> Sequence[ThreadMessage]:
        await self.get(thread_id, tenant)
        statement = select(messages).where(messages.c.thread_id == thread_id, messages.c.seq > after_seq).order_by(messages.c.seq).limit(limit)
        return [message_from(row) for row in await self._database.rows(statement)]

    async def live_after(self, thread_id: ThreadId, tenant: TenantId) -> int:
        thread = await self.get(thread_id, tenant)
        running = select(turns.c.first_seq).where(turns.c.thread_id == thread_id, turns.c.finished_at.is_(None)).order_by(turns.c.first_seq).limit(1)
        oldest = await self._database.row(running)
        return thread.last_seq if oldest is None else oldest["first_seq"] - 1

    async def running_jobs(self, thread_id: ThreadId, tenant: TenantId) -> Sequence[JobId]:
        await self.get(thread_id, tenant)
        statement = select(jobs.c.id).where(jobs.c.thread_id == thread_id, jobs.c.finished_at.is_(None)).order_by(jobs.c.created_at, jobs.c.id)
        return [JobId(row["id"]) for row in await self._database.rows(statement)]

    async def begin_turn(
        self, thread_id: ThreadId, tenant: TenantId, turn_id: TurnId, message_id: MessageId, content: str, lease_s: float, *, once: Once | None = None
    ) -> TurnWork:
        async def work(connection: AsyncConnection) -> TurnWork:
            earlier = await find_earlier(self._database, connection, tenant, once)
            if earlier is not None:
                return await _begun_earlier(connection, earlier)
            await remember(connection, tenant, once, turn_id)
            reserved = await reserve_in_thread(connection, thread_id, 2, tenant=tenant)
            if reserved is None:
                raise _unknown(thread_id)
            if not reserved.title:
                await connection.execute(update(threads).where(threads.c.id == thread_id).values(title=_title_from(content)))
            message = _user_message(thread_id, turn_id, message_id, content, reserved)
            created = await insert_message(connection, message, reserved.now_s)
            turn = Turn(id=turn_id, thread_id=thread_id, message_id=message_id, status="running")
            await connection.execute(_insert_turn(turn, reserved, lease_s))
            started = NewEvent(ThreadEvent.TURN_STARTED, {"turn_id": turn_id, "message_id": message_id})
            await insert_events(connection, thread_id, reserved.first_seq, [created, started], reserved.now_s)
            return TurnWork(turn, message, _grown(thread_id, reserved))

        return await self._database.write(work)

    async def append(self, turn_id: TurnId, events: Sequence[NewEvent], lease_s: float) -> Sequence[Appended]:
        is_running = (turns.c.id == turn_id) & turns.c.finished_at.is_(None)
        extend = update(turns).where(is_running).values(lease_until=db_now() + lease_s).returning(turns.c.thread_id)

        async def work(connection: AsyncConnection) -> Sequence[Appended]:
            thread_id: str | None = (await connection.execute(extend)).scalar_one_or_none()
            if thread_id is None:
                raise await _not_running(connection, turn_id)
            return await _append(connection, thread_id, events) if events else ()

        return await self._database.write(work)

    async def complete_turn(
        self, turn_id: TurnId, message_id: MessageId, content: str, *, lane: Lane, decision_id: DecisionId | None, job_id: JobId | None
    ) -> Sequence[Appended]:
        answer = Answer(message_id, content, turn_id=turn_id, lane=lane, decision_id=decision_id, job_id=job_id)
        completed = NewEvent(ThreadEvent.TURN_COMPLETED, {"turn_id": turn_id, "message_id": message_id, "job_id": job_id})

        async def work(connection: AsyncConnection) -> Sequence[Appended]:
            row = await _end_turn(connection, turn_id, "completed")
            if row is None:
                raise await _not_running(connection, turn_id)
            return await _answer(connection, row["thread_id"], answer, completed)

        return await self._database.write(work)

    async def fail_turn(self, turn_id: TurnId, error: JobFailure) -> Sequence[Appended]:
        return await self._fail(turn_id, error, only_orphans=False)

    async def cancel_turn(self, turn_id: TurnId, thread_id: ThreadId, tenant: TenantId) -> tuple[Turn, Sequence[Appended]]:
        theirs = (
            select(turns, threads.c.tenant)
            .join(threads, threads.c.id == turns.c.thread_id)
            .where(turns.c.id == turn_id, turns.c.thread_id == thread_id, threads.c.tenant == tenant)
        )

        async def work(connection: AsyncConnection) -> tuple[Turn, Sequence[Appended]]:
            row = (await connection.execute(theirs)).mappings().one_or_none()
            if row is None:
                raise NotFound(f"no turn {turn_id!r} in thread {thread_id!r}; check both ids", param="turn_id")
            if (ended := await _end_turn(connection, turn_id, "cancelled")) is None:
                row = (await connection.execute(theirs)).mappings().one()
                return _turn_from(row), ()
            cancelled = NewEvent(ThreadEvent.TURN_CANCELLED, {"turn_id": turn_id})
            return _turn_from(ended), await _append(connection, thread_id, [cancelled])

        return await self._database.write(work)

    async def fail_orphans(self) -> Sequence[Appended]:
        orphans = await self._database.rows(select(turns.c.id).where(turns.c.finished_at.is_(None), turns.c.lease_until < db_now()))
        return [appended for row in orphans for appended in await self._fail(TurnId(row["id"]), _INTERRUPTED, only_orphans=True)]

    async def _fail(self, turn_id: TurnId, error: JobFailure, *, only_orphans: bool) -> Sequence[Appended]:
        answer = Answer(self._ids.message(), turn_id=turn_id, error=error)
        details: dict[str, JsonValue] = {"code": error.code, "message": error.message}
        failed = NewEvent(ThreadEvent.TURN_FAILED, {"turn_id": turn_id, "error": details})

        async def work(connection: AsyncConnection) -> Sequence[Appended]:
            row = await _end_turn(connection, turn_id, "failed", only_orphans=only_orphans)
            return () if row is None else await _answer(connection, row["thread_id"], answer, failed)

        return await self._database.write(work)


async def _begun_earlier(connection: AsyncConnection, turn_id: str) -> TurnWork:
    """A turn that an earlier call began, as it stands now."""
    turn = _turn_from((await connection.execute(select(turns).where(turns.c.id == turn_id))).mappings().one())
    message = (await connection.execute(select(messages).where(messages.c.id == turn.message_id))).mappings().one()
    return TurnWork(turn, message_from(message), appended=(), is_replay=True)


async def _end_turn(
    connection: AsyncConnection, turn_id: TurnId, status: Literal["completed", "failed", "cancelled"], *, only_orphans: bool = False
) -> RowMapping | None:
    """End a running turn; None when it has ended already (or, asked for orphans only, when its gateway lives)."""
    statement = update(turns).where(turns.c.id == turn_id, turns.c.finished_at.is_(None)).values(status=status, finished_at=db_now()).returning(turns)
    if only_orphans:
        statement = statement.where(turns.c.lease_until < db_now())
    return (await connection.execute(statement)).mappings().one_or_none()


async def _append(connection: AsyncConnection, thread_id: str, events: Sequence[NewEvent]) -> Sequence[Appended]:
    reserved = await _reserve(connection, thread_id, len(events))
    await insert_events(connection, thread_id, reserved.first_seq, events, reserved.now_s)
    return _grown(thread_id, reserved)


async def _answer(connection: AsyncConnection, thread_id: str, answer: Answer, end: NewEvent) -> Sequence[Appended]:
    """The assistant's message, then the event that ends its turn."""
    reserved = await _reserve(connection, thread_id, 2)
    created = await insert_message(connection, answer.at(thread_id, reserved.first_seq, reserved.now_s), reserved.now_s)
    await insert_events(connection, thread_id, reserved.first_seq, [created, end], reserved.now_s)
    return _grown(thread_id, reserved)


async def _reserve(connection: AsyncConnection, thread_id: str, count: int) -> Reserved:
    reserved = await reserve_in_thread(connection, thread_id, count)
    if reserved is None:
        raise _unknown(thread_id)
    return reserved


async def _not_running(connection: AsyncConnection, turn_id: TurnId) -> NotFound | Conflict:
    status: str | None = (await connection.execute(select(turns.c.status).where(turns.c.id == turn_id))).scalar_one_or_none()
    if status is None:
        return NotFound(f"no turn {turn_id!r}; check the id", param="turn_id")
    return Conflict(f"turn {turn_id!r} has ended as {status}; start another one")


def _insert_turn(turn: Turn, reserved: Reserved, lease_s: float) -> Insert:
    return insert(turns).values(
        id=turn.id,
        thread_id=turn.thread_id,
        message_id=turn.message_id,
        status=turn.status,
        first_seq=reserved.first_seq,
        lease_until=reserved.now_s + lease_s,
        created_at=reserved.now_s,
    )


def _user_message(thread_id: ThreadId, turn_id: TurnId, message_id: MessageId, content: str, reserved: Reserved) -> ThreadMessage:
    return ThreadMessage(
        id=message_id,
        thread_id=thread_id,
        turn_id=turn_id,
        role="user",
        content=content,
        created_at=to_datetime(reserved.now_s),
        seq=reserved.first_seq,
    )


def _title_from(content: str) -> str:
    """The first words of a message, on one line."""
    words = " ".join(content.split())
    return words if len(words) <= _TITLE_CHARS else f"{words[: _TITLE_CHARS - 1].rstrip()}…"


def _grown(thread_id: str, reserved: Reserved) -> Sequence[Appended]:
    return [Appended(StreamId(thread_id), reserved.last_seq)]


def _thread_from(row: RowMapping) -> Thread:
    return Thread(id=row["id"], title=row["title"], created_at=to_datetime(row["created_at"]), last_seq=row["last_seq"])


def _turn_from(row: RowMapping) -> Turn:
    return Turn(id=row["id"], thread_id=row["thread_id"], message_id=row["message_id"], status=row["status"])


def _unknown(thread_id: str) -> NotFound:
    return NotFound(f"no thread {thread_id!r}; check the id, and that the key belongs to the same tenant", param="thread_id")
