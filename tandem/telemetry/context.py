"""Ids that every log line of a task carries, kept in context variables so that they follow ``await`` and new tasks."""

from contextvars import Token
from types import TracebackType
from typing import Any

from structlog.contextvars import bind_contextvars, reset_contextvars


class Bound:
    """Ids that are bound; leaving the ``with`` block restores what was bound before."""

    def __init__(self, tokens: dict[str, Token[Any]]) -> None:
        self._tokens = tokens

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        reset_contextvars(**self._tokens)


def bind(**ids: str | int | None) -> Bound:
    """Put ids (``request_id``, ``job_id``, ``tenant``) on every log line from here on, or within a ``with`` block only. None is left out."""
    return Bound(dict(bind_contextvars(**{name: value for name, value in ids.items() if value is not None})))
