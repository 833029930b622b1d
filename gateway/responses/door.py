"""What the responses door does: reads the request, asks the router, begins the response, and lets its lane answer."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from fastapi import Request, Response
from starlette.types import Receive

from fast_model.prompts import check_title
from gateway.asgi import dump_json
from gateway.auth import Principal
from gateway.chat.call import watch_client
from gateway.checks import Checked
from gateway.conversations import LastAnswer, fits, known_decision
from gateway.dependencies import Services
from gateway.event_stream import EventStream
from gateway.jobs import check_answer, check_job, check_job_aside
from gateway.once import REPLAYED_HEADER, Repeatable
from gateway.records import LANE_KEY
from gateway.responses.checked import Correction
from gateway.responses.fast import Ask, FastLane
from gateway.responses.items import as_messages, read_items
from gateway.responses.render import check_of, is_over, render_fast, render_job, status_of
from gateway.responses.request import SCHEMA_PARAM, ResponseCreate, Task, choose_lane, repeated
from gateway.responses.story import replay
from gateway.responses.stream import JobStream
from gateway.routes.common import known_id
from gateway.routing import newest_and_history, title_of
from router.check import TOP_LOGPROBS
from tandem.errors import Conflict, IdempotencyKeyInFlight, InvalidRequest, NotFound
from tandem.ids import JobId, ResponseId, StreamId, TenantId
from tandem.ports import NewJob, Once, StoredResponse, Turns
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatMessage, ChatRequest
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Job

CHAIN_LIMIT: Final = 64
"""Earlier responses that a conversation reaches back to."""
REPLY_TOKENS: Final = 1_024
"""Longest fast answer where the caller sets no limit, in tokens; half the context where that is less."""
POLL_AFTER_MS: Final = "2000"
_IN_FLIGHT_RETRY_S: Final = 1.0
_TAIL_EVENTS: Final = 12
"""A job writes the last words of its answer at most so many events before its end."""


@dataclass(frozen=True, slots=True)
class ResponsesDoor:
    """One caller at the door."""

    services: Services
    caller: Principal

    async def create(self, body: ResponseCreate, repeat: Repeatable, request: Request) -> Response:
        """Answer, stream, or accept for later. Raises a ``CallerError``, and ``ModelError`` from the fast lane."""
        needs = self.services.dependencies
        items = read_items(body.input, needs.ids.message, max_chars=self.services.settings.gateway.max_input_chars)
        choice = choose_lane(body, self.services.served)
        before, last = await self._earlier(body.previous_response_id)
        own = as_messages(items)
        text, history = newest_and_history([*before, *own])
        decision_id, decision = await self.services.routing.decide_stateless(
            Turns(text, history, choice=choice, effort=body.effort, chosen_by="model"),
            self.caller.tenant,
            "responses",
            self.caller.key_id,
            fits_fast=fits([text], self.services.settings.fast.context_tokens),
            last=last,
        )
        request.scope[LANE_KEY] = decision.lane
        instructions = [ChatMessage(role="system", content=body.instructions)] if body.instructions else []
        task = Task(body, [*instructions, *before, *own], decision_id, decision)
        stored = StoredResponse(
            id=needs.ids.response(),
            tenant=self.caller.tenant,
            job_id=None,
            previous_id=ResponseId(body.previous_response_id) if body.previous_response_id else None,
            status="in_progress",
            request=repeated(task, needs.fast_name if decision.lane == "fast" else needs.slow_name),
            input=items,
            is_stored=body.is_stored,
        )
        once = repeat.of(body)
        if decision.lane == "fast":
            return await self._answer_fast(task, stored, once, request.receive)
        return await self._answer_slow(task, stored, once, title_of(text))

    async def read(self, response_id: str) -> Response:
        stored = await self._stored(response_id)
        if stored.job_id is None:
            return self._json(self._fast_object(stored))
        return await self._json_of_job(stored, await self._job(stored))

    async def stream(self, response_id: str, after: int) -> Response:
        """The job's log above ``after``. The fast lane keeps no log: its stream ends with its connection."""
        stored = await self._stored(response_id)
        if stored.job_id is None:
            raise InvalidRequest(
                f"response {stored.id!r} was not made by a job and cannot be streamed again; read it without 'stream'", param="stream"
            )
        return self._streamed(stored, await self._job(stored), after)

    async def cancel(self, response_id: str) -> Response:
        stored = await self._stored(response_id)
        if stored.job_id is None or not stored.request.get("background"):
            raise InvalidRequest(f"response {stored.id!r} was not created with 'background': true; only such a response can be cancelled")
        job = await self.services.desk.cancel(stored.job_id, self.caller.tenant)
        return await self._json_of_job(stored, job)

    async def delete(self, response_id: str) -> Response:
        known = ResponseId(known_id(response_id, "resp", "response"))
        await self.services.dependencies.storage.responses.remove(known, self.caller.tenant)
        return self._json({"id": known, "object": "response", "deleted": True})

    async def input_items(self, response_id: str, *, after: str | None, limit: int, is_ascending: bool) -> Response:
        """The messages of this request alone; those of earlier responses are listed there."""
        stored = await self._stored(response_id)
        items = list(stored.input) if is_ascending else list(stored.input)[::-1]
        ids = [str(item["id"]) for item in items]
        if after is not None and after not in ids:
            raise NotFound(f"no input item {after[:64]!r} in response {stored.id!r}; take 'last_id' of the page before", param="after")
        start = 0 if after is None else ids.index(after) + 1
        page = items[start : start + limit]
        ends = {"first_id": page[0]["id"] if page else "", "last_id": page[-1]["id"] if page else ""}
        return self._json({"object": "list", "data": [*page], **ends, "has_more": start + limit < len(items)})

    async def _earlier(self, previous_id: str | None) -> tuple[list[ChatMessage], LastAnswer | None]:
        """The conversation so far, without the instructions of earlier responses, and who answered last."""
        if previous_id is None:
            return [], None
        param = "previous_response_id"
        try:
            known = ResponseId(known_id(previous_id, "resp", "response"))
            chain = await self.services.dependencies.storage.responses.chain(known, self.caller.tenant, CHAIN_LIMIT)
        except NotFound as error:
            raise NotFound(error.message, param=param) from None
        said: list[ChatMessage] = []
        for response in chain:
            said += as_messages(response.input)
            rendered = await self._rendered(response)
            if not is_over(rendered["status"]):  # type: ignore[arg-type]
                raise Conflict(f"response {response.id!r} is {rendered['status']}; wait for its end before you continue it", param=param)
            output = rendered["output"]
            said += as_messages([item for item in output if isinstance(item, dict)]) if isinstance(output, list) else []
        told = chain[-1].request.get("tandem")
        decision_id = told.get("decision_id") if isinstance(told, dict) else None
        return said, LastAnswer("slow" if chain[-1].job_id else "fast", known_decision(decision_id if isinstance(decision_id, str) else None))

    async def _answer_fast(self, task: Task, new: StoredResponse, once: Once | None, receive: Receive) -> Response:
        lane = fast_lane(self.services)
        settings = self.services.settings.fast
        if task.body.answer_schema is not None:
            await asyncio.to_thread(check_answer, task.answer_contract(), SCHEMA_PARAM)
        prompt = task.prompt(context_tokens=settings.context_tokens, max_tokens=min(REPLY_TOKENS, settings.context_tokens // 2))
        if not new.is_stored and once is not None and once.kind != "key":
            once = None  # what is not stored cannot be found again
        with self.services.in_flight.slot():
            has_row = new.is_stored or once is not None
            stored, is_replay = replace(new, created_at=self.services.dependencies.clock.now()), False
            if has_row:
                stored, is_replay = await lane.store.begin(new, once=once, stale_after_s=lane.stale_after_s)
            if is_replay:
                return await self._repeat(stored, is_stream=bool(task.body.stream))
            correction = self._correction(task, stored, prompt)
            if correction is not None:
                prompt = prompt.model_copy(update={"top_logprobs": TOP_LOGPROBS})
            ask = Ask(stored, prompt, has_row, correction)
            if not task.body.stream:
                with watch_client(receive):
                    ended = await lane.whole(ask)
                    return self._json(render_fast(ended), self._headers(ended))
        return EventStream(lane.frames(ask), self.services.settings.gateway.send_timeout_s, self._headers(stored))

    def _correction(self, task: Task, stored: StoredResponse, prompt: ChatRequest) -> Correction | None:
        """The test of the answer, where the request is in the check band."""
        services, language = self.services, task.decision.language
        if task.decision.band != "check" or not task.is_checkable:
            return None
        said = task.said()
        is_bounded = task.body.max_output_tokens is not None
        asked = Checked(self.caller, task.decision_id, task.decision, said, prompt, is_bounded=is_bounded)

        def make_job(conversation: list[ChatMessage]) -> NewJob:
            return NewJob(
                id=services.dependencies.ids.job(),
                tenant=self.caller.tenant,
                key_id=self.caller.key_id,
                request=task.correction(conversation),
                effort=task.decision.effort,
                title=check_title(language, title_of(said[-1].content)),
                decision_id=task.decision_id,
                is_stored=stored.is_stored,
            )

        return Correction(services.checks, services.slow_lane(), services.dependencies.clock, asked, make_job)

    async def _answer_slow(self, task: Task, new: StoredResponse, once: Once | None, title: str) -> Response:
        services = self.services
        request = task.job()
        check = partial(
            check_job,
            max_input_chars=services.settings.gateway.max_input_chars,
            schema_param=SCHEMA_PARAM,
        )
        await check_job_aside(request, check)
        job = NewJob(
            id=services.dependencies.ids.job(),
            tenant=self.caller.tenant,
            key_id=self.caller.key_id,
            request=request,
            tools=await services.grants.settle(request, self.caller),
            effort=task.decision.effort,
            title=title,
            decision_id=task.decision_id,
            once=once,
            response_id=new.id,
            is_stored=new.is_stored,
        )
        store = services.dependencies.storage.responses
        stored, created = await store.begin_job(replace(new, job_id=job.id), job, max_unfinished=services.desk.max_unfinished)
        if created is None:
            return await self._repeat(stored, is_stream=bool(task.body.stream))
        services.desk.accept(created)
        return await self._of_job(stored, created.job, task.body, is_replay=created.is_replay)

    async def _repeat(self, stored: StoredResponse, *, is_stream: bool) -> Response:
        """The answer of an earlier call with the same key."""
        if stored.job_id is not None:
            job = await self._job(stored)
            return self._streamed(stored, job, -1, is_replay=True) if is_stream else self._waited(stored, job, is_replay=True)
        if stored.status == "in_progress":
            raise IdempotencyKeyInFlight(
                "the first request with this Idempotency-Key is still being answered; send this one again", retry_after_s=_IN_FLIGHT_RETRY_S
            )
        headers = self._headers(stored, is_replay=True)
        if not is_stream:
            return self._json(render_fast(stored), headers)
        return EventStream(_each(replay(stored)), self.services.settings.gateway.send_timeout_s, headers)

    async def _of_job(self, stored: StoredResponse, job: Job, body: ResponseCreate, *, is_replay: bool) -> Response:
        if body.stream:
            return self._streamed(stored, job, -1, is_replay=is_replay)
        if body.background:
            return await self._json_of_job(stored, job, is_replay=is_replay)
        return self._waited(stored, job, is_replay=is_replay)

    def _streamed(self, stored: StoredResponse, job: Job, after: int, *, is_replay: bool = False) -> Response:
        services = self.services
        storage = services.dependencies.storage
        gateway = services.settings.gateway
        stream = JobStream(storage.jobs, storage.events, services.tails, gateway.heartbeat_s)
        return EventStream(stream.frames(stored, job, after), gateway.send_timeout_s, self._headers(stored, is_replay=is_replay))

    def _waited(self, stored: StoredResponse, job: Job, *, is_replay: bool) -> Response:
        """The response once its job has ended. Blanks, which JSON allows in front, keep the connection alive meanwhile."""
        headers = {**self._headers(stored, is_replay=is_replay), "content-type": "application/json"}
        return EventStream(self._wait(stored, job), self.services.settings.gateway.send_timeout_s, headers)

    async def _wait(self, stored: StoredResponse, job: Job) -> AsyncGenerator[bytes]:
        """A gateway that is being stopped gives the response as it stands; it can be read again."""
        if not job.status.is_terminal:
            pause_s = self.services.settings.gateway.heartbeat_s
            async with contextlib.aclosing(self.services.tails.tail(StreamId(JobId(job.id)), job.last_seq, pause_s=pause_s)) as events:
                async for event in events:
                    if event is None:
                        yield b" "
                    elif event.type in JobEvent.TERMINAL:
                        break
            job = await self._job(stored)
        yield dump_json(await self._job_object(stored, job))

    async def _rendered(self, stored: StoredResponse) -> JsonObject:
        if stored.job_id is None:
            return self._fast_object(stored)
        return render_job(stored, await self._job(stored))

    def _fast_object(self, stored: StoredResponse) -> JsonObject:
        return render_fast(stored, stale_after_s=fast_lane(self.services).stale_after_s)

    async def _job_object(self, stored: StoredResponse, job: Job) -> JsonObject:
        """The response as it stands, its message under the id it has in the log."""
        answer_id: str | None = None
        if job.status.is_terminal and job.output_text:
            log = self.services.dependencies.storage.events
            newest = await log.read(StreamId(JobId(job.id)), job.last_seq - _TAIL_EVENTS, _TAIL_EVENTS)
            named = [event.data.get("item_id") for event in newest if event.type == JobEvent.TEXT_DONE]
            answer_id = next((item_id for item_id in reversed(named) if isinstance(item_id, str)), None)
        return render_job(stored, job, answer_id)

    async def _json_of_job(self, stored: StoredResponse, job: Job, *, is_replay: bool = False) -> Response:
        headers = self._headers(stored, is_replay=is_replay)
        if not is_over(status_of(job)):
            headers["openai-poll-after-ms"] = POLL_AFTER_MS
        return self._json(await self._job_object(stored, job), headers)

    def _headers(self, stored: StoredResponse, *, is_replay: bool = False) -> dict[str, str]:
        told = stored.request.get("tandem")
        facts: JsonObject = told if isinstance(told, dict) else {}
        lane = str(facts.get("lane"))
        headers = {"x-tandem-decision": str(facts.get("decision_id")), "x-tandem-lane": lane, "x-tandem-band": str(facts.get("band", lane))}
        check = check_of(stored) or {}
        if (job_id := stored.job_id or check.get("job_id")) is not None:
            headers["x-tandem-job"] = str(job_id)
        if is_replay:
            headers[REPLAYED_HEADER] = "true"
        return headers

    async def _stored(self, response_id: str) -> StoredResponse:
        known = ResponseId(known_id(response_id, "resp", "response"))
        return await self.services.dependencies.storage.responses.get(known, TenantId(self.caller.tenant))

    async def _job(self, stored: StoredResponse) -> Job:
        return await self.services.dependencies.storage.jobs.get(JobId(str(stored.job_id)), stored.tenant)

    def _json(self, body: JsonObject, headers: dict[str, str] | None = None) -> Response:
        return Response(dump_json(body), headers=headers, media_type="application/json")


def fast_lane(services: Services) -> FastLane:
    """The fast lane over what the doors share."""
    needs = services.dependencies
    return FastLane(
        model=needs.fast,
        store=needs.storage.responses,
        background=services.background,
        in_flight=services.in_flight,
        clock=needs.clock,
        read_timeout_s=services.settings.fast.read_timeout_s,
        heartbeat_s=services.settings.gateway.heartbeat_s,
    )


async def _each(frames: list[bytes]) -> AsyncGenerator[bytes]:
    for each in frames:
        yield each
