"""The slow lane of the chat door: the request becomes a job like any other; the connection only watches it.

Streamed: progress as ``reasoning_content``, then the answer. Whole: the answer once the job has ended. A client that leaves cancels nothing. A job
that asks a question, is paused or waits for a budget says so in the stream and is waited for either way: whoever watches it elsewhere can let it go
on, and a chat completion has no words for "ask me again later".
"""

import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from gateway.asgi import RawHeaders, dump_json, send_whole
from gateway.chat.call import PATH, Call
from gateway.chat.fast import error_frame
from gateway.chat.progress import Language, progress_line
from gateway.chat.request import metadata_fault
from gateway.grants import Grants
from gateway.jobs import JobDesk, check_job
from gateway.once import REPLAYED_HEADER, Repeatable, repeatable
from gateway.routing import title_of
from gateway.streams import Tails
from router.overrides import strip_command
from tandem.errors import GatewayStopping, InvalidRequest, JobFailed, TandemError
from tandem.ids import IdFactory, JobId, StreamId
from tandem.ports import Created, JobStore, NewJob
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatMessage
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import Job, JobRequest, JobStatus
from tandem.sse import DONE_FRAME, OPENAI_KEEPALIVE, RESPONSE_HEADERS, data_frame

_HEADERS: Final = [(name.encode(), value.encode()) for name, value in RESPONSE_HEADERS.items() if name != "content-type"]
_EVENT_STREAM: Final = RESPONSE_HEADERS["content-type"].encode()
_REPLAYED: Final = (REPLAYED_HEADER.encode(), b"true")


@dataclass(frozen=True, slots=True)
class SlowLane:
    """What the slow lane needs."""

    desk: JobDesk
    grants: Grants
    jobs: JobStore
    tails: Tails
    ids: IdFactory
    model: str
    """Name shown as the answering model."""
    heartbeat_s: float
    max_input_chars: int

    async def answer(self, call: Call) -> None:
        """Submit and watch. Raises ``TandemError`` until the first byte is out; later faults become an error event."""
        created = await self._submit(call)
        await (self._stream(call, created) if call.body.stream else self._whole(call, created))

    async def _submit(self, call: Call) -> Created:
        if field := call.body.fast_only():
            raise InvalidRequest(f"{field!r} needs the fast lane; leave it out, or ask for model 'fast'", param=field)
        request = job_request(call.body.conversation(), call.body.metadata)
        check_job(request, max_input_chars=self.max_input_chars)
        newest = request.input[-1].content if isinstance(request.input, list) else request.input
        # How hard to think is part of what is asked, streaming is not: a repeated call may watch the same job in another way.
        once = _repeatable(call).of(request.model_copy(update={"effort": call.body.effort}))
        return await self.desk.submit(
            NewJob(
                id=self.ids.job(),
                tenant=call.principal.tenant,
                key_id=call.principal.key_id,
                request=request,
                tools=await self.grants.settle(request, call.principal),
                effort=call.decision.effort,
                title=title_of(newest),
                decision_id=call.decision_id,
                once=once,
            )
        )

    async def lines(self, job_id: JobId, language: Language) -> AsyncGenerator[str | None]:
        """A job's progress until its end, or until this gateway is stopped; None for every silence."""
        async with contextlib.aclosing(self.tails.tail(StreamId(job_id), -1, pause_s=self.heartbeat_s)) as events:
            async for event in events:
                if event is None:
                    yield None
                    continue
                if line := progress_line(event, language):
                    yield line
                if event.type in JobEvent.TERMINAL:
                    return

    async def _whole(self, call: Call, created: Created) -> None:
        job_id = JobId(created.job.id)
        async with contextlib.aclosing(self.lines(job_id, call.decision.language)) as lines:
            async for _ in lines:
                pass
        ended = await self.jobs.get(job_id, call.principal.tenant)
        if fault := failure_of(ended):
            raise fault
        call.notes.has_started, call.notes.status = True, 200
        await send_whole(call.send, 200, _headers(call, b"application/json", created), dump_json(self.completion(ended)))

    async def _stream(self, call: Call, created: Created) -> None:
        job, job_id = created.job, JobId(created.job.id)
        call.notes.has_started, call.notes.status = True, 200
        call.notes.ttft_s = time.monotonic() - call.notes.started
        await call.send({"type": "http.response.start", "status": 200, "headers": _headers(call, _EVENT_STREAM, created) + _HEADERS})
        await self._send(call, self._chunk(job, {"role": "assistant", "content": ""}))
        try:
            await self._send_progress(call, job)
            ended = await self.jobs.get(job_id, call.principal.tenant)
            if fault := failure_of(ended):
                raise fault
            await self._send(call, self._answer_frames(call, ended))
        except TandemError as error:
            call.notes.error_code = error.code
            await self._send(call, error_frame(error))
        await call.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_progress(self, call: Call, job: Job) -> None:
        async with contextlib.aclosing(self.lines(JobId(job.id), call.decision.language)) as lines:
            async for line in lines:
                await self._send(call, OPENAI_KEEPALIVE if line is None else self._chunk(job, {"reasoning_content": line}))

    def _answer_frames(self, call: Call, job: Job) -> bytes:
        frames = [self._chunk(job, {"content": job.output_text or ""}), self._chunk(job, {}, finish=finish_reason_of(job))]
        if call.body.stream_options and call.body.stream_options.include_usage:
            frames.append(data_frame(dump_json(self._base(job, "chat.completion.chunk") | {"choices": [], "usage": _usage(job)})))
        return b"".join([*frames, DONE_FRAME])

    def completion(self, job: Job) -> JsonObject:
        """The whole answer of an ended job."""
        message: JsonObject = {"role": "assistant", "content": job.output_text or "", "refusal": None}
        choice: JsonObject = {"index": 0, "message": message, "finish_reason": finish_reason_of(job), "logprobs": None}
        rest: JsonObject = {"choices": [choice], "usage": _usage(job), "metadata": {"job_id": job.id}}
        return self._base(job, "chat.completion") | rest

    def _chunk(self, job: Job, delta: JsonObject, finish: str | None = None) -> bytes:
        choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return data_frame(dump_json(self._base(job, "chat.completion.chunk") | {"choices": [choice]}))

    def _base(self, job: Job, kind: str) -> JsonObject:
        return {"id": f"chatcmpl-{job.id.removeprefix('job_')}", "object": kind, "created": int(job.created_at.timestamp()), "model": self.model}

    async def _send(self, call: Call, data: bytes) -> None:
        await call.send({"type": "http.response.body", "body": data, "more_body": True})


def _headers(call: Call, content_type: bytes, created: Created) -> RawHeaders:
    headers = call.headers(content_type, JobId(created.job.id))
    return [*headers, _REPLAYED] if created.is_replay else headers


def _repeatable(call: Call) -> Repeatable:
    sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.sent_headers}
    return repeatable("POST", PATH, call.principal, sent)


def job_request(conversation: list[ChatMessage], metadata: dict[str, str] | None) -> JobRequest:
    """The job of a conversation; a leading ``/deep`` of its last message is not part of the task."""
    if not conversation:
        raise InvalidRequest("'messages' holds no words; say what is to be done", param="messages")
    last = conversation[-1]
    task = last.model_copy(update={"content": strip_command(last.content)})
    if fault := metadata_fault(metadata):
        raise InvalidRequest(f"'metadata' {fault}", param="metadata")
    return JobRequest(input=task.content if len(conversation) == 1 else [*conversation[:-1], task], metadata=metadata or {})


def failure_of(job: Job) -> TandemError | None:
    """Why a watched job has no answer to give; None when it has one."""
    match job.status:
        case JobStatus.COMPLETED:
            return None
        case JobStatus.INCOMPLETE if job.output_text:
            return None
        case JobStatus.CANCELLED:
            return JobFailed(f"job {job.id} was cancelled; send the request again if the answer is still wanted")
        case JobStatus.FAILED | JobStatus.INCOMPLETE:
            reason = f"{job.error.message} ({job.error.code})" if job.error else "no reason was recorded"
            return JobFailed(f"job {job.id} ended {job.status.value}: {reason}; GET /v1/jobs/{job.id} shows its course")
        case _:
            return GatewayStopping(f"this gateway is being stopped; job {job.id} goes on: read it at /v1/jobs/{job.id}", retry_after_s=5)


def finish_reason_of(job: Job) -> str:
    """``length`` for an answer that a budget cut off."""
    return "stop" if job.status is JobStatus.COMPLETED else "length"


def _usage(job: Job) -> JsonObject:
    used = job.usage
    return {"prompt_tokens": used.input_tokens, "completion_tokens": used.output_tokens, "total_tokens": used.input_tokens + used.output_tokens}
