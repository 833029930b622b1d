"""``tandem tools schema``: a tool's declaration as a model's protocol has it."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, assert_never

from pydantic import JsonValue
from typer import Argument, Option, Typer

from tandem.cli.console import say
from tandem.cli.session import ids
from tandem.ids import DEFAULT_TENANT
from tandem.ports import ToolContext
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import ToolResult, ToolSpec
from tandem.settings import Settings
from tools.base import refused
from tools.commands.workshop import find_offer, open_toolbox

Form = Literal["tandem", "openai", "langchain", "mcp"]


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("schema")(schema)
    return app


def schema(
    name: Annotated[str, Argument(help="Name from `tandem tools list`.")],
    form: Annotated[Form, Option("--format", help="Whose form.")] = "tandem",
) -> None:
    """Print a tool's declaration as one JSON object, also of a tool that does not work here."""
    settings = Settings.load()
    say(json.dumps(told(asyncio.run(_spec(settings, name)), form), ensure_ascii=False, indent=2))


def told(spec: ToolSpec, form: Form) -> JsonObject:
    """The declaration in a protocol's form; each adapter is loaded when it is asked for."""
    match form:
        case "tandem":
            return spec.model_dump(mode="json")
        case "openai":
            from tools.adapters.openai import to_openai  # noqa: PLC0415

            return to_openai(spec)
        case "mcp":
            from tools.adapters.mcp import entry_json, to_mcp  # noqa: PLC0415

            return entry_json(to_mcp(spec))
        case "langchain":
            from tools.adapters.langchain import to_langchain  # noqa: PLC0415

            made = to_langchain(_Declared(spec), lambda: ToolContext(tenant=DEFAULT_TENANT, job_id=ids().job(), call_id="schema"))
            return {"name": made.name, "description": made.description, "args_schema": spec.parameters}
        case _:
            assert_never(form)


@dataclass(frozen=True, slots=True)
class _Declared:
    """A tool to be looked at only."""

    spec: ToolSpec

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:  # noqa: ARG002 - the port's signature
        return refused(f"{self.spec.name} was only declared here", "tool_failed")


async def _spec(settings: Settings, name: str) -> ToolSpec:
    async with open_toolbox(settings, name) as toolbox:
        return find_offer(toolbox, name, settings).spec
