"""A tool of an MCP server, called through its link; what the server gives becomes a result of Tandem's.

Covered: a call has one time limit, a restart of the server included; a tool whose declaration changed is not called; errors in words become errors;
structured results that break their own schema are refused; images and files become artifacts of the job, bounded in number and size; nothing of the
tenant but the arguments goes to the server. Not covered: what a server does with the arguments.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from mcp import types
from pydantic import JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable

from tandem.errors import SettingsInvalid, ToolFailed
from tandem.ports import ToolContext
from tandem.schemas.tools import ToolResult, ToolSpec
from tools.adapters.mcp import Blob, from_mcp_result
from tools.base import refused
from tools.hygiene import cleaned
from tools.mcp.link import UNAVAILABLE, Link, Standing
from tools.mcp.messages import LOST, McpFailed, error_code

MAX_FILE_BYTES: Final = 5_242_880
"""Of one file in a result; a job's own limit may be lower."""
_WRITES: Final = frozenset({"write", "exec"})
_NOT_KNOWN: Final = "whether it happened is not known: look before you call it again"


class McpTool:
    """See ``tandem.ports.Tool``."""

    def __init__(self, link: Link, name: str, spec: ToolSpec) -> None:
        self._link = link
        self._name = name
        self._spec = spec

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        server = self._link.server
        if server.tenants is not None and context.tenant not in server.tenants:
            return refused(f"{self._spec.name} is not for this tenant; do without it", "not_allowed")
        is_sent = False
        try:
            async with asyncio.timeout(server.timeout_s):
                if (refusal := self._refusal(await self._link.standing(self._name))) is not None:
                    return refusal
                is_sent = True
                result = await self._link.call(self._name, arguments)
        except TimeoutError:
            self._link.suspect()
            return self._late(is_sent)
        except McpFailed as error:
            is_open = is_sent and error.fault.code == LOST and self._spec.side_effect in _WRITES
            message = f"{error.fault.message}; {_NOT_KNOWN}" if is_open else error.fault.message
            return refused(message, error.fault.code, retryable=error.fault.retryable and not is_open)
        except SettingsInvalid as error:
            return refused(f"{self._spec.name} may not be called until an operator acts: {error.message}", UNAVAILABLE)
        return await self._read(result, context)

    def _refusal(self, standing: Standing) -> ToolResult | None:
        if standing.reason:
            return refused(f"{self._spec.name} may not be called: {standing.reason}", "tool_changed")
        if standing.spec != self._spec:
            # Approved anew since these arguments were checked.
            self._spec = standing.spec
            return refused(f"{self._spec.name} has a new declaration; read it and call again", "tool_changed", retryable=True)
        return None

    def _late(self, is_sent: bool) -> ToolResult:
        name, seconds, writes = self._spec.name, self._link.server.timeout_s, self._spec.side_effect in _WRITES
        advice = _NOT_KNOWN if is_sent and writes else "ask for less, or do without it"
        return refused(f"{name} took longer than {seconds:g} s and was cancelled; {advice}", "timeout", retryable=not (is_sent and writes))

    async def _read(self, result: types.CallToolResult, context: ToolContext) -> ToolResult:
        content = from_mcp_result(result, max_chars=self._spec.max_output_bytes, max_file_bytes=MAX_FILE_BYTES)
        if content.is_error:
            text = cleaned(str(content.output or "it gave no reason"))
            return refused(f"{self._spec.name}: {text}", error_code(text))
        if (fault := self._output_fault(result)) is not None:
            return refused(fault, "mcp_error")
        kept, notes = await _keep(content.files, context)
        return ToolResult(
            ok=True,
            output=content.output,
            stdout="\n".join([*content.notes, *notes]),
            is_truncated=content.is_cut,
            artifacts=kept,
            links=list(content.links),
        )

    def _output_fault(self, result: types.CallToolResult) -> str | None:
        if self._spec.output is None:
            return None
        if result.structuredContent is None:
            return f"{self._spec.name} promised structured output and gave none; do without it"
        try:
            # Without a registry of its own jsonschema would fetch a reference to another schema over the network.
            Draft202012Validator(self._spec.output, registry=Registry()).validate(result.structuredContent)
        except (ValidationError, SchemaError, Unresolvable, RecursionError, OverflowError) as error:
            reason = error.message if isinstance(error, ValidationError | SchemaError) else "it cannot be checked"
            return f"{self._spec.name} broke its own output schema ({cleaned(reason)[:200]}); do without it"
        return None


async def _keep(files: Sequence[Blob], context: ToolContext) -> tuple[list[str], list[str]]:
    """Names of the files that the job keeps now, and notes on those it does not."""
    kept: list[str] = []
    notes: list[str] = []
    for file in files:
        try:
            kept.append(await context.shelf.keep(file.name, file.media_type, file.content))
        except ToolFailed as error:
            notes.append(f"{file.name} ({file.media_type}, {len(file.content)} bytes) was not kept: {error.message}")
    return kept, notes


__all__ = ["MAX_FILE_BYTES", "McpTool"]
