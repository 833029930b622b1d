"""API keys as shown: never the secret, but once, at creation."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tandem.schemas.base import Wire
from tandem.schemas.text import CleanText

Scope = Literal["chat", "jobs:read", "jobs:write", "admin"]
ALL_SCOPES: tuple[Scope, ...] = ("chat", "jobs:read", "jobs:write", "admin")
DEFAULT_SCOPES: tuple[Scope, ...] = ("chat", "jobs:read", "jobs:write")


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
    scopes: list[Scope] = Field(default_factory=lambda: list(DEFAULT_SCOPES), min_length=1)


class CreatedKey(ApiKey):
    """Answer of ``POST /v1/keys`` (201): the only time the secret is shown."""

    key: str
    """The bearer token ``tdm_…``."""


class KeyPage(Wire):
    """All keys, oldest first, revoked ones included."""

    object: Literal["list"] = "list"
    data: list[ApiKey]
