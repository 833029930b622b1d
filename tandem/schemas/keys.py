"""API keys as shown: never the secret, but once, at creation. What a scope covers is decided here, for every door and command alike."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from tandem.schemas.base import Wire
from tandem.schemas.text import CleanText

DoorScope = Literal["chat", "jobs:read", "jobs:write", "admin"]
"""What opens doors."""
TOOLS_SCOPE: Final = "tools"
"""All tools that the platform and the tenant allow; ``tools:<name>`` is one of them, and a ``*`` at its end stands for the rest of a name."""
_DOOR_SCOPES: Final[tuple[DoorScope, ...]] = ("chat", "jobs:read", "jobs:write", "admin")
_TOOLS: Final = r"tools(:([a-z][a-z0-9_]{0,63}\*?|\*))?"
_SPELLING: Final = re.compile(rf"({'|'.join(_DOOR_SCOPES)}|{_TOOLS})")


def _known_scope(text: str) -> str:
    if _SPELLING.fullmatch(text):
        return text
    raise ValueError(f"no scope is spelled so; use {', '.join(_DOOR_SCOPES)}, {TOOLS_SCOPE}, or for single tools 'tools:web_fetch' or 'tools:web_*'")


Scope = Annotated[
    str,
    AfterValidator(_known_scope),
    WithJsonSchema({"type": "string", "pattern": f"^{_SPELLING.pattern}$", "examples": ["chat", "tools:web_fetch"]}),
]
"""A ``DoorScope``, or tools: a key without any scope for tools gets only those that reach and read nothing beyond their job."""
ALL_SCOPES: Final[tuple[Scope, ...]] = (*_DOOR_SCOPES, TOOLS_SCOPE)
DEFAULT_SCOPES: Final[tuple[Scope, ...]] = ("chat", "jobs:read", "jobs:write")


def tool_patterns(scopes: Iterable[Scope]) -> list[str]:
    """Which tools the scopes name; a ``*`` at the end stands for the rest of a name."""
    return ["*" if scope == TOOLS_SCOPE else scope.partition(":")[2] for scope in scopes if re.fullmatch(_TOOLS, scope)]


def uncovered_scopes(wanted: Iterable[Scope], held: Iterable[Scope]) -> list[Scope]:
    """Those of ``wanted`` that a key with the scopes ``held`` has not, not even as a part of a wider one."""
    theirs = frozenset(held)
    wide = [pattern.removesuffix("*") for pattern in tool_patterns(theirs) if pattern.endswith("*")]
    return [
        scope
        for scope in wanted
        if scope not in theirs and not any(name.startswith(beginning) for name in tool_patterns([scope]) for beginning in wide)
    ]


class ApiKey(Wire):
    """A key without its secret."""

    id: str
    name: str
    tenant: str
    scopes: list[Scope]
    created_at: datetime
    revoked_at: datetime | None = None


class KeyCreate(Wire):
    """Body of ``POST /v1/keys``."""

    name: CleanText = Field(min_length=1, max_length=100)
    """What the key is for; shown in listings."""
    scopes: list[Scope] = Field(default_factory=lambda: list(DEFAULT_SCOPES), min_length=1, max_length=64)
    """What it may do; no more than the key that makes it. ``tools`` or ``tools:<name>`` for what reaches out, reads or writes."""


class CreatedKey(ApiKey):
    """Answer of ``POST /v1/keys`` (201): the only time the secret is shown."""

    key: str
    """The bearer token ``tdm_…``."""


class KeyPage(Wire):
    """All keys, oldest first, revoked ones included."""

    object: Literal["list"] = "list"
    data: list[ApiKey]
