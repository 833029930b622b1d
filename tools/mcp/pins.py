"""What an operator has approved of each server: a digest per tool over everything a model, or a decision about a call, may depend on.

The file ``TANDEM_HOME/mcp.pins.json`` keeps the approved declarations beside their digests, so that a change can be shown, and so that the tools of a
server that is away are known by name. Knows no server and no connection.

Covered: a description, schema, output schema, title or hint that differs in one byte; tools that are added later. Not covered: a server that keeps
its declarations and changes what it does.
"""

import difflib
import fcntl
import hashlib
import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcp import types
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.errors import SettingsInvalid
from tandem.schemas.base import JsonObject
from tandem.settings import Settings
from tools.adapters.mcp import entry_json

MAX_ENTRY_BYTES: Final = 131_072
"""Of one declaration; a larger one is not approved, so that no server fills the disk."""


class Pin(BaseModel):
    """An approved declaration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str
    entry: JsonObject
    """As the server gave it, hidden characters included."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = 1
    servers: dict[str, dict[str, Pin]] = Field(default_factory=dict[str, dict[str, Pin]])


@dataclass(frozen=True, slots=True)
class Difference:
    """How a tool of a server differs from what was approved."""

    tool: str
    """The server's own name of it."""
    kind: str
    """``new``, ``changed`` or ``gone``."""
    what: tuple[str, ...]
    """Keys that changed."""
    lines: tuple[str, ...]
    """A unified diff of the declarations, hidden characters spelled out."""


class Pins:
    """The file of approvals; several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, settings: Settings) -> "Pins":
        return cls(settings.home / "mcp.pins.json")

    def read(self, server: str) -> Mapping[str, Pin]:
        """Approved declarations by the server's own tool names. Raises ``SettingsInvalid`` for a damaged file."""
        return self._load().servers.get(server, {})

    def approve(self, server: str, entries: Sequence[types.Tool], *, is_first_use: bool = False) -> bool:
        """Replace what is approved of a server by exactly these declarations; with ``is_first_use`` only if nothing of it was ever approved.

        Returns:
            Whether the file was changed.
        """
        with self._locked():
            file = self._load()
            if is_first_use and server in file.servers:
                return False
            file.servers[server] = {entry.name: Pin(digest=digest(entry), entry=entry_json(entry)) for entry in entries if is_pinnable(entry)}
            self._store(file)
            return True

    @contextmanager
    def _locked(self) -> Generator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _load(self) -> _File:
        try:
            return _File.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return _File()
        except (OSError, ValidationError) as error:
            cause = error.strerror if isinstance(error, OSError) else error.errors(include_url=False)[0]["msg"]
            raise SettingsInvalid(
                f"{self.path} cannot be read ({cause}); delete it and approve the servers anew: `tandem tools mcp approve SERVER`"
            ) from None

    def _store(self, file: _File) -> None:
        # Replaced as a whole: whoever reads meanwhile sees the old file or the new one.
        written = self.path.with_suffix(f".{os.getpid()}")
        written.write_text(file.model_dump_json(indent=2), encoding="utf-8")
        written.replace(self.path)


def digest(entry: types.Tool) -> str:
    """SHA-256 over a declaration as canonical JSON."""
    text = json.dumps(entry_json(entry), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def is_pinnable(entry: types.Tool) -> bool:
    """Whether a declaration is small enough to be kept."""
    return len(json.dumps(entry_json(entry))) <= MAX_ENTRY_BYTES


def differences(approved: Mapping[str, Pin], entries: Sequence[types.Tool]) -> list[Difference]:
    """How a listing differs from what was approved, by tool name; nothing when it does not."""
    listed = {entry.name: entry for entry in entries}
    found: list[Difference] = []
    for name in sorted({*approved, *listed}):
        pin, entry = approved.get(name), listed.get(name)
        if pin is not None and entry is not None and pin.digest == digest(entry):
            continue
        before, after = (pin.entry if pin else {}), (entry_json(entry) if entry else {})
        what = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
        kind = "new" if pin is None else "gone" if entry is None else "changed"
        lines = difflib.unified_diff(_lines(before), _lines(after), "approved", "offered now", lineterm="", n=2)
        found.append(Difference(name, kind, tuple(what), tuple(lines)))
    return found


def _lines(entry: JsonObject) -> list[str]:
    """A declaration as lines for people: ASCII escapes for what is invisible, other letters as they are."""
    text = json.dumps(entry, ensure_ascii=False, indent=2, sort_keys=True)
    # A description's own line breaks become lines of the diff.
    return (
        "".join(char if char.isprintable() or char == "\n" else f"\\u{ord(char):04x}" for char in text).replace("\\n", "\n    ").splitlines()
        if entry
        else []
    )
