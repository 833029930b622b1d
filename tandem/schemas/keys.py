"""API keys as shown: never the secret, but once, at creation."""

from datetime import datetime
from typing import Literal

from tandem.schemas.base import Wire

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
