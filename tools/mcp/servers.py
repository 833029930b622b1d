"""The operator's file of MCP servers: what it may say, and what each server becomes here.

The file has the field's usual form, ``{"mcpServers": {name: …}}``, plus Tandem's own keys. It is read from the machine's disk only: no door, no
tenant and no model can add a server, a command or an argument. Knows nothing of connections and of what a server answers.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.errors import SettingsInvalid
from tandem.schemas.tools import SideEffect
from tandem.settings import Settings

_NAME: Final = re.compile(r"[A-Za-z](?:[_-]?[A-Za-z0-9]){0,30}", re.ASCII)
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_OUR_HEADERS: Final = frozenset({
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
})
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_GROUP_OR_OTHERS_WRITE: Final = 0o022
_GROUP_OR_OTHERS_READ: Final = 0o044


@dataclass(frozen=True, slots=True)
class Command:
    """A server that is a program, spoken to through its standard input and output."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    """Beside PATH, HOME and LANG, all that the program gets."""
    cwd: Path | None
    """None is the server's own folder below ``TANDEM_HOME/mcp``."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server that listens for streamable HTTP."""

    url: str
    headers: Mapping[str, str]
    """Sent with every request to it, and nowhere else."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True, slots=True)
class McpServer:
    """One server as the operator wants it."""

    name: str
    """Prefix of its tools' names."""
    reach: Command | Address
    tools: frozenset[str] | None = None
    """Its own names of the tools that are taken; None takes all."""
    side_effects: Mapping[str, SideEffect] | None = None
    """Classes of tools by the server's own names, in place of what its hints say."""
    timeout_s: float = 30.0
    """Total seconds of one call, a restart of the server included."""
    start_timeout_s: float = 10.0
    """Total seconds to start, greet and list the tools."""
    taints: bool = True
    """Its answers may hold words of strangers."""
    reads_private: bool = False
    """Its answers may hold what the tenant keeps to itself."""
    tenants: frozenset[str] | None = None
    """Who may call it; None is everybody."""
    trust_first_use: bool = False
    """Approve what it offers when it is seen for the first time; what changes or is added later needs approval all the same."""

    @property
    def prefix(self) -> str:
        return f"{self.name}__"


class _Entry(BaseModel):
    """One value of ``mcpServers``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["stdio", "http", "streamable-http"] | None = None
    command: str | None = Field(default=None, min_length=1)
    args: list[str] = Field(default_factory=list[str])
    env: dict[str, str] = Field(default_factory=dict[str, str])
    cwd: str | None = None
    url: str | None = Field(default=None, pattern=r"^https?://", max_length=2_048)
    headers: dict[str, str] = Field(default_factory=dict[str, str])
    disabled: bool = False
    tools: list[str] | None = None
    side_effects: dict[str, SideEffect] = Field(default_factory=dict[str, SideEffect])
    timeout_s: float = Field(default=30.0, gt=0, le=3_600)
    start_timeout_s: float = Field(default=10.0, gt=0, le=300)
    taints: bool = True
    reads_private: bool = False
    tenants: list[str] | None = None
    trust_first_use: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    mcpServers: dict[str, _Entry]  # noqa: N815 - the field's spelling


def servers_file(settings: Settings) -> Path:
    """Where the operator's file is, or would be."""
    return settings.tools.mcp_file or settings.home / "mcp.json"


def read_servers(settings: Settings, environ: Mapping[str, str] | None = None) -> tuple[McpServer, ...]:
    """The enabled servers in the file's order; none when there is no file.

    Args:
        settings: Says where the file is.
        environ: What ``${NAME}`` in ``env`` and ``headers`` stands for; this process's environment when None.

    Raises:
        SettingsInvalid: The file is named and not there, others may write it, or a key of it is wrong; the message names the key and the remedy.
    """
    path = servers_file(settings)
    if not path.exists():
        if settings.tools.mcp_file is not None:
            raise SettingsInvalid(f"TANDEM_TOOLS_MCP_FILE names {str(path)!r}, which does not exist; create it or unset the variable")
        return ()
    entries = _parse(path)
    _check_mode(path, entries)
    variables = os.environ if environ is None else environ
    servers = tuple(_server(path, name, entry, variables) for name, entry in entries.items() if not entry.disabled)
    names = [server.name for server in servers]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _fault(path, f"two servers would both be called {twice!r}", "rename one of them")
    return servers


def _parse(path: Path) -> Mapping[str, _Entry]:
    try:
        return _File.model_validate_json(path.read_bytes()).mcpServers
    except OSError as error:
        raise _fault(path, f"cannot be read ({error.strerror})", "make it readable for the worker's user") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "json_invalid":
            raise _fault(path, first["msg"], "correct the JSON") from None
        if where.endswith(".type") and first["input"] == "sse":
            raise _fault(
                path, f"{where}: the older SSE transport 'sse' is not spoken", "give the server's streamable HTTP address and 'http'"
            ) from None
        given = "" if first["type"] in {"missing", "extra_forbidden"} else f", got {json.dumps(first['input'], ensure_ascii=False, default=str)[:80]}"
        raise _fault(path, f"{where}: {first['msg']}{given}", "docs/mcp.md lists the keys") from None


def _check_mode(path: Path, entries: Mapping[str, _Entry]) -> None:
    """Whoever may write the file may run programs as this user; whoever may read it gets the secrets that stand in it."""
    mode = path.stat().st_mode
    if os.name == "posix" and mode & _GROUP_OR_OTHERS_WRITE:
        raise _fault(path, f"others may write it (mode {mode & 0o777:o}), and it names programs to run", f"run `chmod go-w {path}`")
    literal = next(
        (f"mcpServers.{name}.headers.{key}" for name, entry in entries.items() for key, value in entry.headers.items() if _is_literal(value)), None
    )
    if os.name == "posix" and literal and mode & _GROUP_OR_OTHERS_READ:
        raise _fault(path, f"{literal} may be a secret, and others may read the file", f"write ${{VARIABLE}} there, or run `chmod 600 {path}`")


def _is_literal(value: str) -> bool:
    return not _VARIABLE.search(value)


def _server(path: Path, name: str, entry: _Entry, variables: Mapping[str, str]) -> McpServer:
    where = f"mcpServers.{name}"
    if not _NAME.fullmatch(name):
        remedy = "use 1 to 31 letters and digits, beginning with a letter; single '-' or '_' between them"
        raise _fault(path, f"{where}: {name!r} cannot begin the name of a tool", remedy)
    if unlisted := next((tool for tool in entry.side_effects if entry.tools is not None and tool not in entry.tools), None):
        raise _fault(path, f"{where}.side_effects names {unlisted!r}, which 'tools' leaves out", "add it to 'tools' or remove it")
    return McpServer(
        name=name.lower().replace("-", "_"),
        reach=_reach(path, where, entry, variables),
        tools=None if entry.tools is None else frozenset(entry.tools),
        side_effects=entry.side_effects,
        timeout_s=entry.timeout_s,
        start_timeout_s=entry.start_timeout_s,
        taints=entry.taints,
        reads_private=entry.reads_private,
        tenants=None if entry.tenants is None else frozenset(entry.tenants),
        trust_first_use=entry.trust_first_use,
    )


def _reach(path: Path, where: str, entry: _Entry, variables: Mapping[str, str]) -> Command | Address:
    if (entry.command is None) == (entry.url is None):
        raise _fault(path, f"{where} needs either 'command' or 'url'", "give one of the two")
    if entry.command is not None:
        if entry.headers or entry.type in {"http", "streamable-http"}:
            raise _fault(path, f"{where} is a program ('command') with keys of an HTTP server", "remove 'headers', and 'type' or make it 'stdio'")
        env = {key: _expanded(path, f"{where}.env.{key}", value, variables) for key, value in entry.env.items()}
        return Command(entry.command, tuple(entry.args), env, Path(entry.cwd).expanduser() if entry.cwd else None)
    if entry.args or entry.env or entry.cwd or entry.type == "stdio":
        raise _fault(
            path, f"{where} is an HTTP server ('url') with keys of a program", "remove 'args', 'env' and 'cwd', and 'type' or make it 'http'"
        )
    return Address(_checked_url(path, where, entry.url or ""), _headers(path, where, entry, variables))


def _checked_url(path: Path, where: str, url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise _fault(
            path, f"{where}.url: {parts.hostname or url!r} needs a host, and neither credentials nor a fragment", "put credentials into 'headers'"
        )
    return url


def _headers(path: Path, where: str, entry: _Entry, variables: Mapping[str, str]) -> Mapping[str, str]:
    headers = {key: _expanded(path, f"{where}.headers.{key}", value, variables) for key, value in entry.headers.items()}
    for key, value in headers.items():
        if not _HEADER.fullmatch(key) or key.lower() in _OUR_HEADERS:
            raise _fault(path, f"{where}.headers: {key!r} cannot be set", "remove it; the client sets it where it is needed")
        if not value.isascii() or not value.isprintable():
            raise _fault(path, f"{where}.headers.{key} holds a character that no header may hold", "use printable ASCII")
    return headers


def _expanded(path: Path, where: str, value: str, variables: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise _fault(path, f"{where} names the environment variable {match[1]!r}, which is not set", "set it for the worker or correct the name")
        return variables[match[1]]

    return _VARIABLE.sub(replace, value)


def _fault(path: Path, what: str, remedy: str) -> SettingsInvalid:
    return SettingsInvalid(f"{path}: {what}; {remedy}")
