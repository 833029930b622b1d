"""``tandem doctor``: what is wrong and what to do, line by line as it is found."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from typer import Exit, Typer

from tandem.cli.checks import (
    Finding,
    State,
    check_database,
    check_disk,
    check_extra,
    check_free_ports,
    check_gateway,
    check_home,
    check_model,
    check_python,
    check_redis,
    check_tools,
    check_valkey,
    needed_extras,
)
from tandem.cli.console import Tone, say, toned
from tandem.settings import Settings
from tandem.supervisor import HomeLock, embedded_url

_TONES: Final[dict[State, Tone]] = {"ok": "good", "warn": "warn", "fail": "bad"}


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("doctor")(doctor)
    return app


def doctor() -> None:
    """Check this machine and the running platform; exits 1 when something must be mended."""
    has_failed = asyncio.run(_report(Settings.load()))
    if has_failed:
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
    """All findings, the machine first, then what runs on it."""
    is_up = HomeLock.is_held(settings.home)
    yield check_python()
    for finding in await asyncio.gather(*map(check_extra, needed_extras(settings))):
        yield finding
    yield check_home(settings)
    yield check_disk(settings)
    yield await check_model(settings, "fast")
    yield await check_model(settings, "slow")
    yield check_valkey(settings)
    yield await check_tools(settings)
    if is_up:
        yield Finding("ok", "ports", "in use by the running `tandem up`")
    else:
        for finding in check_free_ports(settings):
            yield finding
    yield await check_database(settings)
    if is_up or settings.redis.url:
        url = embedded_url(settings)
        yield await check_redis(settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": url})}))
    for finding in await check_gateway(settings, is_up):
        yield finding


def render(finding: Finding) -> list[str]:
    """A finding as lines: state, what, detail, and the remedy below."""
    lines = [f"{toned(f'{finding.state:<5}', _TONES[finding.state])}{finding.what:<16} {finding.detail}"]
    if finding.remedy and finding.state != "ok":
        lines.append(f"{'':<21} -> {finding.remedy}")
    return lines
