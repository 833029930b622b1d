"""``/v1/threads``: conversations whose turns the gateway owns; a client sends and watches."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from gateway.dependencies import Services
from gateway.once import REPLAYED_HEADER, MayRepeat
from gateway.routes.common import MayChat, UseServices, known_id, start_cursor
from gateway.routes.events import Log, Snapshot, event_stream, page, wants_stream
from tandem.errors import InputTooLong, InvalidRequest
from tandem.ids import StreamId, TenantId, ThreadId, TurnId
from tandem.schemas.events import Event, EventPage
from tandem.schemas.threads import MessageCreate, MessagePage, Thread, ThreadCreate, ThreadPage, Turn

doors = APIRouter(prefix="/v1/threads", tags=["threads"])


@doors.post("", status_code=201)
async def create_thread(request: ThreadCreate, services: UseServices, caller: MayChat, repeat: MayRepeat, response: Response) -> Thread:
    """Begin a conversation."""
    thread_id = services.dependencies.ids.thread()
    thread = await services.dependencies.storage.threads.create(thread_id, caller.tenant, request.title, once=repeat.of(request))
    if thread.id != thread_id:
        response.headers[REPLAYED_HEADER] = "true"
    response.headers["location"] = f"/v1/threads/{thread.id}"
    return thread


@doors.get("")
async def list_threads(
    services: UseServices, caller: MayChat, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> ThreadPage:
    """The tenant's conversations, newest first."""
    cursor = None if after is None else ThreadId(known_id(after, "thr", "thread", "after"))
    found = await services.dependencies.storage.threads.list(caller.tenant, after=cursor, limit=limit + 1)
    threads = list(found)[:limit]
    return ThreadPage(data=threads, next_after=threads[-1].id if len(found) > limit else None)


@doors.get("/{thread_id}")
async def read_thread(thread_id: str, services: UseServices, caller: MayChat) -> Thread:
    """One conversation, without its messages."""
    return await services.dependencies.storage.threads.get(_known(thread_id), caller.tenant)


@doors.post("/{thread_id}/messages", status_code=202)
async def send_message(thread_id: str, request: MessageCreate, services: UseServices, caller: MayChat, repeat: MayRepeat, response: Response) -> Turn:
    """Say something. The gateway owns the turn from here; its course is in the thread's events, also when nobody watches."""
    limit = services.settings.gateway.max_input_chars
    if len(request.content) > limit:
        raise InputTooLong(f"'content' has {len(request.content)} characters, {limit} are allowed; shorten it", param="content")
    if not request.content.strip():
        raise InvalidRequest("'content' is blank; say something", param="content")
    work = await services.turns.begin(_known(thread_id), caller, request, repeat.of(request))
    response.headers["location"] = f"/v1/threads/{thread_id}/events?after={work.user_message.seq - 1}"
    if work.is_replay:
        response.headers[REPLAYED_HEADER] = "true"
    return work.turn


@doors.get("/{thread_id}/messages")
async def read_messages(
    thread_id: str,
    services: UseServices,
    caller: MayChat,
    after: Annotated[int, Query(ge=-1)] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> MessagePage:
    """Stored messages, oldest first, and where a viewer that drew them starts the event stream."""
    threads = services.dependencies.storage.threads
    known = _known(thread_id)
    # The cursor is read first: a turn that ends in between is then watched once too often, never missed.
    live_after = await threads.live_after(known, caller.tenant)
    messages = list(await threads.messages(known, caller.tenant, after_seq=after, limit=limit))
    running = await threads.running_jobs(known, caller.tenant)
    return MessagePage(data=messages, live_after=live_after, running_jobs=list(running))


@doors.get("/{thread_id}/events", response_model=EventPage, responses={200: {"content": {"text/event-stream": {}}}})
async def read_thread_events(
    thread_id: str,
    services: UseServices,
    caller: MayChat,
    after: Annotated[int | None, Query(ge=-1)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str | None, Header()] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventPage | Response:
    """A page of the conversation's events; with ``Accept: text/event-stream`` the live stream."""
    known = _known(thread_id)
    thread = await services.dependencies.storage.threads.get(known, caller.tenant)
    cursor = start_cursor(after, last_event_id)
    log = Log(StreamId(known), thread.last_seq, _never, partial(_snapshot, services, known, caller.tenant))
    if wants_stream(accept):
        return event_stream(services, log, cursor)
    return await page(services.dependencies.storage.events, log, cursor, limit)


async def _snapshot(services: Services, thread_id: ThreadId, tenant: TenantId) -> Snapshot:
    thread = await services.dependencies.storage.threads.get(thread_id, tenant)
    return Snapshot(thread.model_dump(mode="json"), thread.last_seq, is_final=False)


@doors.post("/{thread_id}/turns/{turn_id}/cancel")
async def cancel_turn(thread_id: str, turn_id: str, services: UseServices, caller: MayChat) -> Turn:
    """Stop an answer in the middle; closes the model's stream. An ended turn is returned unchanged."""
    known = TurnId(known_id(turn_id, "trn", "turn"))
    turn, appended = await services.dependencies.storage.threads.cancel_turn(known, _known(thread_id), caller.tenant)
    services.desk.announce(appended)
    if turn.status == "cancelled":
        services.turns.stop(known)
    return turn


def _known(thread_id: str) -> ThreadId:
    return ThreadId(known_id(thread_id, "thr", "thread"))


def _never(_event: Event) -> bool:
    return False
