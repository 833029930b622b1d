"""The worker's side for one module that is slow to import: nests that have imported it give a fresh process for each piece of work.

The promise of a piece is that of ``Confinement``: its own limits, and nothing of it is left. A nest that nobody uses ends by itself.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from tools.confined.process import GRACE_S, died, end, start, too_slow
from tools.confined.work import READY, Done, Json, Limits, WorkRefused

START_S: Final = 20.0
"""For the imports, on a machine that is busy."""
IDLE_S: Final = 300.0


class WarmConfinement:
    """Runs the work of one module, a few pieces at a time; whoever made it closes it.

    Args:
        module: Has ``work``.
        limits: Of each piece.
        slots: Pieces at the same time, and nests at most; further calls wait.
        idle_s: Seconds without work after which a nest ends.
    """

    def __init__(self, module: str, limits: Limits, *, slots: int = 2, idle_s: float = IDLE_S) -> None:
        self._module = module
        self._limits = limits
        self._idle_s = idle_s
        self._slots = asyncio.Semaphore(slots)
        self._most = slots
        self._nests: list[_Nest] = []
        """Those without work."""
        self._busy = 0

    async def warm(self) -> None:
        """See to it that a nest is there or on its way, without waiting for it."""
        if not self._nests and self._busy < self._most:
            self._nests.append(await self._started())

    async def run(self, request: Mapping[str, object], parts: Sequence[bytes]) -> Done:
        """What ``work`` made of the request and the parts.

        Raises:
            WorkRefused: It refused, or its process was stopped at a limit or died.
        """
        async with self._slots:
            self._busy += 1
            try:
                return await self._done(request, parts)
            finally:
                self._busy -= 1

    async def close(self) -> None:
        """End the nests; a later call starts them anew."""
        nests, self._nests = self._nests, []
        for nest in nests:
            await end(nest.process)

    async def _done(self, request: Mapping[str, object], parts: Sequence[bytes]) -> Done:
        while True:
            nest = self._nests.pop() if self._nests else await self._started()
            try:
                answer = await self._answer(nest, request, parts)
            except _Retired:
                # It had nothing to do for long and left; the next one is asked, in the end a new one.
                continue
            self._nests.append(nest)
            return _parsed(*answer)

    async def _answer(self, nest: "_Nest", request: Mapping[str, object], parts: Sequence[bytes]) -> tuple[Json, bytes]:
        is_sound = False
        try:
            await nest.get_ready()
            answer = await nest.exchange(request, parts, self._limits)
            is_sound = True
        finally:
            if not is_sound:
                await end(nest.process)
        return answer

    async def _started(self) -> "_Nest":
        return _Nest(await start("nest", self._module, self._limits, str(self._idle_s)))


class _Retired(Exception):
    """A nest had left before it was asked."""


@dataclass(slots=True)
class _Nest:
    process: asyncio.subprocess.Process
    is_ready: bool = False

    async def get_ready(self) -> None:
        if self.is_ready:
            return
        try:
            async with asyncio.timeout(START_S):
                line = await self._stdout.readline()
        except TimeoutError:
            raise WorkRefused("unavailable", "the reader did not start in time; try again") from None
        if line != READY:
            raise WorkRefused("unavailable", "the reader could not be started; the operator must look at the installation")
        self.is_ready = True

    async def exchange(self, request: Mapping[str, object], parts: Sequence[bytes], limits: Limits) -> tuple[Json, bytes]:
        head = json.dumps({**request, "sizes": [len(part) for part in parts]}, ensure_ascii=False).encode() + b"\n"
        try:
            async with asyncio.timeout(limits.seconds + GRACE_S):
                await self._send(b"!" + head, *parts)
                return await self._receive(limits)
        except TimeoutError:
            raise too_slow(limits) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise await self._departed(limits) from None

    async def _send(self, *pieces: bytes) -> None:
        if self.process.stdin is None:
            raise RuntimeError("the nest was started without a pipe")
        for piece in pieces:
            self.process.stdin.write(piece)
            await self.process.stdin.drain()

    async def _receive(self, limits: Limits) -> tuple[Json, bytes]:
        try:
            line = await self._stdout.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise _too_long(limits) from None
        said = cast("Json", json.loads(line))
        if len(line) + said["part"] > limits.output_bytes:
            raise _too_long(limits)
        return said, await self._stdout.readexactly(said["part"])

    async def _departed(self, limits: Limits) -> Exception:
        code = await self.process.wait()
        return _Retired() if code == 0 else died(code, limits)

    @property
    def _stdout(self) -> asyncio.StreamReader:
        if self.process.stdout is None:
            raise RuntimeError("the nest was started without a pipe")
        return self.process.stdout


def _too_long(limits: Limits) -> WorkRefused:
    return WorkRefused("too_large", f"it gives more than {limits.output_bytes} bytes; ask for less")


def _parsed(said: Json, part: bytes) -> Done:
    if fault := said.get("fault"):
        raise WorkRefused(str(fault["code"]), str(fault["message"]))
    return Done(said["answer"], part)
