"""Readiness: can this process serve, and what is degraded."""

from typing import Literal

from tandem.schemas.base import Wire

ComponentState = Literal["ok", "degraded", "down"]


class Component(Wire):
    """One thing the gateway leans on."""

    state: ComponentState
    detail: str = ""


class Readiness(Wire):
    """Body of ``GET /readyz``: 200 when ``state`` is ok or degraded, 503 when down (only the database decides that)."""

    state: ComponentState
    components: dict[str, Component]
    """Keys: ``database``, ``redis``, ``fast_model``, ``slow_model``, ``worker``, ``sandbox``."""
    version: str
