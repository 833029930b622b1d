"""Which processes one Tandem needs on this machine, by its settings; the table of DESIGN.md as values. Starts nothing."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tandem.settings import ENV_PREFIX, ModelSettings, Settings
from tandem.supervisor.keeper import Patience
from tandem.supervisor.listening import Listen
from tandem.supervisor.probes import AliveFileProbe, HttpProbe, Probe
from tandem.supervisor.valkey import Valkey

REPOSITORY: Final = Path(__file__).resolve().parents[2]
"""Folder that holds our packages; first on every child's path, since their names are common ones."""
_MODEL_START_S: Final = 300.0
"""A gigabyte of weights from a cold, busy disk."""
_PROCESS_START_S: Final = 120.0
"""Imports on a cold, busy machine."""
_WORKER_GRACE_S: Final = 30.0
"""Time to give a running job back to the queue."""
_USUAL: Final = Patience(_PROCESS_START_S)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep running."""

    name: str
    title: str
    """What it is, for people."""
    command: tuple[str, ...]
    probe: Probe
    stage: int
    """Started in any order within the limits of ``needs``; stopped from the highest stage down."""
    needs: tuple[str, ...] = ()
    """Processes that must be ready before it is started."""
    listen: Listen | None = None
    patience: Patience = _USUAL

    @property
    def address(self) -> str:
        return f"{self.listen.host}:{self.listen.port}" if self.listen else ""


def process_table(settings: Settings, valkey: Valkey | None, *, with_ui: bool = True, python: str = sys.executable) -> tuple[ProcessSpec, ...]:
    """What to start.

    Args:
        settings: A lane or Redis with a URL needs no process here.
        valkey: The prepared embedded server; None with a configured Redis.
        with_ui: Whether the pages are served.
        python: Interpreter of the children.
    """
    needs = ("valkey",) if valkey else ()
    specs = [_valkey(valkey)] if valkey else []
    specs += [_model(role, section, python) for role, section in _lanes(settings) if section.url is None]
    specs += [_gateway(settings, needs, python)]
    specs += [
        ProcessSpec("dispatcher", "webhooks, reaper", _module(python, "gateway.dispatcher"), _alive(settings, "dispatcher"), 1, needs),
        ProcessSpec(
            "worker", "System 2's jobs", _module(python, "slow_worker"), _alive(settings, "worker"), 1, needs,
            patience=Patience(_PROCESS_START_S, _WORKER_GRACE_S),
        ),
    ]  # fmt: skip
    return (*specs, _ui(settings, python)) if with_ui else tuple(specs)


def child_environment(environ: Mapping[str, str], settings: Settings, *, root: Path = REPOSITORY) -> dict[str, str]:
    """The environment of every child: ours, with our packages first and the settings that must not depend on the working folder."""
    child = {key: value for key, value in environ.items() if key != "PYTHONDONTWRITEBYTECODE"}  # without bytecode every start takes twice as long
    others = [entry for entry in environ.get("PYTHONPATH", "").split(":") if entry and Path(entry).resolve() != root]
    child["PYTHONPATH"] = ":".join([str(root), *others])
    child["PYTHONUNBUFFERED"] = "1"  # a process that is killed has said its last words
    child[f"{ENV_PREFIX}HOME"] = str(settings.home.absolute())
    child[f"{ENV_PREFIX}REDIS_URL"] = settings.redis_url
    return child


def _module(python: str, name: str, *arguments: str) -> tuple[str, ...]:
    return (python, "-P", "-m", name, *arguments)  # -P: a folder `router` in the user's working folder is not ours


def _lanes(settings: Settings) -> tuple[tuple[Literal["fast", "slow"], ModelSettings], ...]:
    return (("fast", settings.fast), ("slow", settings.slow))


def _valkey(valkey: Valkey) -> ProcessSpec:
    listen = Listen("127.0.0.1", valkey.port, f"{ENV_PREFIX}REDIS_PORT")
    return ProcessSpec("valkey", "wake-up hints", valkey.command, valkey.probe, 0, listen=listen)


def _model(role: Literal["fast", "slow"], section: ModelSettings, python: str) -> ProcessSpec:
    return ProcessSpec(
        role,
        f"System {1 if role == 'fast' else 2}'s model",
        _module(python, "fast_model.server", "--role", role),
        HttpProbe(f"http://127.0.0.1:{section.port}/health"),
        0,
        listen=Listen("127.0.0.1", section.port, f"{ENV_PREFIX}{role.upper()}_PORT"),
        patience=Patience(start_timeout_s=_MODEL_START_S),
    )


def _gateway(settings: Settings, needs: tuple[str, ...], python: str) -> ProcessSpec:
    listen = Listen(settings.gateway.host, settings.gateway.port, f"{ENV_PREFIX}GATEWAY_PORT")
    probe = HttpProbe(f"http://{_reachable(listen.host)}:{listen.port}/healthz")
    return ProcessSpec("gateway", "the front door", _module(python, "gateway"), probe, 2, needs, listen)


def _ui(settings: Settings, python: str) -> ProcessSpec:
    listen = Listen(settings.ui.host, settings.ui.port, f"{ENV_PREFIX}UI_PORT")
    probe = HttpProbe(f"http://{_reachable(listen.host)}:{listen.port}/_stcore/health")
    return ProcessSpec("ui", "the pages", _module(python, "ui"), probe, 3, listen=listen)


def _alive(settings: Settings, name: str) -> AliveFileProbe:
    return AliveFileProbe(settings.home / "run" / f"{name}.alive")


def _reachable(host: str) -> str:
    """An address to ask a server that may listen on all of them."""
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared, not listened on
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
