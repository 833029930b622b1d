"""What a model says at its turn with tools: one call, or its answer, as one JSON object. Knows no tool by name and asks nobody.

This is the seam for models that call tools in a protocol of their own: whoever reads such a reply makes the same ``Move`` of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from pydantic import JsonValue

from slow_worker.verifiers.contract import read_json
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import ToolSpec

_KEPT: Final = frozenset({"type", "properties", "required", "items", "enum", "const", "anyOf", "oneOf", "additionalProperties"})
"""Keywords that servers turn into a grammar. Lengths and patterns make slow grammars; the tool itself checks them afterwards."""
_DEEPEST: Final = 6
_ONE_ADDRESS: Final = "^https?://[^ ]+$"


@dataclass(frozen=True, slots=True)
class Move:
    """A turn: a call when ``tool`` is set, else the answer."""

    tool: str | None = None
    arguments: JsonObject | None = None
    answer: str = ""


def move_schema(specs: Sequence[ToolSpec], *, may_answer: bool = True) -> JsonObject:
    """JSON Schema of a turn: one of the calls, or the answer."""
    calls: list[JsonValue] = [
        _object({"tool": {"type": "string", "enum": [spec.name]}, "arguments": _arguments_of(spec)}, ["tool", "arguments"]) for spec in specs
    ]
    answer: list[JsonValue] = [_object({"answer": {"type": "string"}}, ["answer"])] if may_answer or not calls else []
    return {"anyOf": [*calls, *answer]}


def read_move(text: str) -> tuple[Move | None, str]:
    """The turn that a reply makes, or why it makes none, worded for the model."""
    value, fault = read_json(text)
    if fault is not None:
        return None, fault
    if not isinstance(value, dict):
        return None, 'the reply must be one JSON object: {"tool": ..., "arguments": {...}} or {"answer": "..."}'
    name = value.get("tool", value.get("name"))
    if isinstance(name, str) and name:
        arguments = _arguments(value.get("arguments", value.get("parameters", {})))
        return (None, '"arguments" must be a JSON object') if arguments is None else (Move(name.strip(), arguments), "")
    answer = value.get("answer", value.get("final"))
    if answer is None:
        return None, 'the reply has neither "tool" nor "answer"'
    return Move(answer=answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)), ""


def _arguments_of(spec: ToolSpec) -> JsonObject:
    """The tool's parameters; an address is one address: small models put all that they mean to read into one call."""
    plain = _plain(spec.parameters)
    properties = plain.get("properties")
    if isinstance(properties, dict):
        addresses: JsonObject = {name: {"type": "string", "pattern": _ONE_ADDRESS} for name in spec.url_arguments if name in properties}
        plain["properties"] = {**properties, **addresses}
    return plain


def _arguments(value: JsonValue) -> JsonObject | None:
    """Some models write the arguments as a text that holds the object."""
    if isinstance(value, str):
        inner, fault = read_json(value)
        value = None if fault else inner
    return value if isinstance(value, dict) else None


def _object(properties: JsonObject, required: list[str]) -> JsonObject:
    return {"type": "object", "properties": properties, "required": cast("list[JsonValue]", required), "additionalProperties": False}


def _plain(schema: Mapping[str, JsonValue], depth: int = 0) -> JsonObject:
    """The part of a schema that a grammar needs; what refers elsewhere allows any object."""
    if "$ref" in schema or "$defs" in schema or depth > _DEEPEST:
        return {"type": "object"} if depth == 0 else {}
    plain: JsonObject = {}
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            plain[key] = {name: _plain(inner, depth + 1) if isinstance(inner, dict) else inner for name, inner in value.items()}
        elif key in {"items", "additionalProperties"} and isinstance(value, dict):
            plain[key] = _plain(value, depth + 1)
        elif key in {"anyOf", "oneOf"} and isinstance(value, list):
            plain[key] = [_plain(inner, depth + 1) if isinstance(inner, dict) else inner for inner in value]
        elif key in _KEPT:
            plain[key] = value
    return plain
