"""Reads a chat-completions body once: the fields Tandem looks at, checked; every other OpenAI field stays untouched in the original bytes."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from gateway.errors import shown
from gateway.limits import check_depth
from tandem.errors import InputTooLong, InvalidRequest, UnknownModel
from tandem.ports import Turns
from tandem.schemas.chat import ChatMessage, Role
from tandem.schemas.routing import Effort, LaneChoice
from tandem.schemas.text import check_text

ChatRole = Literal["system", "developer", "user", "assistant", "tool", "function"]
_EFFORTS: Final[dict[str, Effort | None]] = {
    "none": None,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
_METADATA_KEYS: Final = 16
_FAST_ONLY: Final = ("tools", "functions", "tool_choice", "response_format", "logprobs", "modalities", "audio")
"""Fields only a model server can honour: a conversation that uses them stays in the fast lane."""


class Part(Struct):
    """A piece of a message."""

    type: str
    text: str | None = None


class Message(Struct):
    """One message, as far as Tandem reads it."""

    role: ChatRole
    content: str | list[Part] | None = None

    def text(self) -> str:
        """Its words; parts are joined by a line break."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(part.text for part in self.content if part.text)

    def is_plain(self) -> bool:
        """Whether the slow lane can read it: words of a person, a system or a model."""
        return self.role not in ("tool", "function") and (not isinstance(self.content, list) or all(part.type == "text" for part in self.content))


class StreamOptions(Struct):
    """How a stream ends."""

    include_usage: bool | None = None


class ChatBody(Struct):
    """The fields of ``POST /v1/chat/completions`` that Tandem reads."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    metadata: dict[str, str] | None = None
    tools: Raw | UnsetType = UNSET
    functions: Raw | UnsetType = UNSET
    tool_choice: Raw | UnsetType = UNSET
    response_format: Raw | UnsetType = UNSET
    logprobs: Raw | UnsetType = UNSET
    modalities: Raw | UnsetType = UNSET
    audio: Raw | UnsetType = UNSET

    @property
    def effort(self) -> Effort | None:
        """The effort asked for, in Tandem's words."""
        return _EFFORTS[self.reasoning_effort] if self.reasoning_effort else None

    def has_system(self) -> bool:
        return any(message.role in ("system", "developer") for message in self.messages)

    def is_checkable(self) -> bool:
        """Whether the fast answer can be tested, and worked out anew by a job: words alone, and a human's message last."""
        newest = self.messages[-1]
        return newest.role == "user" and bool(newest.text().strip()) and self.fast_only() is None and metadata_fault(self.metadata) is None

    def fast_only(self) -> str | None:
        """The field that only the fast lane can honour, if there is one."""
        for name in _FAST_ONLY:
            value: Raw | UnsetType = getattr(self, name)
            if value is not UNSET and bytes(value) not in (b"null", b"false", b"[]", b'{"type":"text"}', b'{"type": "text"}'):
                return name
        if self.n is not None and self.n > 1:
            return "n"
        return next((f"messages.{at}" for at, message in enumerate(self.messages) if not message.is_plain()), None)

    def conversation(self) -> list[ChatMessage]:
        """The words of the conversation, for a job; messages without words are left out."""
        roles: dict[str, Role] = {"system": "system", "developer": "system", "assistant": "assistant"}
        return [ChatMessage(role=roles.get(message.role, "user"), content=text) for message in self.messages if (text := message.text())]

    def turns(self, choice: LaneChoice) -> Turns:
        """What the router may know of it."""
        human = [message.text() for message in self.messages if message.role == "user"]
        newest, history = (human[-1], human[:-1]) if human else (self.messages[-1].text(), [])
        return Turns(text=newest, history=history, choice=choice, effort=self.effort, chosen_by="model")


_DECODER: Final = msgspec.json.Decoder(ChatBody)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_ENCODER: Final = msgspec.json.Encoder()


def read_chat(body: bytes, *, max_depth: int, max_input_chars: int) -> ChatBody:
    """Decode and check.

    Raises:
        InvalidRequest: Not JSON, too deep, a field of the wrong type or out of range, NUL or half a surrogate pair; names field and value.
        InputTooLong: A message has more than ``max_input_chars`` characters.
    """
    check_depth(body, max_depth)
    try:
        chat = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise _explain(str(error), body) from None
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not valid UTF-8; encode it as UTF-8") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(body, str(error)) from None
    for at, message in enumerate(chat.messages):
        _check_message(at, message, max_input_chars)
    return chat


def splice(body: bytes, model: str, system_prompt: str | None, *, top_logprobs: int = 0) -> bytes:
    """The body with another model and, when given, a system message in front and a wish for log-probabilities; all other values keep their bytes."""
    fields = _FIELDS.decode(body)
    fields["model"] = Raw(_ENCODER.encode(model))
    if top_logprobs:
        fields |= {"logprobs": Raw(b"true"), "top_logprobs": Raw(_ENCODER.encode(top_logprobs))}
    if system_prompt is not None:
        first = _ENCODER.encode({"role": "system", "content": system_prompt})
        fields["messages"] = Raw(b"[" + first + b"," + bytes(fields["messages"]).lstrip()[1:])
    return _ENCODER.encode(fields)


def lane_choice(model: str, served: Mapping[str, LaneChoice]) -> LaneChoice:
    """The lane a model name asks for. Raises ``UnknownModel``."""
    choice = served.get(model)
    if choice is None:
        raise UnknownModel(f"model {shown(model)} is not served here; use one of {', '.join(served)}", param="model")
    return choice


def metadata_fault(metadata: Mapping[str, str] | None) -> str | None:
    """Why a job cannot keep this metadata, if it cannot; the fast lane passes any on."""
    pairs = metadata or {}
    if len(pairs) > _METADATA_KEYS or any(not 1 <= len(key) <= 64 or len(value) > 512 for key, value in pairs.items()):
        return "may hold 16 pairs, keys up to 64 and values up to 512 characters; shorten it"
    try:
        for text in (*pairs, *pairs.values()):
            check_text(text)
    except ValueError as error:
        return str(error)
    return None


def _check_message(at: int, message: Message, max_input_chars: int) -> None:
    text = message.text()
    if len(text) > max_input_chars:
        raise InputTooLong(
            f"'messages.{at}.content' has {len(text)} characters, {max_input_chars} are allowed; shorten it", param=f"messages.{at}.content"
        )
    try:
        check_text(text)
    except ValueError as error:
        raise InvalidRequest(f"'messages.{at}.content' {error}", param=f"messages.{at}.content") from None


def _explain(message: str, body: bytes) -> InvalidRequest:
    """A type or range fault in our words, with the field and the value found there."""
    what, _, path = message.partition(" - at `$")
    path = path.replace("[...]", "")  # some value of a mapping: msgspec does not say which
    parts = [part or index for part, index in re.findall(r"\.([^.\[`]+)|\[(\d+)\]", path)]
    param = ".".join(parts) or None
    if missing := re.search(r"missing required field `(\w+)`", what):
        name = ".".join([*parts, missing[1]])
        return InvalidRequest(f"{name!r} is missing; add it", param=name)
    where = repr(param) if param else "the body"
    return InvalidRequest(f"{where}: {what[:1].lower()}{what[1:].replace('`', chr(39))}; got {shown(_value_at(body, parts))}", param=param)


def _value_at(body: bytes, parts: list[str]) -> object:
    value: Any = json.loads(body)
    for part in parts:
        value = value[int(part)] if isinstance(value, list) else value.get(part) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType]
    return value  # pyright: ignore[reportUnknownVariableType]


def _malformed(body: bytes, reason: str) -> InvalidRequest:
    """Broken JSON; a lone surrogate is told apart, because only its escape is wrong."""
    lone = re.search(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}", body)
    if lone:
        return InvalidRequest(f"the body holds half a surrogate pair, {lone[0].decode()!r}, at byte {lone.start()}; send well-formed Unicode")
    return InvalidRequest(f"the body is not valid JSON: {reason}; send a JSON object")
