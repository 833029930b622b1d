"""The fast lane: the caller's bytes to the model server, the server's bytes to the caller. Only the first and the last bytes are looked at."""

import time
from typing import Final

import msgspec

from fast_model.prompts import SYSTEM_PROMPTS
from gateway.asgi import dump_json, send_whole
from gateway.chat.call import Call
from gateway.chat.request import splice
from gateway.chat.upstream import Reply, Transport
from gateway.errors import error_body, shown
from tandem.errors import InvalidRequest, ModelBadResponse, ModelContextExceeded, ModelError, ModelUnavailable, TandemError
from tandem.sse import DONE_FRAME, RESPONSE_HEADERS, data_frame

MAX_REPLY_BYTES: Final = 33_554_432
"""A whole reply larger than this is a broken server, not an answer."""
_TAIL_BYTES: Final = 1_024
EXTRA_HEADERS: Final = [(name.encode(), value.encode()) for name, value in RESPONSE_HEADERS.items() if name != "content-type"]
EVENT_STREAM: Final = RESPONSE_HEADERS["content-type"].encode()
_STARTS: Final = (b"data:", b"event:", b"id:", b"retry:", b":", b"\n", b"\r")


class _Whole(msgspec.Struct):
    choices: list[msgspec.Raw]


class _Upset(msgspec.Struct):
    message: str = ""
    code: str | int | None = None
    type: str | None = None


class _UpsetBody(msgspec.Struct):
    error: _Upset | str


_WHOLE: Final = msgspec.json.Decoder(_Whole)
_UPSET: Final = msgspec.json.Decoder(_UpsetBody)


async def answer_fast(call: Call, transport: Transport, model: str) -> None:
    """Answer from the fast model. Raises ``TandemError`` until the first byte is out; later faults become an error event."""
    prompt = None if call.body.has_system() else SYSTEM_PROMPTS[call.decision.language]
    reply = await transport.send(splice(call.raw, model, prompt))
    try:
        if reply.status != 200:
            raise await refusal(reply)
        await (_pass_stream(call, reply) if call.body.stream else _pass_whole(call, reply))
    finally:
        reply.close()


async def _pass_whole(call: Call, reply: Reply) -> None:
    body = await read_all(reply)
    try:
        _WHOLE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ModelBadResponse("the fast model's server answered something that is not a chat completion; the operator must look at it") from None
    call.notes.has_started, call.notes.status = True, 200
    call.notes.ttft_s = time.monotonic() - call.notes.started
    await send_whole(call.send, 200, call.headers(b"application/json"), body)


async def _pass_stream(call: Call, reply: Reply) -> None:
    first = await reply.read()
    check_stream(reply, first)
    call.notes.has_started, call.notes.status = True, 200
    call.notes.ttft_s = time.monotonic() - call.notes.started
    send = call.send
    await send({"type": "http.response.start", "status": 200, "headers": call.headers(EVENT_STREAM) + EXTRA_HEADERS})
    tail = b""
    chunk = first
    try:
        while chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            tail = chunk if len(chunk) >= _TAIL_BYTES else (tail + chunk)[-_TAIL_BYTES:]
            chunk = await reply.read()
        ending = _ending(tail)
    except ModelError as error:
        call.notes.error_code = error.code
        ending = b"\n\n" + error_frame(error)
    await send({"type": "http.response.body", "body": ending, "more_body": False})


def check_stream(reply: Reply, first: bytes) -> None:
    """Raises ``ModelBadResponse`` when what begins with these bytes is no event stream."""
    if reply.content_type != "text/event-stream" or not first.startswith(_STARTS):
        raise ModelBadResponse("the fast model's server answered something that is not an event stream; the operator must look at it")


def _ending(tail: bytes) -> bytes:
    """What is still owed after the upstream's last byte. Raises ``ModelBadResponse`` when it stopped in the middle."""
    if b"[DONE]" in tail:
        return b"" if tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) else b"\n\n"
    if b'"finish_reason":"' in tail or b'"finish_reason": "' in tail:
        return b"\n\n" + DONE_FRAME if not tail.endswith(b"\n\n") else DONE_FRAME
    raise ModelBadResponse("the fast model's server stopped in the middle of the answer; ask again")


def error_frame(error: TandemError) -> bytes:
    """A fault after the status line: an event of the one shape, which the stock client raises."""
    return data_frame(dump_json(error_body(error)))


async def read_all(reply: Reply) -> bytes:
    """The whole body. Raises ``ModelBadResponse`` beyond ``MAX_REPLY_BYTES``."""
    chunks: list[bytes] = []
    size = 0
    while chunk := await reply.read():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            raise ModelBadResponse(f"the fast model's server sent more than {MAX_REPLY_BYTES} bytes; the operator must look at it")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def refusal(reply: Reply) -> TandemError:
    """What the server's error status means for our caller."""
    status = reply.status
    if status == 429 or status >= 500:
        return ModelUnavailable(f"the fast model's server is overloaded or broken (status {status}); try again later", retry_after_s=5)
    if status not in (400, 413, 422):
        return ModelBadResponse(f"the fast model's server refuses our requests (status {status}); the operator must check its URL, key and model")
    try:
        fault = _UPSET.decode(await read_all(reply)).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ModelBadResponse(f"the fast model's server answered status {status} without saying why; the operator must look at it")
    words, code, kind = (fault, None, None) if isinstance(fault, str) else (fault.message, fault.code, fault.type)
    if "context" in f"{code} {kind} {words}".lower():
        return ModelContextExceeded("the conversation does not fit the fast model's context; shorten it or send it to model 'slow'", param="messages")
    return InvalidRequest(f"the fast model's server refuses the request: {shown(words)}; change it")
