"""``tandem tools call``: one call in this process, with this machine's settings; its result as JSON.

Whoever types it has the machine already, so neither grant nor authority is asked; a tool that writes asks once before it does.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, cast

from pydantic import JsonValue
from typer import Argument, Exit, Option, Typer, confirm

from tandem.cli.console import note, say
from tandem.cli.session import ids
from tandem.errors import InvalidRequest, ToolNotOffered
from tandem.ids import DEFAULT_TENANT
from tandem.ports import ToolContext
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import ToolResult
from tandem.settings import Settings
from tools.commands.desk_shelf import DeskShelf
from tools.commands.workshop import find_offer, open_toolbox


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("call")(call)
    return app


def call(
    name: Annotated[str, Argument(help="Name from `tandem tools list`.")],
    text: Annotated[str, Option("--json", metavar="JSON", help="The arguments, an object; '-' reads them from standard input.")] = "{}",
    file: Annotated[list[Path] | None, Option(help="A file that the tool may read, under its own name; repeat for several.")] = None,
    out: Annotated[Path | None, Option(help="Folder for the files that the call makes; without it they are only named.")] = None,
    yes: Annotated[bool, Option("--yes", help="Do not ask before a tool that writes.")] = False,
) -> None:
    """Run a tool here and print its result; exits 1 when the call failed."""
    arguments = read_arguments(sys.stdin.read() if text == "-" else text)
    shelf = DeskShelf.of(file or [])
    result = asyncio.run(_run(Settings.load(), name, arguments, shelf, is_agreed=yes))
    say(json.dumps(result.model_dump(mode="json"), ensure_ascii=False, indent=2))
    if out is not None:
        for path in shelf.write(out):
            note(f"wrote {path}")
    elif shelf.made:
        note(f"{len(shelf.made)} files were made and not kept: {', '.join(shelf.made)}; --out DIR keeps them")
    if not result.ok:
        raise Exit(1)


def read_arguments(text: str) -> JsonObject:
    """The arguments. Raises ``InvalidRequest`` that says where the JSON breaks off."""
    try:
        value = cast("JsonValue", json.loads(text))
    except json.JSONDecodeError as error:
        around = text[max(0, error.pos - 20) : error.pos + 20]
        raise InvalidRequest(
            f'--json is no JSON: {error.msg} in line {error.lineno}, column {error.colno}, near {around!r}; write it like \'{{"url": "…"}}\''
        ) from None
    if not isinstance(value, dict):
        raise InvalidRequest(f'--json holds {type(value).__name__} {text[:40]!r}; the arguments of a tool are an object like \'{{"url": "…"}}\'')
    return value


async def _run(settings: Settings, name: str, arguments: JsonObject, shelf: DeskShelf, *, is_agreed: bool) -> ToolResult:
    async with open_toolbox(settings, name) as toolbox:
        offer = find_offer(toolbox, name, settings)
        if offer.tool is None:
            raise ToolNotOffered(f"the tool {name!r} does not work on this machine: {offer.reason}")
        if offer.spec.side_effect == "write" and not is_agreed:
            confirm(f"{name} changes something outside. Call it?", abort=True, err=True)
        context = ToolContext(tenant=DEFAULT_TENANT, job_id=ids().job(), call_id="command", shelf=shelf)
        return await toolbox[name].run(arguments, context)
