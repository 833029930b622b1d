"""Tools as OpenAI's function tools: ``{"type": "function", "function": {name, description, parameters}}``.

The form has no place for a side-effect class, limits and costs; whoever reads a function tool supplies them.
"""

from collections.abc import Mapping
from typing import Final, cast

from pydantic import JsonValue

from tandem.errors import ToolFailed
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import SideEffect, ToolSpec
from tools.adapters.schemas import closed

_UNSTRICT: Final = frozenset({"allOf", "oneOf", "not", "if", "dependentRequired", "dependentSchemas", "patternProperties", "unevaluatedProperties"})
"""What the strict mode does not know."""


def to_openai(spec: ToolSpec, *, strict: bool = False) -> JsonObject:
    """The tool as a function tool.

    Args:
        spec: The declaration; its parameters go out unchanged.
        strict: Ask for arguments that are guaranteed to fit, where the schema is one that the strict mode takes (``is_strict``).
    """
    function: JsonObject = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    if strict and is_strict(spec.parameters):
        function["strict"] = True
    return {"type": "function", "function": function}


def from_openai(tool: Mapping[str, JsonValue], *, side_effect: SideEffect, timeout_s: float) -> ToolSpec:
    """The declaration of a function tool. Raises ``ToolFailed`` for what is none, or whose schema is unsound."""
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ToolFailed("a function tool looks like {'type': 'function', 'function': {'name': …, 'description': …, 'parameters': {…}}}")
    nothing: JsonObject = {"type": "object", "properties": {}}
    parameters = function.get("parameters") or nothing
    if not isinstance(parameters, dict):
        raise ToolFailed(f"the parameters of {function['name']!r} are no JSON Schema object")
    return ToolSpec(
        name=str(function["name"]),
        description=str(function.get("description") or ""),
        parameters=closed(parameters),
        side_effect=side_effect,
        timeout_s=timeout_s,
    )


def is_strict(schema: JsonValue) -> bool:
    """Whether the strict mode takes the schema: every object in it is closed, and requires all of its properties."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if _UNSTRICT & schema.keys():
        return False
    if "properties" in schema or schema.get("type") == "object":
        names = set(cast("JsonObject", schema.get("properties", {})))
        if schema.get("additionalProperties") is not False or names != set(cast("list[str]", schema.get("required", []))):
            return False
    named = ("properties", "$defs", "definitions")
    inner = [item for key in named for item in cast("JsonObject", schema.get(key, {})).values()]
    return all(is_strict(item) for item in [*inner, schema.get("items"), schema.get("anyOf")])
