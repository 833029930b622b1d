"""What each door is sent and how its answer is read. Knows HTTP's words, but no HTTP library and no I/O.

The doors of jobs are in ``job_calls.py``, those of schedules, webhooks and operations in ``platform_calls.py``,
those of the routing in ``router_calls.py``, those of files, memories, the audit log and tools in ``tool_calls.py``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, JsonValue, ValidationError

from tandem.errors import AuthenticationFailed, CallerError, GatewayUnreachable, InternalError, TandemError
from tandem.schemas.chat import ChatMessage
from tandem.schemas.errors import ErrorBody
from tandem.schemas.health import Readiness
from tandem.schemas.keys import ApiKey, CreatedKey, KeyCreate, KeyPage, Scope
from tandem.schemas.models import ModelList
from tandem.schemas.routing import DecideRequest, Decision, Effort, LaneChoice
from tandem.schemas.threads import MessageCreate, MessagePage, Thread, ThreadCreate, ThreadPage, Turn

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

ANSWER_TIMEOUT_S: Final = 30.0
"""Longest silence of an ordinary answer."""
WHOLE_REPLY_TIMEOUT_S: Final = 900.0
"""Longest wait for a reply that is not streamed: a slow turn sends nothing before its end."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and the reader of its successful answer."""

    method: str
    path: str
    """From the gateway's root, escaped."""
    parse: Callable[[bytes], T]
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    also_ok: frozenset[int] = frozenset()
    """Statuses beyond 2xx whose body ``parse`` reads."""
    timeout_s: float = ANSWER_TIMEOUT_S


def read_answer(call: Call[T], status: int, headers: Mapping[str, str], body: bytes) -> T:
    """The parsed answer.

    Raises:
        TandemError: The class of ``tandem/errors.py`` that has the answer's code.
        GatewayUnreachable: The answer has no shape of ours.
    """
    if not (200 <= status < 300 or status in call.also_ok):
        raise read_error(status, headers, body)
    try:
        return call.parse(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise GatewayUnreachable(
            f"{call.method} {call.path} answered something that is not Tandem's ({where or 'body'}: {fault['msg']}); "
            "is the address that of a gateway of this version?"
        ) from None


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> TandemError:
    """The error that an answer with status 4xx or 5xx carries."""
    try:
        detail = ErrorBody.model_validate_json(body).error
    except ValidationError:
        return GatewayUnreachable(f"the gateway's address answered {status} without an error of Tandem's shape; is a gateway listening there?")
    fallback = AuthenticationFailed if status == 401 else CallerError if status < 500 else InternalError
    kind = _errors_by_code().get(detail.code, fallback)
    return kind(detail.message, param=detail.param, retry_after_s=_seconds(headers.get("retry-after")))


def error_named(code: str, message: str) -> TandemError:
    """The error that a body inside a stream names."""
    return _errors_by_code().get(code, InternalError)(message)


def _errors_by_code() -> Mapping[str, type[TandemError]]:
    """Class for each code, read from the tree: of those that share one, the most derived (``invalid_request`` is ``InvalidRequest``)."""
    return {kind.code: kind for kind in sorted(_descendants(TandemError), key=lambda kind: len(kind.__mro__))}


def _descendants(kind: type[TandemError]) -> Iterator[type[TandemError]]:
    for child in kind.__subclasses__():
        if child.__module__ == TandemError.__module__:  # another room's private subclass shares its parent's code
            yield child
            yield from _descendants(child)


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:  # a date: the caller then falls back to its own back-off
        return None


def models() -> Call[list[str]]:
    """``GET /v1/models``."""
    return Call("GET", "/v1/models", lambda body: [card.id for card in ModelList.model_validate_json(body).data])


def ready() -> Call[Readiness]:
    """``GET /readyz``; a platform that is down answers 503 with the same body."""
    return Call("GET", "/readyz", Readiness.model_validate_json, also_ok=frozenset({503}))


def create_thread(title: str, idempotency_key: str | None) -> Call[Thread]:
    """``POST /v1/threads``."""
    return post("/v1/threads", Thread, ThreadCreate(title=title), idempotency_key)


def get_thread(thread_id: str) -> Call[Thread]:
    """``GET /v1/threads/{id}``."""
    return get(f"/v1/threads/{segment(thread_id)}", Thread)


def list_threads(after: str | None, limit: int) -> Call[ThreadPage]:
    """``GET /v1/threads``."""
    return get("/v1/threads", ThreadPage, params(after=after, limit=limit))


def send_message(thread_id: str, content: str, lane: LaneChoice, effort: Effort | None, idempotency_key: str | None) -> Call[Turn]:
    """``POST /v1/threads/{id}/messages``."""
    message = MessageCreate(content=content, lane=lane, effort=effort)
    return post(f"/v1/threads/{segment(thread_id)}/messages", Turn, message, idempotency_key)


def messages(thread_id: str, after_seq: int | None, limit: int) -> Call[MessagePage]:
    """``GET /v1/threads/{id}/messages``."""
    return get(f"/v1/threads/{segment(thread_id)}/messages", MessagePage, params(after=after_seq, limit=limit))


def cancel_turn(thread_id: str, turn_id: str) -> Call[Turn]:
    """``POST /v1/threads/{id}/turns/{turn_id}/cancel``."""
    return post(f"/v1/threads/{segment(thread_id)}/turns/{segment(turn_id)}/cancel", Turn)


def decide(text: str, history: Sequence[str], lane: LaneChoice, effort: Effort | None, policy_version: str | None) -> Call[Decision]:
    """``POST /v1/router/decide``."""
    asked = DecideRequest(text=text, history=list(history), lane=lane, effort=effort, policy_version=policy_version)
    return post("/v1/router/decide", Decision, asked)


def create_key(name: str, scopes: Sequence[Scope]) -> Call[CreatedKey]:
    """``POST /v1/keys``."""
    return post("/v1/keys", CreatedKey, KeyCreate(name=name, scopes=list(scopes)))


def list_keys() -> Call[list[ApiKey]]:
    """``GET /v1/keys``."""
    return Call("GET", "/v1/keys", lambda body: KeyPage.model_validate_json(body).data)


def revoke_key(key_id: str) -> Call[ApiKey]:
    """``DELETE /v1/keys/{id}``."""
    return Call("DELETE", f"/v1/keys/{segment(key_id)}", ApiKey.model_validate_json)


class ChatBody(BaseModel):
    """What the chat door is sent; OpenAI's fields."""

    model: str
    messages: list[ChatMessage]
    stream: bool
    max_tokens: int | None = None


def chat(turns: Sequence[ChatMessage] | str, model: str, *, stream: bool, max_tokens: int | None) -> Call[bytes]:
    """The chat door; its answer is read by ``streams.ChatReader``."""
    history = [ChatMessage(role="user", content=turns)] if isinstance(turns, str) else list(turns)
    body = ChatBody(model=model, messages=history, stream=stream, max_tokens=max_tokens).model_dump_json(exclude_none=True)
    timeout_s = ANSWER_TIMEOUT_S if stream else WHOLE_REPLY_TIMEOUT_S
    return Call("POST", "/v1/chat/completions", bytes, body=body.encode(), headers=_JSON, timeout_s=timeout_s)


_JSON: Final = {"content-type": "application/json"}


def get(path: str, answer: type[M], params: Mapping[str, str] | None = None) -> Call[M]:
    """A reading call."""
    return Call("GET", path, answer.model_validate_json, params or {})


def post(path: str, answer: type[M], body: BaseModel | None = None, idempotency_key: str | None = None, *, method: str = "POST") -> Call[M]:
    """A changing call; fields that were not set are not sent."""
    content = None if body is None else body.model_dump_json(by_alias=True, exclude_unset=True).encode()
    headers = (_JSON if content else {}) | ({"idempotency-key": idempotency_key} if idempotency_key else {})
    return Call(method, path, answer.model_validate_json, body=content, headers=headers)


def delete(path: str) -> Call[None]:
    """A call that is answered with nothing."""
    return Call("DELETE", path, lambda _: None)


def params(**values: JsonValue) -> dict[str, str]:
    """Query parameters; what is None is left out."""
    return {name: str(value) for name, value in values.items() if value is not None}


def segment(text: str) -> str:
    """One path segment: an id typed by hand cannot change which door is meant."""
    return quote(text, safe="")
