"""Policies around a tool, one small wrapper each: check the arguments, bound the time, bound the output.

A wrapper is itself a ``Tool``; ``guarded`` stacks them in the order that every tool gets.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from tandem.ports import Tool, ToolContext
from tandem.schemas.tools import ToolResult, ToolSpec
from tools.base import INVALID_ARGUMENTS, argument_fault, capped, refused


def guarded(tool: Tool) -> Tool:
    """The tool with all of the policies below."""
    return CappedTool(TimedTool(CheckedTool(tool)))


@dataclass(frozen=True, slots=True)
class CheckedTool:
    """Refuses arguments that do not fit the schema, before the tool sees them."""

    inner: Tool

    @property
    def spec(self) -> ToolSpec:
        return self.inner.spec

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        fault = argument_fault(self.spec, arguments)
        return refused(fault, INVALID_ARGUMENTS) if fault else await self.inner.run(arguments, context)


@dataclass(frozen=True, slots=True)
class TimedTool:
    """Ends a call after the tool's ``timeout_s``, everything included, and stamps how long it took."""

    inner: Tool

    @property
    def spec(self) -> ToolSpec:
        return self.inner.spec

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self.spec.timeout_s):
                result = await self.inner.run(arguments, context)
        except TimeoutError:
            result = refused(f"{self.spec.name} took longer than {self.spec.timeout_s:g} s and was stopped; ask for less", "timeout", retryable=True)
        return result.model_copy(update={"seconds": round(time.perf_counter() - started, 4)})


@dataclass(frozen=True, slots=True)
class CappedTool:
    """Cuts what is longer than the tool's caps of bytes and tokens and marks it, so that no tool floods a context."""

    inner: Tool

    @property
    def spec(self) -> ToolSpec:
        return self.inner.spec

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        return capped(await self.inner.run(arguments, context), self.spec)
