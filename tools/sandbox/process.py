"""One sandboxed process from start to end: feeds it, reads what it says up to limits, and kills the whole of it at the first limit it passes.

Blocking, made to run in a thread; ``Stop`` ends it from any other. Knows bytes, not programs.
"""

import json
import os
import resource
import selectors
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Final

from tools.sandbox.answer import Cause
from tools.sandbox.bwrap import Descriptors
from tools.sandbox.cgroup import Group
from tools.sandbox.limits import Limits

_CHUNK: Final = 1 << 16
_LOOK_EVERY_S: Final = 0.04
"""How often memory is summed where no control group counts it."""
_REPLY_HEAD_BYTES: Final = 4 * 1024 * 1024
_DEATH_S: Final = 5.0
"""A killed sandbox is gone within milliseconds; one that is not after this long is the kernel's matter."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What is left of a run."""

    cause: Cause
    status: int
    """Exit status of bwrap: that of the program, or 128 and the number of its signal."""
    reply: bytes
    printed: bytes
    """By the program and, where it could not be started, by bwrap."""
    is_printed_cut: bool


class Stop:
    """Ends a run from another thread; may come before, during and after it."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def set(self) -> None:
        os.write(self._writer, b"x")

    def close(self) -> None:
        os.close(self.reader)
        os.close(self._writer)


@dataclass(slots=True)
class _Channel:
    """What comes out of one pipe: up to ``keep`` bytes are kept, more than ``most`` are too many."""

    keep: int
    most: int
    data: bytearray = field(default_factory=bytearray)
    size: int = 0

    def add(self, chunk: bytes) -> bool:
        self.size += len(chunk)
        self.data += chunk[: max(self.keep - len(self.data), 0)]
        return self.size <= self.most


class SandboxProcess:
    """Runs once."""

    def __init__(self, limits: Limits, group: Group | None, stop: Stop, seccomp: bytes) -> None:
        self._limits = limits
        self._group = group
        self._stop = stop
        self._seccomp = seccomp
        self._printed = _Channel(limits.printed_bytes, limits.flood_bytes)
        most = _REPLY_HEAD_BYTES + limits.file_bytes
        self._reply = _Channel(most, most)

    def run(self, command: Callable[[Descriptors, int], Sequence[str]], request: bytes) -> Ended:
        """Start, feed, read, end. ``command`` gets bwrap's descriptors and the one for the reply.

        Raises:
            OSError: bwrap cannot be started, or its process not be put into the control group.
        """
        with ExitStack() as stack:
            filter_out, filter_in = _pipe(stack)
            info_out, info_in = _pipe(stack)
            block_out, block_in = _pipe(stack)
            reply_out, reply_in = _pipe(stack)
            filter_in.write(self._seccomp)
            filter_in.close()
            inherited = (filter_out, info_in, block_out, reply_in)
            numbers = [end.fileno() for end in inherited]
            process = stack.enter_context(_started(command(Descriptors(numbers[0], numbers[1], numbers[2]), numbers[3]), numbers))
            for end in inherited:
                end.close()
            self._admit(info_out)
            # One that could not even begin is gone by now; its words are read all the same.
            with suppress(BrokenPipeError):
                block_in.write(b"x")
            cause = self._attend(process, reply_out, request)
            if cause != "ended":
                process.kill()
            status = process.wait(_DEATH_S)
        if self._group is not None and self._group.has_run_out():
            cause = "memory"
        is_cut = self._printed.size > len(self._printed.data)
        return Ended(cause, status, bytes(self._reply.data), bytes(self._printed.data), is_cut)

    def _admit(self, info: IO[bytes]) -> None:
        """Put the first process inside into the control group while bwrap holds it back; all others are its children."""
        said = info.read()
        if self._group is not None and said:
            self._group.add(int(json.loads(said)["child-pid"]))

    def _attend(self, process: "subprocess.Popen[bytes]", reply: IO[bytes], request: bytes) -> Cause:
        """Until the process is gone and both of its pipes are at their end, or a limit is passed."""
        ends_at = time.monotonic() + self._limits.seconds
        with ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            exit_notice = os.pidfd_open(process.pid)
            stack.callback(os.close, exit_notice)
            feeding = _Feeding(process, request)
            readers = {reply.fileno(): self._reply, _fileno(process.stdout): self._printed}
            steps: dict[int, Callable[[], Cause | bool]] = {number: partial(_read, number, channel) for number, channel in readers.items()}
            steps |= {exit_notice: lambda: True, self._stop.reader: lambda: "stopped", feeding.fileno: feeding.feed}
            for number in steps:
                selector.register(number, selectors.EVENT_WRITE if number == feeding.fileno else selectors.EVENT_READ)
            waiting = {exit_notice, *readers}
            while waiting:
                if cause := self._passed(process, ends_at):
                    return cause
                left = max(ends_at - time.monotonic(), 0.0)
                for key, _ in selector.select(left if self._group else min(left, _LOOK_EVERY_S)):
                    outcome = steps[key.fd]()
                    if isinstance(outcome, str):
                        return outcome
                    if outcome:
                        selector.unregister(key.fd)
                        waiting.discard(key.fd)
        return "ended"

    def _passed(self, process: "subprocess.Popen[bytes]", ends_at: float) -> Cause | None:
        if time.monotonic() >= ends_at:
            return "time"
        return "memory" if self._group is None and memory_of(process.pid) > self._limits.memory_bytes else None


def _read(number: int, channel: _Channel) -> Cause | bool:
    """Whether the pipe is at its end."""
    chunk = os.read(number, _CHUNK)
    return not chunk if channel.add(chunk) else "flood"


class _Feeding:
    """The request on its way into the process, as fast as it reads; one that stops reading gets no more."""

    def __init__(self, process: "subprocess.Popen[bytes]", request: bytes) -> None:
        self._pipe = process.stdin
        self.fileno = _fileno(process.stdin)
        self._left = memoryview(request)
        os.set_blocking(self.fileno, False)

    def feed(self) -> bool:
        """Whether this was the last of it."""
        with suppress(BlockingIOError):
            try:
                self._left = self._left[os.write(self.fileno, self._left[:_CHUNK]) :]
            except BrokenPipeError:
                return True
        return not self._left


def memory_of(pid: int) -> int:
    """Resident bytes of a process and all below it; those that end meanwhile count for nothing."""
    total, pending = 0, [pid]
    while pending:
        folder = Path("/proc", str(pending.pop()))
        with suppress(OSError):
            total += int((folder / "statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
            pending += [int(child) for task in (folder / "task").iterdir() for child in (task / "children").read_text(encoding="ascii").split()]
    return total


@contextmanager
def _started(command: Sequence[str], inherited: Sequence[int]) -> Generator["subprocess.Popen[bytes]"]:
    """A bwrap in a session of its own, so that a signal for the worker's group is not for it; dead when the block ends.

    It dies with the *thread* that starts it, too (``--die-with-parent``): the one that waits here.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=inherited,
        env={},
        start_new_session=True,
        bufsize=0,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    return stack.enter_context(os.fdopen(reader, "rb", buffering=0)), stack.enter_context(os.fdopen(writer, "wb", buffering=0))


def _fileno(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise ValueError("the process was started without this pipe")
    return pipe.fileno()
