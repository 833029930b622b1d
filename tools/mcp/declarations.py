"""A server's tool as Tandem declares it: a name of its own, words without hidden characters, a closed schema, and a class it cannot talk down.

Covered: control, bidirectional, zero-width and tag characters in descriptions and in every text of a schema; endless descriptions and schemas;
references to other documents; patterns that take for ever; names that collide; hints that make a writing tool seem harmless. Not covered: what a
description says in plain words; that is why an operator approves it (``pins``).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from mcp import types
from pydantic import JsonValue

from tandem.errors import ToolFailed
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import SideEffect, ToolSpec
from tools.adapters.mcp import says_it_writes, side_effect_of
from tools.adapters.schemas import closed
from tools.hygiene import cleaned, cleaned_json
from tools.mcp.servers import Address, McpServer

MAX_DESCRIPTION_CHARS: Final = 1_024
"""Of a tool's description; it is read with every turn."""
_MAX_NAME: Final = 64
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")
_ADDRESS_NAME: Final = re.compile(r"(?:^|[_-])(?:url|uri|href|link|endpoint|webhook)s?$|(?:Url|URL|Uri|URI)s?$")
_ADDRESS_FORMATS: Final = frozenset({"uri", "url", "iri", "uri-reference"})
_PATTERN_CHARS: Final = 200
_REPEATED_GROUP: Final = re.compile(r"\)(?:[*+]|\{\d*,?\d*\})")
_UNBOUNDED: Final = re.compile(r"[*+]|\{\d+,\}")
_MAX_UNBOUNDED: Final = 2
_MARGIN_S: Final = 2.0
"""The connection ends a call itself, and says more about it than the wrapper around every tool does."""
_CLASSES: Final = get_args(SideEffect)


@dataclass(frozen=True, slots=True)
class Declaration:
    """A listed tool: how Tandem declares it, or why it cannot."""

    entry: types.Tool
    spec: ToolSpec
    fault: str = ""


def declarations(server: McpServer, listed: Sequence[types.Tool]) -> list[Declaration]:
    """The server's tools that the operator takes, in its order; those whose names collide all get a fault."""
    taken = [entry for entry in listed if server.tools is None or entry.name in server.tools]
    names = Counter(tool_name(server, entry.name) for entry in taken)
    return [_declared(server, entry, names) for entry in taken]


def tool_name(server: McpServer, name: str) -> str:
    """``server__tool`` in the characters of a ``ToolSpec``; a name that would lose letters, or is too long, ends in a digest of the whole name."""
    plain = _NOT_IN_NAMES.sub("_", name.lower()).strip("_")
    room = _MAX_NAME - len(server.prefix)
    if plain and name.isascii() and len(plain) <= room:
        return server.prefix + plain
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return server.prefix + "_".join(part for part in (plain[: room - len(digest) - 1].strip("_"), digest) if part)


def bare_spec(server: McpServer, name: str) -> ToolSpec:
    """The declaration of a tool of which nothing but its own name is known."""
    return ToolSpec(
        name=tool_name(server, name),
        description=f"{cleaned(name)[:100]} of the MCP server {server.name}",
        parameters={"type": "object", "properties": {}, "additionalProperties": False},
        side_effect=(server.side_effects or {}).get(name, "write"),
        taints=server.taints,
        timeout_s=server.timeout_s + _MARGIN_S,
        needs=["configuration", "egress"] if isinstance(server.reach, Address) else ["configuration"],
    )


def _declared(server: McpServer, entry: types.Tool, names: Mapping[str, int]) -> Declaration:
    bare = bare_spec(server, entry.name)
    if names[bare.name] > 1:
        return Declaration(entry, bare, f"{names[bare.name]} tools of the server would be called {bare.name!r}; take one of them by 'tools'")
    try:
        parameters = without_slow_patterns(_clean_schema(closed(_json(entry.inputSchema))))
        output = without_slow_patterns(_clean_schema(_json(entry.outputSchema))) if entry.outputSchema is not None else None
    except ToolFailed as error:
        return Declaration(entry, bare, error.message)
    side_effect = _side_effect(server, entry)
    update: dict[str, object] = {
        "description": _description(entry) or bare.description,
        "parameters": parameters,
        "output": output,
        "side_effect": side_effect,
        "reads_private": server.reads_private,
        "url_arguments": _address_arguments(parameters),
    }
    return Declaration(entry, bare.model_copy(update=update))


def _description(entry: types.Tool) -> str:
    text = cleaned(entry.description or entry.title or "").strip()
    return text if len(text) <= MAX_DESCRIPTION_CHARS else f"{text[: MAX_DESCRIPTION_CHARS - 1]}…"


def _side_effect(server: McpServer, entry: types.Tool) -> SideEffect:
    """The operator's word, but never below ``write`` for a tool whose own server says that it writes."""
    stated = (server.side_effects or {}).get(entry.name)
    if stated is None:
        return side_effect_of(entry.annotations)
    return "write" if says_it_writes(entry.annotations) and _CLASSES.index(stated) < _CLASSES.index("write") else stated


def without_slow_patterns(schema: JsonObject) -> JsonObject:
    """The schema without patterns whose check could take for ever here; they become words, and the server checks them itself."""
    result: JsonObject = {}
    for key, item in schema.items():
        if key == "pattern" and isinstance(item, str) and _is_slow(item):
            result["$comment"] = f"must match {item[:_PATTERN_CHARS]}"
        elif key == "patternProperties" and isinstance(item, dict) and any(_is_slow(pattern) for pattern in item):
            raise ToolFailed("its schema names arguments by a pattern whose check could take for ever")
        else:
            result[key] = _quick(item)
    return result


def _quick(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return [_quick(item) for item in value]
    return without_slow_patterns(value) if isinstance(value, dict) else value


def _is_slow(pattern: str) -> bool:
    """Whether a pattern is long, repeats a group, or repeats without bound more than twice: such ones may backtrack for hours."""
    return len(pattern) > _PATTERN_CHARS or bool(_REPEATED_GROUP.search(pattern)) or len(_UNBOUNDED.findall(pattern)) > _MAX_UNBOUNDED


def _clean_schema(schema: JsonObject) -> JsonObject:
    """The schema with its words cleaned. What a call must spell exactly is not changed: a tool that hides characters there is refused."""
    result = cleaned_json(schema)
    if not isinstance(result, dict):
        raise ToolFailed("its schema is no object")
    spelled, kept = list(_spelled(schema)), list(_spelled(result))
    if spelled != kept:
        hidden = next(text for text in spelled if cleaned(text) != text)
        raise ToolFailed(f"its schema has hidden characters in the name or value {hidden!r}, which nobody could write")
    return result


def _spelled(schema: JsonValue) -> Iterator[str]:
    """Names of properties, and the values that arguments may be compared with, in order."""
    if isinstance(schema, list):
        for item in schema:
            yield from _spelled(item)
    elif isinstance(schema, dict):
        for key, item in schema.items():
            yield key
            if key in {"enum", "const", "required", "default", "pattern"}:
                yield from _texts(item)
            else:
                yield from _spelled(item)


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)


def _address_arguments(parameters: JsonObject) -> list[str]:
    """Arguments that hold an address by their format or their name, so that the rules for what leaves a tainted job see them."""
    properties = parameters.get("properties")
    if not isinstance(properties, dict):
        return []
    return [name for name, schema in properties.items() if _ADDRESS_NAME.search(name) or (isinstance(schema, dict) and _has_address_format(schema))]


def _has_address_format(schema: JsonObject) -> bool:
    items = schema.get("items")
    return schema.get("format") in _ADDRESS_FORMATS or (isinstance(items, dict) and items.get("format") in _ADDRESS_FORMATS)


def _json(value: dict[str, object]) -> JsonObject:
    """What came from JSON, typed as such."""
    return value  # pyright: ignore[reportReturnType] - the SDK types it as Any values; it was parsed from JSON
