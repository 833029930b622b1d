"""Every way a model server fails, translated in one place into Tandem's error tree.

Transport exceptions go through ``TRANSPORT_FAULTS``, HTTP answers and error objects through ``answer_fault``.
"""

import re
from typing import Final

import httpx
from pydantic import JsonValue, TypeAdapter, ValidationError

from tandem.errors import ModelBadResponse, ModelContextExceeded, ModelError, ModelTimeout, ModelUnavailable

TRANSPORT_FAULTS: Final[tuple[tuple[type[Exception], type[ModelError], str], ...]] = (
    (httpx.ConnectTimeout, ModelTimeout, "does not accept connections in time"),
    (httpx.PoolTimeout, ModelTimeout, "has no free connection in time"),
    (httpx.TimeoutException, ModelTimeout, "was silent for longer than read_timeout_s"),
    (httpx.ConnectError, ModelUnavailable, "refuses connections; is it running?"),
    (httpx.DecodingError, ModelBadResponse, "sent a body that cannot be decompressed"),
    (httpx.RemoteProtocolError, ModelUnavailable, "broke the HTTP protocol or closed the connection"),
    (httpx.NetworkError, ModelUnavailable, "dropped the connection"),
    (httpx.UnsupportedProtocol, ModelUnavailable, "has a url that is not http or https"),
    (httpx.InvalidURL, ModelUnavailable, "has a malformed url"),
    (httpx.HTTPError, ModelUnavailable, "could not be reached"),
)
"""First match wins: subclasses stand before their bases."""

_CONTEXT_WORDS: Final = re.compile(
    r"exceed_context_size"  # llama.cpp's error type
    r"|exceeds the (available )?context"  # llama.cpp's words
    r"|context_length_exceeded"  # OpenAI's code
    r"|maximum (context|model) length"  # vLLM, OpenAI
    r"|longer than the maximum model length"  # vLLM
    r"|must be <= \d+.*max_new_tokens|inputs. tokens",  # TGI
    re.IGNORECASE,
)
_ANYTHING: Final[TypeAdapter[JsonValue]] = TypeAdapter(JsonValue)
_SHOWN_CHARS: Final = 300


def transport_fault(error: Exception, url: str, *, is_mid_stream: bool) -> ModelError:
    """The error of ours for an httpx exception. A stream that breaks off is a bad response, not an absent server."""
    if is_mid_stream and not isinstance(error, httpx.TimeoutException):
        return ModelBadResponse(f"the model server at {url} broke off in the middle of a reply ({type(error).__name__})")
    kind, words = next((ours, words) for theirs, ours, words in TRANSPORT_FAULTS if isinstance(error, theirs))
    return kind(f"the model server at {url} {words} ({type(error).__name__})")


def answer_fault(status: int, body: bytes, url: str, retry_after: str | None = None) -> ModelError:
    """The error of ours for an HTTP answer other than 200."""
    said = error_words(body)
    where = f"the model server at {url} answered HTTP {status}: {said}"
    if status in {400, 413, 422, 500} and _CONTEXT_WORDS.search(said):
        return ModelContextExceeded(f"the prompt does not fit the model's context: {said}; send less text or raise context_tokens")
    if status in {401, 403}:
        return ModelUnavailable(f"{where}; check the lane's api_key")
    if status == 404:
        return ModelUnavailable(f"{where}; check the lane's url and model")
    if status in {408, 504}:
        return ModelTimeout(where)
    if status == 429 or status >= 500:
        return ModelUnavailable(where, retry_after_s=_seconds(retry_after))
    return ModelBadResponse(where)


def stream_fault(error: JsonValue, url: str) -> ModelError:
    """The error of ours for an ``error`` object inside a stream."""
    said = _words(error)
    if _CONTEXT_WORDS.search(said):
        return ModelContextExceeded(f"the prompt does not fit the model's context: {said}; send less text or raise context_tokens")
    return ModelBadResponse(f"the model server at {url} reported an error in the middle of a reply: {said}")


def error_words(body: bytes) -> str:
    """What an error body says, short enough for a message."""
    try:
        value = _ANYTHING.validate_json(body)
    except ValidationError:
        return _cut(" ".join(body.decode("utf-8", errors="replace").split())) or "(empty body)"
    return _words(value.get("error", value) if isinstance(value, dict) else value)


def _words(error: JsonValue) -> str:
    if not isinstance(error, dict):
        return _cut(str(error))
    parts = [str(error[key]) for key in ("type", "code", "message") if error.get(key)]
    return _cut(": ".join(parts)) if parts else _cut(str(error))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _seconds(retry_after: str | None) -> float | None:
    """``Retry-After`` in seconds; its date form is not used by model servers."""
    return float(retry_after) if retry_after is not None and re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after) else None
