"""``/v1/tools``: what System 2 may use, as the workers say it, and whether a job of this key would get it. Nothing runs a tool from here."""

from importlib import import_module
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Response

from gateway.asgi import dump_json
from gateway.routes.common import MayChatOrReadJobs, UseServices
from tandem.errors import DependencyMissing, NotFound
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import OfferedTool, ToolPage, ToolSpec
from tools.adapters.openai import to_openai

Form = Literal["tandem", "openai", "mcp"]
_FORM: Final = "'openai' gives function tools, 'mcp' the entries of tools/list: both hold only what a job of this key would get."
doors = APIRouter(prefix="/v1/tools", tags=["tools"])


@doors.get("", response_model=ToolPage)
async def list_tools(
    services: UseServices, caller: MayChatOrReadJobs, form: Annotated[Form, Query(alias="format", description=_FORM)] = "tandem"
) -> ToolPage | Response:
    """Every tool of the live workers, by name. Why one is not offered is told to the scope ``admin`` alone: it may name paths and addresses."""
    shown = await services.grants.shown(caller)
    if form == "tandem":
        return ToolPage(data=shown)
    usable: list[ToolSpec] = [tool for tool in shown if tool.is_allowed and tool.state == "offered"]
    return Response(dump_json(_as_openai(usable) if form == "openai" else _as_mcp(usable)), media_type="application/json")


@doors.get("/{tool_name}")
async def read_tool(tool_name: str, services: UseServices, caller: MayChatOrReadJobs) -> OfferedTool:
    """One tool."""
    found = next((tool for tool in await services.grants.shown(caller) if tool.name == tool_name), None)
    if found is None:
        raise NotFound(f"no tool {tool_name[:64]!r} here; GET /v1/tools lists them", param="tool_name")
    return found


def _as_openai(tools: list[ToolSpec]) -> JsonObject:
    return {"object": "list", "data": [to_openai(tool) for tool in tools]}


def _as_mcp(tools: list[ToolSpec]) -> JsonObject:
    try:
        adapter = import_module("tools.adapters.mcp")  # the protocol's package is the worker's, and a gateway may do without
    except ModuleNotFoundError as error:
        raise DependencyMissing(f"the module {error.name!r} is not installed here; `pip install tandem-agents[worker]`") from error
    return {"tools": [adapter.entry_json(adapter.to_mcp(tool)) for tool in tools]}
