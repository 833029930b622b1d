"""``tandem tools doctor``: opens every tool as a worker would, tries those that reach nothing, and says what is missing.

Not tried: tools that would reach the network, a database or a person; for those it is told whether what they need is set up.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from typer import Exit, Typer

from tandem.cli.checks import Finding
from tandem.cli.console import say
from tandem.cli.doctor import render
from tandem.cli.session import ids
from tandem.errors import TandemError
from tandem.ids import DEFAULT_TENANT
from tandem.ports import Tool, ToolContext
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import ToolSpec
from tandem.settings import Settings
from tools.commands.workshop import open_toolbox
from tools.offers import Offer
from tools.registry import MCP_SEPARATOR, PYTHON, is_listed, tool_names

_UNTRIED: Final = frozenset({"people", "jobs", "files", "database", "egress"})
"""Needs of tools that an example call alone does not prove."""
_PROGRAM: Final = "6 * 7"
"""What an interpreter is tried with."""


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("doctor")(doctor)
    return app


def doctor() -> None:
    """Try every tool that should work here; exits 1 when one that is set up, or the interpreter, does not."""
    if asyncio.run(_report(Settings.load())):
        raise Exit(1)


async def _report(settings: Settings) -> bool:
    count = {"ok": 0, "warn": 0, "fail": 0}
    async for finding in examine(settings):
        count[finding.state] += 1
        for line in render(finding):
            say(line)
    say(f"{count['ok']} ok, {count['warn']} warnings, {count['fail']} failures")
    return count["fail"] > 0


async def examine(settings: Settings) -> AsyncGenerator[Finding]:
    """One finding per tool, by name; a file of the operator's that is wrong is one finding and ends the look, as it would end a worker's start."""
    try:
        async with open_toolbox(settings) as toolbox:
            for offer in sorted(toolbox.offers, key=lambda offer: offer.spec.name):
                yield await _finding(offer, toolbox.get(offer.spec.name), settings)
    except TandemError as error:
        yield Finding("fail", "settings", error.message, "workers do not start like this: correct it, then ask again")
        return
    left_out = sorted(name for name in tool_names() if not is_listed(name, settings.tools.offer))
    if left_out:
        yield Finding("ok", "left out", f"by TANDEM_TOOLS_OFFER: {', '.join(left_out)}")


async def _finding(offer: Offer, tool: Tool | None, settings: Settings) -> Finding:
    spec = offer.spec
    if tool is None:
        return _missing(offer, settings)
    trial = _trial(spec)
    if trial is None:
        return Finding("ok", spec.name, "offered; not tried, for that would reach beyond this process")
    started = time.perf_counter()
    context = ToolContext(tenant=DEFAULT_TENANT, job_id=ids().job(), call_id="doctor")
    result = await tool.run(trial, context)
    if result.error is not None:
        return Finding("fail", spec.name, f"a first call fails: {result.error.message}", "look at the log of the worker, and report it")
    return Finding("ok", spec.name, f"tried, {1_000 * (time.perf_counter() - started):.0f} ms")


def _trial(spec: ToolSpec) -> JsonObject | None:
    """Arguments of a call that reaches nothing; None where there is no such call."""
    if MCP_SEPARATOR in spec.name or not _UNTRIED.isdisjoint(spec.needs):
        return None
    if spec.side_effect == "exec":
        return {"code": _PROGRAM}
    return spec.examples[0].arguments if spec.side_effect == "pure" and spec.examples else None


def _missing(offer: Offer, settings: Settings) -> Finding:
    spec = offer.spec
    if spec.name == PYTHON or is_set_up(spec, settings):
        return Finding("fail", spec.name, offer.reason, "System 2 works without it until that is mended")
    if "sandbox" in spec.needs:
        return Finding("warn", spec.name, offer.reason, "programs are not run another way; System 2 does without it")
    return Finding("ok", spec.name, f"not set up: {offer.reason}")


def is_set_up(spec: ToolSpec, settings: Settings) -> bool:
    """Whether the operator has configured the tool, so that its absence is a fault."""
    tools, home = settings.tools, settings.home
    if MCP_SEPARATOR in spec.name:
        return True  # only servers of the operator's file are known at all
    match spec.name:
        case "web_search":
            return bool(tools.search)
        case "http_request" | "http_write":
            return (tools.http_file or home / "http.json").exists()
        case "sql":
            return (tools.sql_file or home / "sql.json").exists()
        case "python_full":
            return tools.sandbox_url is not None
        case _:
            return False
