"""Items of a conversation at the responses door: what comes in is checked and laid out once, what is stored is read back as messages. Pure.

Tandem reads words. Reasoning items, which clients send back with a response's output, are left out; everything else is refused by name.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from gateway.errors import shown
from tandem.errors import InputTooLong, InvalidRequest
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatMessage, Role
from tandem.schemas.text import CleanText

_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_TEXT_PARTS: Final = frozenset({"input_text", "output_text"})
_REMEDIES: Final = {
    "function_call": "Tandem calls no functions of yours; do it with 'tools': [{'type': 'code_interpreter', ...}] or put the result into a message",
    "function_call_output": "Tandem calls no functions of yours; put the result into a message",
    "item_reference": "items are not kept one by one; use 'previous_response_id', or send the message itself",
    "input_image": "Tandem reads text only; describe the image in words",
    "input_file": "Tandem reads text only; put the file's text into a message",
    "input_audio": "Tandem reads text only; put the words into a message",
}
_REMEDY: Final = "send messages whose parts are 'input_text' or 'output_text'"


class InputPart(BaseModel):
    """A piece of a message."""

    model_config = ConfigDict(frozen=True)

    type: str
    text: CleanText | None = None


class InputItem(BaseModel):
    """One item of ``input``; of what OpenAI's items hold, the fields Tandem reads."""

    model_config = ConfigDict(frozen=True)

    type: str | None = None
    """Null means ``message``."""
    role: str | None = None
    content: CleanText | list[InputPart] | None = None


def read_items(given: str | Sequence[InputItem], new_id: Callable[[], str], *, max_chars: int) -> list[JsonObject]:
    """The messages of a request, each with an id, as they are stored and listed.

    Raises:
        InvalidRequest: There is none, or an item is not made of words; the message names it and what to send instead.
        InputTooLong: A message has more than ``max_chars`` characters.
    """
    items = [InputItem(role="user", content=given)] if isinstance(given, str) else given
    read = [_message(item, f"input.{at}" if not isinstance(given, str) else "input", new_id, max_chars) for at, item in enumerate(items)]
    messages = [message for message in read if message is not None]
    if not messages or not any(text_of(message).strip() for message in messages):
        raise InvalidRequest("'input' holds no words; say what is to be done", param="input")
    return messages


def text_of(item: JsonObject) -> str:
    """The words of a stored message; parts are joined by a line break."""
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))  # type: ignore[misc]


def as_messages(items: Sequence[JsonObject]) -> list[ChatMessage]:
    """Stored messages as models read them; what is no message, or holds no words, is left out."""
    return [
        ChatMessage(role=_ROLES[str(item["role"])], content=text)
        for item in items
        if item.get("type") == "message" and (text := text_of(item)).strip()
    ]


def output_message(item_id: str, text: str, *, is_whole: bool = True) -> JsonObject:
    """An answer as an output item."""
    return {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": "completed" if is_whole else "incomplete",
        "content": [text_part(text)],
    }


def text_part(text: str) -> JsonObject:
    """A part of an answer."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def reasoning_item(item_id: str, text: str, status: Literal["in_progress", "completed"]) -> JsonObject:
    """The item that holds a job's progress."""
    return {"id": item_id, "type": "reasoning", "summary": [{"type": "summary_text", "text": text}], "status": status}


def _message(item: InputItem, where: str, new_id: Callable[[], str], max_chars: int) -> JsonObject | None:
    if item.type == "reasoning":
        return None
    if item.type not in (None, "message"):
        raise _refused(f"{where}.type", item.type)
    if item.role not in _ROLES:
        raise InvalidRequest(f"'{where}.role' is {shown(item.role)}; use one of {', '.join(_ROLES)}", param=f"{where}.role")
    texts = _texts(item, where)
    if (length := sum(map(len, texts))) > max_chars:
        raise InputTooLong(f"{where!r} has {length} characters, {max_chars} are allowed; shorten it", param=where)
    is_answer = item.role == "assistant"
    parts: list[JsonValue] = [text_part(text) if is_answer else {"type": "input_text", "text": text} for text in texts]
    return {"id": new_id(), "type": "message", "role": item.role, "status": "completed", "content": parts}


def _texts(item: InputItem, where: str) -> list[str]:
    if item.content is None:
        raise InvalidRequest(f"'{where}.content' is missing; add the words", param=f"{where}.content")
    if isinstance(item.content, str):
        return [item.content]
    texts: list[str] = []
    for at, part in enumerate(item.content):
        place = f"{where}.content.{at}"
        if part.type not in _TEXT_PARTS:
            raise _refused(f"{place}.type", part.type)
        if part.text is None:
            raise InvalidRequest(f"'{place}.text' is missing; add the words", param=f"{place}.text")
        texts.append(part.text)
    return texts


def _refused(param: str, kind: str | None) -> InvalidRequest:
    return InvalidRequest(f"{param!r} {shown(kind)} is not taken here: {_REMEDIES.get(kind or '', _REMEDY)}", param=param)
