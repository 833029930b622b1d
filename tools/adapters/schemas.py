"""JSON Schemas of arguments as strangers write them, made into what a ``ToolSpec`` promises: a sound schema of an object that is closed.

Knows no protocol.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import JsonValue

from tandem.errors import ToolFailed
from tandem.schemas.base import JsonObject

MAX_SCHEMA_BYTES: Final = 65_536
"""Of one tool's schema as JSON; larger ones would fill a model's context by themselves."""
MAX_DEPTH: Final = 64
"""Of a stranger's JSON; what recurses over it stays within Python's own limit."""
_COMBINING: Final = ("allOf", "anyOf", "oneOf", "if", "$ref", "dependentSchemas")
"""Keywords that may add properties which ``additionalProperties`` beside them does not see."""


def closed(schema: Mapping[str, JsonValue]) -> JsonObject:
    """The schema as one that refuses arguments it does not name; one that says itself what further arguments must be keeps its word.

    Raises:
        ToolFailed: It is no schema of an object, is unsound, too large, or refers to something outside of itself.
    """
    result = dict(schema)
    result.setdefault("type", "object")
    check(result)
    extra = result.get("additionalProperties", True)
    is_free_form = extra is True and "additionalProperties" in result and not result.get("properties")
    if extra is not True or is_free_form or "unevaluatedProperties" in result:
        return result
    if any(key in result for key in _COMBINING):
        return {key: value for key, value in result.items() if key != "additionalProperties"} | {"unevaluatedProperties": False}
    return result | {"additionalProperties": False}


def check(schema: Mapping[str, JsonValue]) -> None:
    """Raises ``ToolFailed`` for a schema that no call could be checked against."""
    if schema.get("type") != "object":
        raise ToolFailed(f"its parameters are of type {schema.get('type')!r} instead of 'object'")
    if is_deeper(dict(schema), MAX_DEPTH):
        raise ToolFailed(f"its parameters are nested in more than {MAX_DEPTH} levels")
    if (size := len(json.dumps(schema, ensure_ascii=False).encode("utf-8", "replace"))) > MAX_SCHEMA_BYTES:
        raise ToolFailed(f"its parameters take {size} bytes; at most {MAX_SCHEMA_BYTES} are read")
    try:
        Draft202012Validator.check_schema(cast("dict[str, object]", schema))
    except SchemaError as error:
        where = ".".join(str(part) for part in error.absolute_path) or "its parameters"
        raise ToolFailed(f"{where}: {error.message[:200]} (JSON Schema 2020-12)") from None
    if outside := next((ref for ref in _references(dict(schema)) if not ref.startswith("#")), None):
        raise ToolFailed(f"its parameters refer to {outside[:200]!r}, which is not part of them")


def is_deeper(value: JsonValue, levels: int) -> bool:
    """Whether a value is nested in more than so many levels; itself without recursion."""
    level: list[JsonValue] = [value]
    for _ in range(levels + 1):
        level = [item for each in level if isinstance(each, dict | list) for item in (each.values() if isinstance(each, dict) else each)]
        if not level:
            return False
    return True


def _references(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in {"$ref", "$dynamicRef"} and isinstance(item, str):
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
