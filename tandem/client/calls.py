"""What each door is sent and how its answer is read. Knows HTTP's words, but no HTTP library and no I/O."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, JsonValue, ValidationError

from tandem.errors import AuthenticationFailed, CallerError, GatewayUnreachable, InternalError, TandemError
from tandem.schemas.chat import ChatMessage
from tandem.schemas.errors import ErrorBody
from tandem.schemas.events import EventPage
from tandem.schemas.health import Readiness
from tandem.schemas.jobs import Job, JobPage, JobRequest, JobStatus
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
WAIT_STEP_S: Final = 25.0
"""One long poll of ``wait_for_job``, in seconds: below the 30 that common proxies allow."""


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


def create_job(request: JobRequest, idempotency_key: str | None) -> Call[Job]:
    """``POST /v1/jobs``."""
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    return _post("/v1/jobs", Job, request, headers)


def get_job(job_id: str, wait_s: float | None = None) -> Call[Job]:
    """``GET /v1/jobs/{id}``."""
    params = {} if wait_s is None else {"wait": f"{wait_s:g}"}
    return Call("GET", f"/v1/jobs/{_segment(job_id)}", Job.model_validate_json, params, timeout_s=ANSWER_TIMEOUT_S + (wait_s or 0))


def list_jobs(status: JobStatus | None, after: str | None, limit: int) -> Call[JobPage]:
    """``GET /v1/jobs``."""
    return Call("GET", "/v1/jobs", JobPage.model_validate_json, _params(status=status, after=after, limit=limit))


def cancel_job(job_id: str) -> Call[Job]:
    """``POST /v1/jobs/{id}/cancel``."""
    return _post(f"/v1/jobs/{_segment(job_id)}/cancel", Job)


def job_event_page(job_id: str, after: int, limit: int) -> Call[EventPage]:
    """``GET /v1/jobs/{id}/events`` as JSON."""
    params = _params(after=after, limit=limit)
    return Call("GET", f"/v1/jobs/{_segment(job_id)}/events", EventPage.model_validate_json, params, headers={"accept": "application/json"})


def create_thread(title: str) -> Call[Thread]:
    """``POST /v1/threads``."""
    return _post("/v1/threads", Thread, ThreadCreate(title=title))


def get_thread(thread_id: str) -> Call[Thread]:
    """``GET /v1/threads/{id}``."""
    return Call("GET", f"/v1/threads/{_segment(thread_id)}", Thread.model_validate_json)


def list_threads(after: str | None, limit: int) -> Call[ThreadPage]:
    """``GET /v1/threads``."""
    return Call("GET", "/v1/threads", ThreadPage.model_validate_json, _params(after=after, limit=limit))


def send_message(thread_id: str, content: str, lane: LaneChoice, effort: Effort | None) -> Call[Turn]:
    """``POST /v1/threads/{id}/messages``."""
    return _post(f"/v1/threads/{_segment(thread_id)}/messages", Turn, MessageCreate(content=content, lane=lane, effort=effort))


def messages(thread_id: str, after_seq: int | None, limit: int) -> Call[MessagePage]:
    """``GET /v1/threads/{id}/messages``."""
    params = _params(after=after_seq, limit=limit)
    return Call("GET", f"/v1/threads/{_segment(thread_id)}/messages", MessagePage.model_validate_json, params)


def cancel_turn(thread_id: str, turn_id: str) -> Call[Turn]:
    """``POST /v1/threads/{id}/turns/{turn_id}/cancel``."""
    return _post(f"/v1/threads/{_segment(thread_id)}/turns/{_segment(turn_id)}/cancel", Turn)


def decide(text: str, history: Sequence[str], lane: LaneChoice, effort: Effort | None) -> Call[Decision]:
    """``POST /v1/router/decide``."""
    return _post("/v1/router/decide", Decision, DecideRequest(text=text, history=list(history), lane=lane, effort=effort))


def create_key(name: str, scopes: Sequence[Scope]) -> Call[CreatedKey]:
    """``POST /v1/keys``."""
    return _post("/v1/keys", CreatedKey, KeyCreate(name=name, scopes=list(scopes)))


def list_keys() -> Call[list[ApiKey]]:
    """``GET /v1/keys``."""
    return Call("GET", "/v1/keys", lambda body: KeyPage.model_validate_json(body).data)


def revoke_key(key_id: str) -> Call[ApiKey]:
    """``DELETE /v1/keys/{id}``."""
    return Call("DELETE", f"/v1/keys/{_segment(key_id)}", ApiKey.model_validate_json)


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


def wait_for_job(job_id: str, timeout_s: float | None, monotonic: Callable[[], float] = time.monotonic) -> Generator[Call[Job], Job, Job]:
    """Long polls until the job ends or the time is over; send each answer in, the last one is returned."""
    deadline = None if timeout_s is None else monotonic() + timeout_s
    while True:
        left_s = WAIT_STEP_S if deadline is None else min(WAIT_STEP_S, deadline - monotonic())
        job = yield get_job(job_id, max(left_s, 0.0))
        if job.status.is_terminal or (deadline is not None and monotonic() >= deadline):
            return job


_JSON: Final = {"content-type": "application/json"}


def _post(path: str, answer: type[M], body: BaseModel | None = None, headers: Mapping[str, str] | None = None) -> Call[M]:
    content = None if body is None else body.model_dump_json(by_alias=True, exclude_unset=True).encode()
    return Call("POST", path, answer.model_validate_json, body=content, headers={**(_JSON if content else {}), **(headers or {})})


def _params(**values: JsonValue) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _segment(text: str) -> str:
    """One path segment: an id typed by hand cannot change which door is meant."""
    return quote(text, safe="")
