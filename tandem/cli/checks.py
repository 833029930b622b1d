"""What ``tandem doctor`` looks at: one small function per thing, each giving lines with a state and, where something is to be done, the remedy."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, Literal

from tandem.cli.models import embedded_model
from tandem.client import AsyncTandemClient
from tandem.errors import DependencyMissing, GatewayUnreachable, StorageNotMigrated, TandemError
from tandem.events import open_notifier
from tandem.models import FetchStep, find_model, open_chat_model
from tandem.models.verified import is_verified
from tandem.schemas.health import ComponentState
from tandem.secrets import load_local_key
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.supervisor import find_server, port_fault, process_table

State = Literal["ok", "warn", "fail"]
Lane = Literal["fast", "slow"]

OLDEST_PYTHON: Final = (3, 11)
SPARE_BYTES: Final = 1_000_000_000
"""Room for the database, logs and one job's files, beside missing models."""
EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "gateway": ("fastapi", "uvicorn", "aiohttp", "httptools", "msgspec", "redis", "numpy"),
    "worker": ("celery", "langgraph", "jsonschema", "pydantic_monty"),
    "model-cpu": ("xllamacpp",),
    "ui": ("streamlit",),
    "postgres": ("asyncpg", "psycopg"),
}
_IMPORT_WITHIN_S: Final = 60.0
_STATES: Final[Mapping[ComponentState, State]] = {"ok": "ok", "degraded": "warn", "down": "fail"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    state: State
    what: str
    detail: str
    remedy: str = ""
    """What to do; empty when ok."""


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Whether the interpreter is new enough."""
    shown = ".".join(map(str, version))
    if version >= OLDEST_PYTHON:
        return Finding("ok", "python", f"{shown} at {sys.executable}")
    return Finding("fail", "python", f"{shown} at {sys.executable}", "install Python 3.11 or newer and run `make setup` with it")


def needed_extras(settings: Settings) -> tuple[str, ...]:
    """Extras that these settings make use of."""
    embedded = any(embedded_model(settings, lane) for lane in ("fast", "slow"))
    unused: set[str] = set() if embedded else {"model-cpu"}
    if settings.database_url.startswith("sqlite"):
        unused.add("postgres")
    return tuple(extra for extra in EXTRAS if extra not in unused)


async def check_extra(extra: str) -> Finding:
    """Whether an extra's packages can be imported, tried in a process of its own: a broken binary wheel may crash it."""
    modules = EXTRAS[extra]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", f"import {', '.join(modules)}", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_IMPORT_WITHIN_S):
            _, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        errors = f"took more than {_IMPORT_WITHIN_S:g} s".encode()
    if process.returncode == 0:
        return Finding("ok", f"extra {extra}", ", ".join(modules))
    last = errors.decode(errors="replace").strip().rpartition("\n")[2] or f"crashed with {process.returncode}"
    return Finding("fail", f"extra {extra}", last, f"pip install 'tandem-agents[{extra}]' (or `make setup`)")


def check_home(settings: Settings) -> Finding:
    """Whether state can be written."""
    existing = next(folder for folder in (settings.home, *settings.home.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding("fail", "home", f"cannot write to {existing}: {error.strerror}", "set TANDEM_HOME to a folder of your own")
    return Finding("ok", "home", f"{settings.home} is writable")


def check_disk(settings: Settings, free_bytes: int | None = None) -> Finding:
    """Whether the missing models and some state fit."""
    existing = next(folder for folder in (settings.models_path, *settings.models_path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free if free_bytes is None else free_bytes
    names = {name for lane in ("fast", "slow") if (name := embedded_model(settings, lane))}
    missing = sum(model.size_bytes for model in map(find_model, sorted(names)) if not (settings.models_path / model.file_name).exists())
    detail = f"{free / 1e9:.1f} GB free at {existing}, {missing / 1e9:.1f} GB of models to fetch"
    if free < missing:
        return Finding("fail", "disk", detail, "free some space, or set TANDEM_MODELS_DIR to a larger disk")
    if free < missing + SPARE_BYTES:
        return Finding("warn", "disk", detail, "free some space; little is left for the database and logs")
    return Finding("ok", "disk", detail)


async def check_model(settings: Settings, lane: Lane) -> Finding:
    """Whether the lane's model is here and genuine, or its server answers."""
    name = embedded_model(settings, lane)
    if name is None:
        return await _check_model_server(settings, lane)
    model = find_model(name)
    path = settings.models_path / model.file_name

    def silent(_: FetchStep | int) -> None:
        pass

    try:
        is_genuine = await asyncio.to_thread(is_verified, path, model, settings.home / "verified", silent)
    except FileNotFoundError:
        return Finding("warn", f"{lane} model", f"{name} is not here yet", "`tandem models fetch` fetches it; `tandem up` does too")
    if is_genuine:
        return Finding("ok", f"{lane} model", f"{name}, verified")
    return Finding("fail", f"{lane} model", f"{path} has not the pinned hash", "`tandem models fetch` replaces it")


async def _check_model_server(settings: Settings, lane: Lane) -> Finding:
    model = open_chat_model(settings, lane)
    try:
        return Finding("ok", f"{lane} model", f"{await model.check()} at {settings.model_url(lane)}")
    except TandemError as error:
        return Finding("fail", f"{lane} model", error.message, f"start that server, or unset TANDEM_{lane.upper()}_URL for the embedded one")
    finally:
        await model.close()


def check_valkey(settings: Settings) -> Finding:
    """Whether the embedded server can be started, when it is wanted."""
    if settings.redis.url:
        return Finding("ok", "valkey", "not needed, TANDEM_REDIS_URL is set")
    try:
        return Finding("ok", "valkey", f"embedded server at {find_server()}")
    except DependencyMissing as error:
        return Finding("fail", "valkey", error.message, "see there")


def check_free_ports(settings: Settings) -> list[Finding]:
    """Whether `tandem up` could listen; only asked while it does not run."""
    findings: list[Finding] = []
    for spec in process_table(settings, None):
        if spec.listen:
            fault = port_fault(spec.listen)
            findings.append(
                Finding("fail" if fault else "ok", f"port {spec.name}", spec.address + (f": {fault}" if fault else " is free"), fault or "")
            )
    return findings


async def check_database(settings: Settings) -> Finding:
    """Whether the database answers with this version's schema."""
    shown = settings.database_url.rpartition("@")[2]
    if shown.startswith("sqlite") and not _is_there(shown.removeprefix("sqlite:///")):
        return Finding("ok", "database", f"{shown} will be made by the first `tandem up`")
    storage = open_storage(settings)
    try:
        await storage.check()
    except StorageNotMigrated as error:
        return Finding("warn", "database", error.message, "`tandem up` brings it up to date")
    except TandemError as error:
        return Finding("fail", "database", error.message, "start the database, or correct TANDEM_DATABASE_URL")
    finally:
        await storage.close()
    return Finding("ok", "database", shown)


async def check_redis(settings: Settings) -> Finding:
    """Whether hints and notifications travel.

    Args:
        settings: With the address of the embedded server where it runs.
    """
    shown = settings.redis_url.rpartition("@")[2].removeprefix("redis://")
    notifier = open_notifier(settings)
    try:
        is_up = await notifier.is_up()
    finally:
        await notifier.close()
    if is_up:
        return Finding("ok", "redis", shown)
    return Finding("warn", "redis", f"{shown} does not answer", "nothing is lost, but work starts late: start it, or correct TANDEM_REDIS_URL")


async def check_gateway(settings: Settings, is_up: bool) -> list[Finding]:
    """Whether the gateway serves, with everything it leans on."""
    client = AsyncTandemClient(settings.gateway_url, load_local_key(settings))
    try:
        readiness = await client.ready()
    except GatewayUnreachable as error:
        if is_up or settings.api_url:
            return [Finding("fail", "gateway", error.message, f"look at {settings.home / 'logs' / 'gateway.log'}")]
        return [Finding("warn", "gateway", "not running", "start it with `tandem up`")]
    finally:
        await client.close()
    found = [Finding(_STATES[readiness.state], "gateway", f"version {readiness.version} at {settings.gateway_url}", _see(readiness.state))]
    found += [Finding(_STATES[one.state], f"  {name}", one.detail or one.state, _see(one.state)) for name, one in readiness.components.items()]
    return found


async def check_tools(settings: Settings) -> Finding:
    """Which tools work on this machine; each is opened as a worker would open it."""
    try:
        # The tools stand above the kernel; this line is all that it knows of them.
        examine: Callable[[Settings], AsyncIterator[Finding]] = import_module("tools.commands.doctor").examine
    except ModuleNotFoundError as error:
        return Finding("warn", "tools", f"the module {error.name!r} is not installed here", "pip install 'tandem-agents[worker]' (or `make setup`)")
    found = [finding async for finding in examine(settings)]
    wrong = {state: [finding.what for finding in found if finding.state == state] for state in ("fail", "warn")}
    working = len(found) - len(wrong["fail"]) - len(wrong["warn"])
    detail = "; ".join([f"{working} as they should be", *(f"{state}: {', '.join(names)}" for state, names in wrong.items() if names)])
    worst: State = "fail" if wrong["fail"] else "warn" if wrong["warn"] else "ok"
    return Finding(worst, "tools", detail, "`tandem tools doctor` says what is missing and what to do")


def _is_there(path: str) -> bool:
    return Path(path).exists()


def _see(state: ComponentState) -> str:
    return "" if state == "ok" else "see its log under TANDEM_HOME/logs"
