"""Tasks that outlive the request that started them: kept alive, logged when they break, ended with the process."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from tandem.telemetry import get_logger

RESUME_S: Final = 1.0
"""A duty that broke is begun again after this long."""
_log = get_logger(__name__)


class Background:
    """Holds running tasks; the event loop alone would let them be collected."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finish)
        return task

    async def close(self, grace_s: float) -> None:
        """Let short work end within ``grace_s`` seconds, then cancel what is left and wait for it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("background_task_failed", task=task.get_name(), exc_info=error)


async def keep_up(name: str, duty: Callable[[], Awaitable[None]]) -> None:
    """Do a duty until it is done; one that breaks is logged with its traceback and begun again, for nobody would see that it has stopped."""
    while True:
        try:
            await duty()
        except Exception:  # noqa: BLE001 - the duty's boundary
            _log.exception("duty_failed", duty=name)
            await asyncio.sleep(RESUME_S)
        else:
            return
