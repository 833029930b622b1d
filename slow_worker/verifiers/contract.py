"""The caller's contract as a check: JSON that parses and satisfies its schema, code that parses. Each fault is worded for the model to repair."""

import ast
import json
import warnings
from typing import Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable

from slow_worker.fences import fenced_json, is_python
from tandem.errors import InvalidRequest
from tandem.schemas.base import JsonObject

_LONGEST_FAULT: Final = 300
_DEEPEST_JSON: Final = 60


def check_schema(schema: JsonObject) -> None:
    """Refuse a schema that is none.

    Raises:
        InvalidRequest: The message says where it is wrong.
    """
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidRequest(f"answer.schema is not a JSON Schema: {error.message[:_LONGEST_FAULT]}", param="answer.schema") from None


def read_json(text: str) -> tuple[JsonValue, str | None]:
    """The JSON value of a reply, fenced or bare, and why there is none."""
    candidate = fenced_json(text)
    try:
        value: JsonValue = json.loads(candidate)
    except (ValueError, RecursionError) as error:
        return None, f"the reply is not JSON: {str(error)[:_LONGEST_FAULT]}"
    if _depth(value) > _DEEPEST_JSON:
        return None, f"the JSON is nested deeper than {_DEEPEST_JSON} levels"
    return value, None


def json_fault(value: JsonValue, schema: JsonObject | None) -> str | None:
    """Where a value breaks its schema; None when it holds."""
    if schema is None:
        return None
    try:
        # Without a registry of its own jsonschema would fetch a reference to another schema over the network.
        fault = next(iter(Draft202012Validator(schema, registry=Registry()).iter_errors(value)), None)
    except Unresolvable as error:
        return f"the schema refers to {error.ref!r}, which is not part of it"
    if fault is None:
        return None
    where = "/".join(str(part) for part in fault.absolute_path) or "the value"
    return f"{where}: {fault.message[:_LONGEST_FAULT]}"


def code_fault(code: str, reply: str) -> str | None:
    """Why code cannot be right: empty, or Python that does not parse. Other languages are not judged."""
    if not code.strip():
        return "the code block is empty"
    if not is_python(code, reply):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"the Python code does not parse: {str(error)[:_LONGEST_FAULT]}"
    return None


def _depth(value: JsonValue, limit: int = _DEEPEST_JSON + 1) -> int:
    if limit == 0 or not isinstance(value, list | dict):
        return 0
    inner = value if isinstance(value, list) else list(value.values())
    return 1 + max((_depth(item, limit - 1) for item in inner), default=0)
