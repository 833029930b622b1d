"""What was reached, for the audit log: everything dialled or refused while somebody watches.

Holds host, literal address, rule and sizes; never a path, a header, a body or a secret. The addresses are for the log and its readers only.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Reached:
    """One request that went out, or one that was not let out."""

    host: str
    """As asked for, in ASCII; empty when the URL named none that could be read."""
    address: str | None
    """The literal address that was dialled, or that the refusal is about."""
    port: int | None
    rule: str
    """Why it was let out (``public``, ``allow_list``, ``operated``) or refused (``not_public``, ``unresolved``, ``port``, ...)."""
    is_refused: bool = False
    bytes_out: int = 0
    """Of the request, inside of TLS."""
    bytes_in: int = 0
    seconds: float = 0.0
    status: int | None = None
    """Of the answer; None when none came."""


@dataclass(slots=True)
class Watch:
    """Collects in the order in which requests end."""

    reached: list[Reached] = field(default_factory=list[Reached])


_WATCH: Final[ContextVar[Watch | None]] = ContextVar("tandem_egress_watch", default=None)


@contextmanager
def watched() -> Generator[Watch]:
    """Collect everything reached inside, also by tasks started inside. An inner ``watched`` keeps what is its own from the outer one."""
    watch = Watch()
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)


def current_watch() -> Watch | None:
    """The innermost watch of this task, if anybody watches."""
    return _WATCH.get()


def note(watch: Watch | None, reached: Reached) -> None:
    """Tell a watch, if there is one."""
    if watch is not None:
        watch.reached.append(reached)


__all__ = ["Reached", "Watch", "current_watch", "note", "watched"]
