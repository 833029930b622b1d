"""The worker's sign of life: a file whose modification time a supervisor reads.

It is touched by a timer of the consumer's own event loop, idle or not, from when the consumer is connected until it loses the broker or stops: a
process that hangs or has lost its broker goes stale.
"""

from pathlib import Path
from typing import Any, Final

from celery import bootsteps

TOUCH_S: Final = 2.0
"""Seconds between two signs of life."""


def alive_path(home: Path) -> Path:
    """Where the sign of life of a worker with this ``TANDEM_HOME`` is."""
    return home / "run" / "worker.alive"


def alive_step(path: Path) -> type[bootsteps.StartStopStep]:
    """A consumer boot step that keeps ``path`` fresh."""

    class SignOfLife(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def __init__(self, parent: Any, **options: Any) -> None:
            super().__init__(parent, **options)
            self._timer: Any = None

        def start(self, parent: Any) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self._timer = parent.timer.call_repeatedly(TOUCH_S, path.touch)

        def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return SignOfLife
