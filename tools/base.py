"""What every tool shares: its arguments are checked against its own schema, its output is JSON of bounded size.

Knows no particular tool, no model and no job.
"""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Final, Protocol, cast

from jsonschema import Draft202012Validator
from pydantic import JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable

from tandem.ports import Tool
from tandem.schemas.tools import ToolFault, ToolResult, ToolSpec
from tandem.tokens import text_tokens

INVALID_ARGUMENTS: Final = "invalid_arguments"
_LARGEST_INT: Final = 2**63 - 1
"""Checkpoints (msgpack) hold 64-bit integers; a larger one travels as its decimal digits."""
_DEEPEST_VALUE: Final = 24


class ClosableTool(Tool, Protocol):
    """A tool that holds something open between calls."""

    async def close(self) -> None: ...


def argument_fault(spec: ToolSpec, arguments: Mapping[str, JsonValue]) -> str | None:
    """Why ``arguments`` do not fit the tool, worded for the model that wrote them; None when they fit."""
    # Without a registry of its own jsonschema would fetch a reference to another schema over the network.
    validator = Draft202012Validator(spec.parameters, registry=Registry())
    try:
        faults = sorted(validator.iter_errors(dict(arguments)), key=lambda fault: [str(part) for part in fault.absolute_path])
    except Unresolvable as error:
        return f"{spec.name}: its parameters refer to {error.ref!r}, which is not part of them, so that no call can be checked; do without this tool"
    except (RecursionError, OverflowError):
        # Parameters that refer to themselves without end, arguments that are nested without end, numbers beyond any float.
        return f"{spec.name}: these arguments cannot be checked; write them with fewer levels and smaller numbers, or do without this tool"
    if not faults:
        return None
    first = faults[0]
    where = ".".join(str(part) for part in first.absolute_path) or "the arguments"
    return f"{spec.name}: {where}: {first.message[:300]}; call it with {json.dumps(spec.parameters, ensure_ascii=False)}"


def refused(message: str, code: str, *, retryable: bool = False, stdout: str = "", seconds: float = 0.0) -> ToolResult:
    """A failed call the model can learn from."""
    return ToolResult(ok=False, error=ToolFault(code=code, message=message, retryable=retryable), stdout=stdout, seconds=seconds)


def capped(result: ToolResult, spec: ToolSpec) -> ToolResult:
    """The result with its texts within the tool's caps; an output that is no text and too long becomes its cut JSON text."""
    changes: dict[str, object] = {}
    if (stdout := fitting(result.stdout, spec)) != result.stdout:
        changes["stdout"] = stdout
    if result.error is not None and (message := fitting(result.error.message, spec)) != result.error.message:
        changes["error"] = result.error.model_copy(update={"message": message})
    text = result.output if isinstance(result.output, str) else json.dumps(result.output, ensure_ascii=False)
    if (output := fitting(text, spec)) != text:
        changes["output"] = output
    return result.model_copy(update={**changes, "is_truncated": True}) if changes else result


def fitting(text: str, spec: ToolSpec) -> str:
    """The beginning of a text that fits both caps of the tool."""
    # An estimate of tokens is at most 1.6 per character, so most texts need no counting.
    if len(text) * 4 <= spec.max_output_bytes and len(text) * 2 <= spec.max_output_tokens:
        return text
    cut = text.encode("utf-8", "replace")[: spec.max_output_bytes].decode("utf-8", "ignore")
    while cut and (tokens := text_tokens(cut)) > spec.max_output_tokens:
        cut = cut[: min(len(cut) - 1, int(len(cut) * spec.max_output_tokens / tokens))]
    return cut


def as_json(value: object, depth: int = 0) -> JsonValue:
    """A value from a sandbox as plain JSON: no object of a stranger's class, no NaN, no integer beyond 64 bits reaches the host's data."""
    if depth > _DEEPEST_VALUE:
        return "..."
    match value:
        case None | bool() | str():
            return value
        case int() | float() | Decimal():
            return _number(value)
        case date() | datetime() | time():
            return value.isoformat()
        case dict():
            items = cast("dict[object, object]", value)
            return {str(key): as_json(item, depth + 1) for key, item in items.items()}
        case list() | tuple():
            return [as_json(item, depth + 1) for item in cast("list[object]", value)]
        case set() | frozenset():
            return sorted((as_json(item, depth + 1) for item in cast("set[object]", value)), key=lambda item: (str(type(item)), str(item)))
        case _:
            return f"<{type(value).__name__}>"


def _number(value: float | Decimal) -> JsonValue:
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST_INT else f"{Decimal(value):f}"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)
