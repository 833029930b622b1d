"""The supervisor's end of the guardian: starts it, tells it of process groups, starts it again when it dies."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

GUARDIAN_SCRIPT: Final = Path(__file__).with_name("guardian.py")
GRACE_S: Final = 5.0
"""Seconds between SIGTERM and SIGKILL once the supervisor is gone."""
_RESTART_DELAY_S: Final = 0.2


class GuardianLink:
    """Keeps one guardian process informed.

    Args:
        log_path: Where its complaints go.
        inherit: Descriptors it holds open until all groups are gone, so that the lock of ``TANDEM_HOME`` outlives a killed supervisor.
        grace_s: Seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, log_path: Path, *, inherit: tuple[int, ...] = (), grace_s: float = GRACE_S) -> None:
        self._log_path = log_path
        self._inherit = inherit
        self._grace_s = grace_s
        self._groups: set[int] = set()
        self._pipe: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        await self._spawn()
        self._watch = asyncio.create_task(self._keep(), name="guardian")

    def add(self, group: int) -> None:
        """Tell it of a group before anything runs in it."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """The group is empty; its number may soon be a stranger's."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    async def close(self) -> None:
        """Let it go; groups still known are ended by it."""
        if self._watch:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        self._hang_up()
        if self._process:
            await self._process.wait()

    async def _spawn(self) -> None:
        reader, writer = os.pipe()  # not inheritable: the supervisor alone holds the writing end
        known = frozenset(self._groups)  # on its command line: it can act on them even if we die before the first word
        try:
            with self._log_path.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-I", "-S", str(GUARDIAN_SCRIPT), str(self._grace_s), *map(str, known),
                    stdin=reader, stdout=log, stderr=log, start_new_session=True, pass_fds=self._inherit,
                )  # fmt: skip
        except OSError:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        self._hang_up()
        self._pipe = writer
        for group in self._groups - known:
            self._tell(f"+{group}\n")
        for group in known - self._groups:
            self._tell(f"-{group}\n")

    async def _keep(self) -> None:
        while self._process:
            await self._process.wait()
            await asyncio.sleep(_RESTART_DELAY_S)
            await self._spawn()

    def _tell(self, word: str) -> None:
        if self._pipe is not None:
            with suppress(BrokenPipeError):  # dead: its successor is told of every group
                os.write(self._pipe, word.encode())

    def _hang_up(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
