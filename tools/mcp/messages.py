"""JSON-RPC as MCP uses it: messages to and from bytes, and what a connection has to offer. No I/O.

The SDK's client is not used: it reads lines without end, hands its whole environment's names to a program, lets a call hang when a stream breaks, and
binds a session to the task that opened it, while jobs call from many. Its types are.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, Protocol, cast

from mcp import types
from pydantic import JsonValue

from tandem.errors import ToolFailed
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import ToolFault
from tools.hygiene import cleaned

MAX_MESSAGE_BYTES: Final = 16_777_216
"""Of one message of a server; a longer one ends the connection, since nobody can tell which call it belongs to."""
LIST_CHANGED: Final = "notifications/tools/list_changed"
LOST: Final = "mcp_connection_lost"
_SHOWN_CHARS: Final = 500
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_ARGUMENTS_FAULT: Final = re.compile(r"validation error|invalid (?:arguments|params|parameters|input)|参数(?:错误|无效)", re.IGNORECASE)


class McpFailed(ToolFailed):
    """A server could not be reached or did not answer as asked.

    ``fault`` is what the model is told; ``message`` ends with ``detail``, which is for operators only.
    """

    def __init__(self, message: str, code: str = "mcp_failed", *, is_retryable: bool = False, detail: str = "") -> None:
        super().__init__(f"{message}; {detail}" if detail else message)
        self.fault = ToolFault(code=code, message=message, retryable=is_retryable)


class Connection(Protocol):
    """One session with a server. Calls may come from any task, and several at once."""

    has_changed: bool
    """The server said that its tools are no longer those it listed; whoever lists them again resets it."""

    @property
    def lost(self) -> str | None:
        """Why nothing can be asked any more."""
        ...

    async def request(self, method: str, params: JsonObject) -> JsonObject:
        """The result of one request. Whoever is cancelled while waiting cancels the request at the server too. Raises ``McpFailed``."""
        ...

    async def notify(self, method: str) -> None: ...

    async def greeted(self, protocol: str) -> None:
        """The session is established in this version of the protocol."""
        ...

    async def close(self, *, at_once: bool = False) -> None:
        """End the session, and the server where it is ours; ``at_once`` spares it no time to leave by itself."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """To a request of ours."""

    id: int
    result: JsonObject | None
    error: JsonObject | None

    def unwrap(self, server: str) -> JsonObject:
        """The result. Raises ``McpFailed`` for an error."""
        if self.error is None:
            return self.result or {}
        raise refusal(server, self.error)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of the server's."""

    id: int | str
    method: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification of the server's."""

    method: str


Incoming = Answer | Ask | Notice


def encode_request(request_id: int, method: str, params: JsonObject) -> bytes:
    """A request of ours, without a line end."""
    return _encode({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


def encode_notification(method: str, params: JsonObject | None = None) -> bytes:
    """Something said that has no answer."""
    return _encode({"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})})


def encode_cancellation(request_id: int) -> bytes:
    """Tell the server to stop working on a request."""
    return encode_notification("notifications/cancelled", {"requestId": request_id, "reason": "the caller no longer waits"})


def encode_reply(ask: Ask) -> bytes:
    """Our answer to a server: a ping is answered; samples of our model, questions to our people and our folders are refused, whoever asks."""
    if ask.method == "ping":
        return _encode({"jsonrpc": "2.0", "id": ask.id, "result": {}})
    message = f"this client answers no {ask.method[:100]!r} requests"
    return _encode({"jsonrpc": "2.0", "id": ask.id, "error": {"code": types.METHOD_NOT_FOUND, "message": message}})


def decode(raw: bytes) -> list[Incoming]:
    """The messages in a line or a body: one, or a batch. Raises ``ValueError`` for what is none."""
    try:
        value: object = json.loads(raw, parse_constant=_no_number, parse_float=_finite)
        if _SURROGATE_ESCAPE.search(raw):
            value = _well_formed(cast("JsonValue", value))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    messages = cast("list[object]", value) if isinstance(value, list) else [value]
    return [_incoming(message) for message in messages]


def refusal(server: str, error: Mapping[str, JsonValue]) -> McpFailed:
    """A JSON-RPC error as a fault."""
    text = cleaned(str(error.get("message", "")))[:_SHOWN_CHARS]
    match error.get("code"):
        case types.INVALID_PARAMS:
            return McpFailed(f"{server} refused the arguments: {text}", "invalid_arguments")
        case types.METHOD_NOT_FOUND:
            return McpFailed(f"{server} does not know what was asked: {text}; do without this tool", "mcp_refused")
        case _:
            return McpFailed(f"{server} answered with an error: {text}", "mcp_error")


def error_code(text: str) -> Literal["invalid_arguments", "tool_failed"]:
    """The code of a result that is marked as an error; servers say there, in words only, that the arguments were at fault."""
    return "invalid_arguments" if _ARGUMENTS_FAULT.search(text[:_SHOWN_CHARS]) else "tool_failed"


def _encode(message: JsonObject) -> bytes:
    # ASCII escapes: a lone surrogate in an argument has no UTF-8 form.
    return json.dumps(message, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def _incoming(message: object) -> Incoming:
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":  # pyright: ignore[reportUnknownMemberType]
        raise ValueError("no JSON-RPC 2.0 message")
    fields = cast("JsonObject", message)
    message_id, method = fields.get("id"), fields.get("method")
    if isinstance(method, str):
        return Ask(message_id, method) if isinstance(message_id, int | str) else Notice(method)
    result, error = fields.get("result"), fields.get("error")
    if isinstance(message_id, str) and message_id.isascii() and message_id.isdigit():
        message_id = int(message_id[:18])  # some servers give our number back as text
    if not isinstance(message_id, int) or not isinstance(error if "error" in fields else result, dict):
        raise ValueError("neither a request nor an answer")  # noqa: TRY004 - of the value, whatever its type
    return Answer(message_id, cast("JsonObject | None", result), cast("JsonObject | None", error))


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("a number is out of range")
    return number


def _well_formed(value: JsonValue) -> JsonValue:
    """Lone surrogates, which JSON's escapes can spell, replaced: nothing of ours could store them."""
    match value:
        case str():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case list():
            return [_well_formed(item) for item in value]
        case dict():
            return {str(_well_formed(key)): _well_formed(item) for key, item in value.items()}
        case _:
            return value
