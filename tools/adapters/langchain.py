"""Tandem's tools for LangChain, and LangChain's tools for Tandem. Needs langchain-core, which LangGraph (the ``worker`` extra) brings.

LangChain checks no arguments against a plain JSON Schema, so a wrapped tool checks them itself. Not covered: a foreign tool's own time, output and
reach are only as bounded as the wrappers around it and the code inside it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from tandem.ports import Tool, ToolContext
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import SideEffect, ToolResult, ToolSpec
from tools.adapters.schemas import closed
from tools.base import INVALID_ARGUMENTS, argument_fault, as_json, refused


def to_langchain(tool: Tool, context: Callable[[], ToolContext]) -> BaseTool:
    """The tool as LangChain calls it, asynchronously only.

    Its message holds the output as JSON text and the whole ``ToolResult`` as its artifact; a failure is a message of status ``error`` that says what
    to change.

    Args:
        tool: Best as a toolbox gives it: with its limits around it.
        context: Who calls, asked for at each call.
    """
    spec = tool.spec
    return _WrappedTool(name=spec.name, description=spec.description, args_schema=spec.parameters, inner=tool, context=context)


class _WrappedTool(BaseTool):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    # Not StructuredTool: that one keeps arguments called `config` and `run_manager` for itself.
    response_format: Any = "content_and_artifact"
    handle_tool_error: Any = True
    inner: Any
    context: Any

    def _run(self, **arguments: Any) -> tuple[str, ToolResult]:
        del arguments
        raise ToolException(f"{self.name} runs asynchronously only; use `ainvoke`")

    async def _arun(self, **arguments: Any) -> tuple[str, ToolResult]:
        tool = cast("Tool", self.inner)
        fault = argument_fault(tool.spec, arguments)
        result = refused(fault, INVALID_ARGUMENTS) if fault else await tool.run(arguments, cast("Callable[[], ToolContext]", self.context)())
        if result.error is not None:
            raise ToolException(json.dumps(result.error.model_dump(), ensure_ascii=False))
        output = result.output if isinstance(result.output, str) else json.dumps(result.output, ensure_ascii=False)
        return "\n".join(part for part in (output, result.stdout) if part), result


def from_langchain(tool: BaseTool, *, side_effect: SideEffect, timeout_s: float) -> "LangChainTool":
    """A LangChain tool as Tandem calls it, under its own name.

    Raises:
        ToolFailed: Its schema is unsound.
        pydantic.ValidationError: Its name does not fit a ``ToolSpec``.
    """
    spec = ToolSpec(
        name=tool.name,
        description=tool.description,
        parameters=closed(_schema_of(tool)),
        side_effect=side_effect,
        timeout_s=timeout_s,
    )
    return LangChainTool(spec, tool)


class LangChainTool:
    """Calls a LangChain tool; its own refusals come back as failures that the model can read."""

    _SHOWN_ERROR_CHARS: ClassVar[int] = 500

    def __init__(self, spec: ToolSpec, inner: BaseTool) -> None:
        self._spec = spec
        self._inner = inner

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        call = {"type": "tool_call", "id": context.call_id or "call", "name": self._inner.name, "args": dict(arguments)}
        try:
            message: object = await self._inner.ainvoke(cast("Any", call))
        except ToolException as error:
            return refused(str(error)[: self._SHOWN_ERROR_CHARS], "tool_failed")
        except ValidationError as error:
            return refused(f"{self._spec.name}: {str(error)[: self._SHOWN_ERROR_CHARS]}", INVALID_ARGUMENTS)
        if not isinstance(message, ToolMessage):
            return ToolResult(ok=True, output=as_json(message))
        content = cast("object", message.content)
        if message.status == "error":
            return refused(str(content)[: self._SHOWN_ERROR_CHARS], "tool_failed")
        return ToolResult(ok=True, output=as_json(content))


def _schema_of(tool: BaseTool) -> JsonObject:
    # The schema for calls would add the tool's description to a plain one.
    given = tool.args_schema if isinstance(tool.args_schema, dict) else tool.tool_call_schema
    if isinstance(given, type) and issubclass(given, BaseModel):
        return given.model_json_schema()
    return cast("JsonObject", given)
