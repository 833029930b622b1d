"""The check band of the chat door: the fast answer at once, then its test, and where it fails the answer that a job worked out anew.

Streamed: the fast answer passes through; a failed check lets the stream go on with a line that says so, the job's progress as
``reasoning_content``, and the job's answer. Whole: one answer, the job's where the fast one failed. The verdict and the job's id stand under
``tandem``, which stock clients ignore. A client that leaves stops the fast model; a job that was started goes on, as in the slow lane. Where no job
can be had, or it brings no answer, the fast answer stands and is told to be doubtful.
"""

import contextlib
import time
from dataclasses import dataclass, field
from typing import Final

from fast_model.prompts import SYSTEM_PROMPTS, check_title, unchecked_doubt, waited_doubt
from gateway.asgi import dump_json, send_whole
from gateway.chat.call import Call
from gateway.chat.fast import EVENT_STREAM, EXTRA_HEADERS, check_stream, error_frame, read_all, refusal
from gateway.chat.relay import Relay, WholeAnswer
from gateway.chat.request import splice
from gateway.chat.slow import SlowLane, failure_of, finish_reason_of, job_request
from gateway.chat.upstream import Reply, Transport
from gateway.checks import Checked, Checks, FastAnswer, check_facts
from gateway.routing import title_of
from router.check import TOP_LOGPROBS, CheckVerdict
from tandem.errors import InvalidRequest, TandemError
from tandem.ids import JobId
from tandem.ports import Created, NewJob
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatMessage, ChatRequest, TokenUsage
from tandem.schemas.jobs import Job
from tandem.sse import DONE_FRAME, OPENAI_KEEPALIVE

DRAFT_TOKENS: Final = 1_024
"""Longest second draft where the caller sets no limit."""


@dataclass(slots=True)
class CheckedLane:
    """What the check band needs."""

    transport: Transport
    model: str
    """Name the fast model's server knows it by."""
    checks: Checks
    slow: SlowLane
    _refuses_logprobs: bool = field(default=False, init=False)

    async def answer(self, call: Call) -> None:
        """Answer, and check. Raises ``TandemError`` until the first byte is out; later faults become an error event."""
        reply = await self._ask(call)
        try:
            if call.body.stream:
                await self._stream(call, reply)
                return
            answer = WholeAnswer.read(await read_all(reply))
        finally:
            reply.close()
        await self._whole(call, answer)

    async def _ask(self, call: Call) -> Reply:
        """The accepted reply; a server that refuses to tell log-probabilities is asked without them, and never again for them."""
        prompt = None if call.body.has_system() else SYSTEM_PROMPTS[call.decision.language]
        if not self._refuses_logprobs:
            reply = await self.transport.send(splice(call.raw, self.model, prompt, top_logprobs=TOP_LOGPROBS))
            if (fault := await self._fault(reply)) is None:
                return reply
            if not isinstance(fault, InvalidRequest):
                raise fault
        reply = await self.transport.send(splice(call.raw, self.model, prompt))
        if (fault := await self._fault(reply)) is not None:
            raise fault
        self._refuses_logprobs = True
        return reply

    async def _fault(self, reply: Reply) -> TandemError | None:
        """Why the server refused; its reply is then closed."""
        if reply.status == 200:
            return None
        try:
            return await refusal(reply)
        finally:
            reply.close()

    async def _whole(self, call: Call, answer: WholeAnswer) -> None:
        asked, said = _asked(call), FastAnswer(answer.text, answer.finish_reason, answer.chances)
        verdict = await self.checks.judge(asked, said)
        created = None if verdict.passed else await self.checks.start(asked, self._job(call, asked, said))
        job = None if created is None else await self._ended(call, created)
        job_id = None if created is None else JobId(created.job.id)
        facts: JsonObject = {"check": check_facts(verdict, job_id)}
        is_corrected = job is not None and failure_of(job) is None
        body = dump_json(self.slow.completion(job) | {"tandem": facts}) if job is not None and is_corrected else answer.with_facts(tandem=facts)
        call.notes.has_started, call.notes.status = True, 200
        call.notes.ttft_s = time.monotonic() - call.notes.started
        await send_whole(call.send, 200, call.headers(b"application/json", job_id), body)

    async def _ended(self, call: Call, created: Created) -> Job:
        job_id = JobId(created.job.id)
        async with contextlib.aclosing(self.slow.lines(job_id, call.decision.language)) as lines:
            async for _ in lines:
                pass
        return await self.slow.jobs.get(job_id, call.principal.tenant)

    async def _stream(self, call: Call, reply: Reply) -> None:
        first = await reply.read()
        check_stream(reply, first)
        call.notes.has_started, call.notes.status = True, 200
        call.notes.ttft_s = time.monotonic() - call.notes.started
        await call.send({"type": "http.response.start", "status": 200, "headers": call.headers(EVENT_STREAM) + EXTRA_HEADERS})
        relay = Relay()
        try:
            chunk = first
            while chunk:
                if passed := relay.feed(chunk):
                    await _send(call, passed)
                chunk = await reply.read()
            relay.close()
            reply.close()
            ending = await self._check(call, relay)
        except TandemError as error:
            call.notes.error_code = error.code
            ending = error_frame(error)
        await call.send({"type": "http.response.body", "body": ending, "more_body": False})

    async def _check(self, call: Call, relay: Relay) -> bytes:
        """Judge the streamed answer, and watch the job of a failed one; returns the end of the stream."""
        asked, said = _asked(call), FastAnswer(relay.text, relay.finish_reason, relay.chances)
        verdict = await self.checks.judge(asked, said)
        if verdict.passed:
            return relay.held + DONE_FRAME
        created = await self.checks.start(asked, self._job(call, asked, said))
        if created is None:
            return self._doubtful(call, relay, verdict, None)
        job_id = JobId(created.job.id)
        language = call.decision.language
        told: JsonObject = {"check": check_facts(verdict, job_id)}
        await _send(call, relay.chunk({"content": f"\n\n{waited_doubt(language)}\n\n"}, tandem=told))
        async with contextlib.aclosing(self.slow.lines(job_id, language)) as lines:
            async for line in lines:
                await _send(call, OPENAI_KEEPALIVE if line is None else relay.chunk({"reasoning_content": line}))
        ended = await self.slow.jobs.get(job_id, call.principal.tenant)
        if failure_of(ended) is not None:
            return self._doubtful(call, relay, verdict, job_id)
        frames = relay.chunk({"content": ended.output_text or ""}) + relay.chunk({}, finish_reason_of(ended))
        if call.body.stream_options and call.body.stream_options.include_usage:
            frames += relay.usage_chunk(_summed(relay.usage, ended))
        return frames + DONE_FRAME

    def _doubtful(self, call: Call, relay: Relay, verdict: CheckVerdict, job_id: JobId | None) -> bytes:
        """The end of an answer that stands although its check failed. The words stay as they were: the doubt is told beside them."""
        line = f"{unchecked_doubt(call.decision.language)}\n"
        told: JsonObject = {"check": check_facts(verdict, job_id)}
        return relay.chunk({"reasoning_content": line}, tandem=told) + relay.held + DONE_FRAME

    def _job(self, call: Call, asked: Checked, said: FastAnswer) -> NewJob:
        request = job_request(asked.correction(said), call.body.metadata)
        return NewJob(
            id=self.slow.ids.job(),
            tenant=call.principal.tenant,
            key_id=call.principal.key_id,
            request=request,
            effort=call.decision.effort,
            title=check_title(call.decision.language, title_of(asked.conversation[-1].content)),
            decision_id=call.decision_id,
        )


def _asked(call: Call) -> Checked:
    conversation = call.body.conversation()
    said = conversation if call.body.has_system() else [ChatMessage(role="system", content=SYSTEM_PROMPTS[call.decision.language]), *conversation]
    wanted = call.body.max_completion_tokens or call.body.max_tokens
    prompt = ChatRequest(messages=said, max_tokens=min(wanted or DRAFT_TOKENS, DRAFT_TOKENS))
    if call.body.temperature is not None:
        prompt = prompt.model_copy(update={"temperature": call.body.temperature})
    return Checked(call.principal, call.decision_id, call.decision, conversation, prompt, is_bounded=wanted is not None)


def _summed(fast: TokenUsage | None, job: Job) -> JsonObject:
    """What both answers have spent together."""
    counted = fast or TokenUsage()
    input_tokens, output_tokens = job.usage.input_tokens + counted.input_tokens, job.usage.output_tokens + counted.output_tokens
    return {"prompt_tokens": input_tokens, "completion_tokens": output_tokens, "total_tokens": input_tokens + output_tokens}


async def _send(call: Call, data: bytes) -> None:
    await call.send({"type": "http.response.body", "body": data, "more_body": True})
