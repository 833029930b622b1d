"""How the worker's main process tells its pool processes to stop: a pipe made before the fork, closed when the worker begins to shut down.

A closed pipe cannot be missed, needs no signal (Celery's children keep SIGTERM for the pool), and also closes when the main process is killed.
"""

import asyncio
import os
import select


class Drain:
    """One pipe; its reading end becomes readable when draining begins."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._is_writer_open = True

    def begin(self) -> None:
        """In the main process: tell all children. Idempotent."""
        if self._is_writer_open:
            self._is_writer_open = False
            os.close(self._writer)

    def keep_reader_only(self) -> None:
        """In a child, after the fork: without this, its own copy of the writing end would keep the pipe open."""
        self.begin()

    def has_begun(self) -> bool:
        """Whether the main process drains, or is gone."""
        return bool(select.select([self._reader], [], [], 0)[0])

    def watch(self, loop: asyncio.AbstractEventLoop, draining: asyncio.Event) -> None:
        """Set ``draining`` as soon as draining begins."""

        def on_end() -> None:
            loop.remove_reader(self._reader)
            draining.set()

        loop.add_reader(self._reader, on_end)
