"""One line of a file of prompts, as datasets and clients write them, to what the router reads. Pure.

A row has ``prompt``, ``messages`` or ``text``, looked for in this order; every other field but ``id`` is left alone, so that a column named
``lane`` or ``effort`` (often a label) never steers the decision.
"""

import codecs
import json
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from tandem.errors import InvalidRequest
from tandem.ports import Turns
from tandem.schemas.base import JsonObject

JsonList: TypeAlias = list[object]

FIELDS: Final = ("prompt", "messages", "text")
_TEXT_PARTS: Final = frozenset({"text", "input_text"})


@dataclass(frozen=True, slots=True)
class Row:
    """A line as read: what to route, and the row's own id if it has one."""

    turns: Turns
    record: JsonObject


def read_row(line: str | bytes) -> Row:
    """The turns of one JSON line, in UTF-8 with or without a mark. Raises ``InvalidRequest`` naming what is wrong."""
    try:
        record = json.loads(line.removeprefix(codecs.BOM_UTF8).decode() if isinstance(line, bytes) else line)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"is not JSON in UTF-8 ({error}); write one JSON object per line") from error
    if not isinstance(record, dict):
        raise InvalidRequest(f"is {_kind(record)}, not a JSON object with `prompt`, `messages` or `text`")
    known = cast(JsonObject, record)
    field = next((name for name in FIELDS if name in known), None)
    if field is None:
        raise InvalidRequest(f"has none of `prompt`, `messages` and `text`; it has {', '.join(sorted(known)[:8]) or 'no field'}")
    return Row(_turns(field, known[field]), known)


def _turns(field: str, value: object) -> Turns:
    """A string is the ask; a list is a conversation in OpenAI's form."""
    if isinstance(value, str) and field != "messages":
        return Turns(text=value)
    if not isinstance(value, list):
        raise InvalidRequest(f"`{field}` is {_kind(value)}; it must be {'a list of messages' if field == 'messages' else 'a string'}")
    human = [_content(place, message) for place, message in enumerate(cast(JsonList, value)) if _is_human(field, place, message)]
    if not human:
        raise InvalidRequest(f"`{field}` holds no message with the role 'user', whose newest is what is routed")
    return Turns(text=human[-1], history=tuple(human[:-1]))


def _is_human(field: str, place: int, message: object) -> bool:
    if not isinstance(message, dict) or not isinstance(cast(JsonObject, message).get("role"), str):
        raise InvalidRequest(f"`{field}[{place}]` is not a message with a `role`")
    return cast(JsonObject, message)["role"] == "user"


def _content(place: int, message: object) -> str:
    """The text of a message, whose content may come in parts; pictures and files are left out."""
    content: object = cast(JsonObject, message).get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidRequest(f"the content of message {place} is {_kind(content)}; it must be a string or a list of parts")
    for at, part in enumerate(cast(JsonList, content)):
        if not isinstance(part, dict):
            raise InvalidRequest(f"part {at} of message {place} is {_kind(part)}; it must be an object with a `type`")
    parts = cast("list[JsonObject]", content)
    return "\n".join(str(part.get("text", "")) for part in parts if part.get("type") in _TEXT_PARTS)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = (("an object", dict), ("a list", list), ("a string", str), ("a boolean", bool))
    return next((name for name, kind in names if isinstance(value, kind)), "a number")
