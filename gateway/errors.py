"""The one table from errors to HTTP: status, OpenAI ``type``, headers and body. Nothing else in Tandem knows a status code of an error.

What callers can act on keeps its message. A fault of the operator's or of ours gets a fixed public sentence: the details, which may hold paths or
addresses, go to the log.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

from gateway.asgi import JSON_TYPE, RawHeaders, dump_json
from tandem.errors import (
    AuthenticationFailed,
    BodyTooLarge,
    BudgetReached,
    CallerError,
    Conflict,
    EgressDenied,
    GatewayStopping,
    IdempotencyKeyReused,
    InputTooLong,
    InvalidRequest,
    JobFailed,
    JobInterrupted,
    ModelBadResponse,
    ModelContextExceeded,
    ModelError,
    ModelTimeout,
    ModelUnavailable,
    NotFound,
    OperatorError,
    PermissionDenied,
    PolicyRefused,
    SandboxUnavailable,
    StorageFull,
    StorageNotMigrated,
    StorageUnavailable,
    TandemError,
    ToolError,
    ToolNotOffered,
    TooManyRequests,
    UnknownModel,
    UnknownTool,
)
from tandem.schemas.base import JsonObject


class HttpFault(CallerError):
    """A fault of HTTP itself (an unsupported method), with a status and headers of its own."""

    def __init__(self, message: str, *, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Rendering(NamedTuple):
    """How a class of errors looks from outside."""

    status: int
    type: str
    public_message: str | None = None
    """Replaces the error's own message."""


_INTERNAL: Final = "something broke on our side; the operator finds it in the log by this answer's x-request-id"
_TABLE: Final[Mapping[type[TandemError], Rendering]] = {
    CallerError: Rendering(400, "invalid_request_error"),
    InvalidRequest: Rendering(400, "invalid_request_error"),
    UnknownModel: Rendering(404, "not_found_error"),
    UnknownTool: Rendering(400, "invalid_request_error"),
    ToolNotOffered: Rendering(400, "invalid_request_error"),
    InputTooLong: Rendering(400, "invalid_request_error"),
    PolicyRefused: Rendering(422, "invalid_request_error"),
    BodyTooLarge: Rendering(413, "invalid_request_error"),
    AuthenticationFailed: Rendering(401, "authentication_error"),
    PermissionDenied: Rendering(403, "authentication_error"),
    NotFound: Rendering(404, "not_found_error"),
    Conflict: Rendering(409, "invalid_request_error"),
    IdempotencyKeyReused: Rendering(422, "invalid_request_error"),
    TooManyRequests: Rendering(429, "rate_limit_error"),
    EgressDenied: Rendering(400, "invalid_request_error"),
    ModelError: Rendering(502, "model_error"),
    ModelUnavailable: Rendering(503, "model_error"),
    ModelTimeout: Rendering(504, "model_error"),
    ModelBadResponse: Rendering(502, "model_error"),
    ModelContextExceeded: Rendering(400, "invalid_request_error"),
    ToolError: Rendering(502, "server_error"),
    SandboxUnavailable: Rendering(503, "server_error"),
    OperatorError: Rendering(500, "server_error", _INTERNAL),
    StorageUnavailable: Rendering(503, "server_error", "the database cannot be reached or cannot commit; nothing was stored: send the request again"),
    StorageFull: Rendering(507, "server_error", "the database's disk is full; nothing was stored: the operator must make room"),
    StorageNotMigrated: Rendering(
        503, "server_error", "the database has another schema version than this gateway; the operator must finish the upgrade"
    ),
    JobInterrupted: Rendering(409, "invalid_request_error"),
    BudgetReached: Rendering(409, "invalid_request_error"),
    JobFailed: Rendering(502, "server_error"),
    GatewayStopping: Rendering(503, "server_error"),
    TandemError: Rendering(500, "server_error", _INTERNAL),
}


def rendering(error: TandemError) -> Rendering:
    """The row of the nearest class of the error."""
    if isinstance(error, HttpFault):
        return Rendering(error.status, "invalid_request_error")
    return next(_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE)


def error_message(error: TandemError) -> str:
    """What callers may read of it."""
    return rendering(error).public_message or error.message


def error_body(error: TandemError) -> JsonObject:
    """The one shape of every error answer."""
    return {"error": {"message": error_message(error), "type": rendering(error).type, "code": error.code, "param": error.param}}


def error_answer(error: TandemError) -> tuple[int, RawHeaders, bytes]:
    """Status, headers and body."""
    headers: RawHeaders = [JSON_TYPE]
    if isinstance(error, AuthenticationFailed):
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
    if not error.retryable:
        headers.append((b"x-should-retry", b"false"))  # the stock client would else send 409 and 5xx again
    if isinstance(error, HttpFault):
        headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in error.headers.items()]
    return rendering(error).status, headers, dump_json(error_body(error))


def http_fault(status: int, method: str, path: str, headers: Mapping[str, str] | None = None) -> TandemError:
    """What a router refuses before any door is reached."""
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(f"there is no door {shown(path)}; GET /openapi.json lists them")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (headers or {}).get("allow", (headers or {}).get("Allow", ""))
        return HttpFault(f"{shown(path)} does not take {method}" + (f"; use {allowed}" if allowed else ""), status=status, headers=headers)
    if status == HTTPStatus.BAD_REQUEST:  # the framework's word for a body that Python's JSON reader gave up on
        return InvalidRequest("the body is not JSON in UTF-8, or holds a number of thousands of digits; send a JSON object")
    return HttpFault(HTTPStatus(status).phrase, status=status, headers=headers)


def invalid(faults: Sequence[Mapping[str, Any]]) -> InvalidRequest:
    """The first of pydantic's faults, naming field and value; of a union's branches the one that got furthest into the value speaks."""
    first = max(faults, key=lambda fault: len(_path(fault)) if _path(fault)[:1] == _path(faults[0])[:1] else -1)
    if first["type"] == "json_invalid":
        reason = str(cast("Mapping[str, object]", first.get("ctx") or {}).get("error", ""))
        return InvalidRequest(f"the body is not valid JSON: {reason} at character {first['loc'][-1]}; send a JSON object")
    param = ".".join(_path(first)) or None
    where = repr(param) if param else "the body"
    if first["type"] == "extra_forbidden":
        return InvalidRequest(f"{where} is not a field of this door; remove it", param=param)
    message = str(first["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    value = "" if first["type"] == "missing" else f"; got {shown(first.get('input'))}"
    return InvalidRequest(f"{where}: {message[:1].lower()}{message[1:]}{value}", param=param)


def shown(value: object) -> str:
    """``repr`` of a caller's value, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


def _path(fault: Mapping[str, Any]) -> list[str]:
    return [str(part) for part in fault["loc"][1:] if not _is_branch(str(part))]


def _is_branch(part: str) -> bool:
    """Whether pydantic put the name of a type, not of a field, into the location of a fault within a union."""
    return re.match(r"(str|int|float|bool|list|dict|function-\w+|constrained-\w+|tagged-union)(\[|$)", part) is not None or "[" in part
