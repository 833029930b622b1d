"""What a provider of tools gets and gives. Every module that provides tools has one coroutine, ``offer(supplies)``; the registry knows the modules.

A tool that cannot work here is offered without a ``tool`` and with the reason, so that an operator learns what to do; it is never run another way.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tandem.egress import GuardedClient
from tandem.ids import IdFactory
from tandem.ports import MemoryStore, Tool
from tandem.schemas.tools import ToolSpec
from tandem.settings import Settings


@dataclass(frozen=True, slots=True)
class Supplies:
    """What providers may build their tools from."""

    settings: Settings
    egress: GuardedClient
    ids: IdFactory
    memories: MemoryStore | None = None
    """None without a database, as in ``tandem tools``."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool that works here, or why it does not."""

    spec: ToolSpec
    tool: Tool | None
    """Bare: the registry puts the policies around it."""
    reason: str = ""
    """Why there is no tool, and what an operator can do."""
    close: Callable[[], Awaitable[None]] | None = None
