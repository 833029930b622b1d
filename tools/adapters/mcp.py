"""Tools as MCP's ``tools/list`` entries, and results as those of ``tools/call``, in both directions.

MCP's annotations are hints of whoever wrote the server. Read from a stranger they can make a tool seem harmless, so a hint can only place it in
``read_external`` or ``write``; ``pure``, ``read_internal`` and ``exec`` are the word of an operator or of Tandem itself. Knows no connection.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Final, cast

from mcp import types
from pydantic import JsonValue

from tandem.schemas.base import JsonObject
from tandem.schemas.tools import SideEffect, ToolResult, ToolSpec
from tools.adapters.schemas import closed
from tools.base import as_json

SIDE_EFFECT_KEY: Final = "tandem/side_effect"
"""Of an entry's ``_meta``: the class that the annotations cannot spell. Believed of Tandem's own entries only."""
MAX_FILES: Final = 8
"""Of one result; more are named as left out."""
MAX_LINKS: Final = 50


@dataclass(frozen=True, slots=True)
class Blob:
    """A file within a result."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """A ``tools/call`` result, taken apart."""

    output: JsonValue
    """The structured content where there is some, else the texts."""
    files: tuple[Blob, ...]
    links: tuple[str, ...]
    notes: tuple[str, ...]
    """What could not be taken over, and why."""
    is_cut: bool
    is_error: bool


def to_mcp(spec: ToolSpec) -> types.Tool:
    """The tool as a ``tools/list`` entry; schemas go out unchanged."""
    return types.Tool(
        name=spec.name,
        description=spec.description,
        inputSchema=spec.parameters,
        outputSchema=spec.output,
        annotations=hints_of(spec.side_effect),
        _meta={SIDE_EFFECT_KEY: spec.side_effect},
    )


def from_mcp(tool: types.Tool, *, timeout_s: float, is_ours: bool = False) -> ToolSpec:
    """The declaration of a ``tools/list`` entry under its own name.

    Args:
        tool: The entry.
        timeout_s: Total seconds of a call.
        is_ours: Tandem wrote the entry, so that its ``_meta`` may say the class.

    Raises:
        ToolFailed: Its schema is unsound.
        pydantic.ValidationError: Its name does not fit a ``ToolSpec``.
    """
    side_effect = side_effect_of(tool.annotations)
    if is_ours and tool.meta and SIDE_EFFECT_KEY in tool.meta:
        side_effect = cast("SideEffect", tool.meta[SIDE_EFFECT_KEY])
    return ToolSpec(
        name=tool.name,
        description=tool.description or tool.title or "",
        parameters=closed(cast("JsonObject", tool.inputSchema)),
        output=cast("JsonObject | None", tool.outputSchema),
        side_effect=side_effect,
        timeout_s=timeout_s,
    )


def side_effect_of(hints: types.ToolAnnotations | None) -> SideEffect:
    """The class that hints speak for: ``write`` unless they say that the tool only reads."""
    return "read_external" if hints is not None and hints.readOnlyHint is True else "write"


def says_it_writes(hints: types.ToolAnnotations | None) -> bool:
    """Whether the server itself says that the tool changes something; saying nothing is not saying so."""
    return hints is not None and hints.readOnlyHint is not True and (hints.readOnlyHint is False or hints.destructiveHint is True)


def hints_of(side_effect: SideEffect) -> types.ToolAnnotations:
    """What a class is in hints."""
    reads = side_effect in {"pure", "read_internal", "read_external"}
    return types.ToolAnnotations(
        readOnlyHint=reads,
        destructiveHint=side_effect == "write",
        idempotentHint=reads,
        openWorldHint=side_effect in {"read_external", "write"},
    )


def from_mcp_result(result: types.CallToolResult, *, max_chars: int, max_file_bytes: int) -> Content:
    """Take a result apart.

    Args:
        result: As the server gave it.
        max_chars: Texts together; the rest is cut.
        max_file_bytes: Of one file; a larger one is left out with a note.
    """
    reading = _Reading(max_file_bytes)
    for block in result.content:
        reading.take(block)
    text = "\n".join(reading.texts)
    is_cut = len(text) > max_chars
    structured = result.structuredContent
    output: JsonValue = text[:max_chars] if structured is None or result.isError else as_json(structured)
    return Content(output or None, tuple(reading.files), tuple(reading.links[:MAX_LINKS]), tuple(reading.notes), is_cut, result.isError)


def to_mcp_result(result: ToolResult) -> types.CallToolResult:
    """A result for an MCP client: JSON as text, and as structured content where it is an object. A failure is an error with its code and remedy."""
    if result.error is not None or not result.ok:
        message = result.error.model_dump_json() if result.error else "the call failed"
        return types.CallToolResult(content=[types.TextContent(type="text", text=message)], isError=True)
    texts = [result.output if isinstance(result.output, str) else json.dumps(result.output, ensure_ascii=False), result.stdout]
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text) for text in texts if text]
    return types.CallToolResult(content=content, structuredContent=result.output if isinstance(result.output, dict) else None)


class _Reading:
    """Sorts the blocks of one result."""

    def __init__(self, max_file_bytes: int) -> None:
        self._max_file_bytes = max_file_bytes
        self.texts: list[str] = []
        self.files: list[Blob] = []
        self.links: list[str] = []
        self.notes: list[str] = []

    def take(self, block: types.ContentBlock) -> None:
        match block:
            case types.TextContent():
                self.texts.append(block.text)
            case types.ImageContent() | types.AudioContent():
                self._keep(f"{block.type}-{len(self.files) + 1}{_ending(block.mimeType)}", block.mimeType, block.data)
            case types.ResourceLink():
                self.texts.append(f"{block.title or block.name}: {block.uri}")
                self._link(str(block.uri))
            case types.EmbeddedResource():
                self._resource(block.resource)

    def _resource(self, resource: types.TextResourceContents | types.BlobResourceContents) -> None:
        if isinstance(resource, types.TextResourceContents):
            self.texts.append(f"{resource.uri}\n{resource.text}")
            return
        name = str(resource.uri).rstrip("/").rpartition("/")[2] or f"resource-{len(self.files) + 1}"
        self._keep(name, resource.mimeType or "application/octet-stream", resource.blob)

    def _keep(self, name: str, media_type: str, data: str) -> None:
        if len(self.files) >= MAX_FILES:
            self.notes.append(f"{name} was left out: a result may hold {MAX_FILES} files")
        elif len(data) * 3 // 4 > self._max_file_bytes:
            self.notes.append(f"{name} was left out: it is larger than {self._max_file_bytes} bytes")
        else:
            try:
                self.files.append(Blob(name, media_type, base64.b64decode(data, validate=True)))
            except binascii.Error:
                self.notes.append(f"{name} was left out: its content is no base64")

    def _link(self, address: str) -> None:
        if address.startswith(("https://", "http://")):
            self.links.append(address)


def _ending(media_type: str) -> str:
    subtype = media_type.partition("/")[2].partition(";")[0].partition("+")[0]
    return f".{subtype}" if subtype.isalnum() else ""


def entry_json(tool: types.Tool) -> JsonObject:
    """What of an entry a model, or a decision about a call, may depend on; icons and ``_meta`` are nobody's here."""
    return cast("JsonObject", tool.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"icons", "meta", "execution"}))


__all__ = [
    "Blob",
    "Content",
    "entry_json",
    "from_mcp",
    "from_mcp_result",
    "hints_of",
    "says_it_writes",
    "side_effect_of",
    "to_mcp",
    "to_mcp_result",
]
