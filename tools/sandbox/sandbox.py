"""Runs one program at a time in one sandbox each: takes an identity and a control group, starts the process, and reads its answer with distrust.

Covered: the answer is length-checked bytes and JSON; nothing in it is executed, unpickled or believed. Not covered: a program decides what it
answers, so an answer says nothing about whether the program did what it was asked to.
Knows no tool and no model.
"""

import asyncio
import json
import platform
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tandem.errors import SandboxUnavailable
from tools.sandbox.answer import Answer, Head, Made
from tools.sandbox.bwrap import PACKAGES, Descriptors, Recipe
from tools.sandbox.cgroup import GroupHome
from tools.sandbox.limits import Limits
from tools.sandbox.process import Ended, SandboxProcess, Stop
from tools.sandbox.seccomp import seccomp_filter
from tools.sandbox.slots import UidSlots

BOOTSTRAP: Final = Path(__file__).with_name("bootstrap.py")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Everything that a run needs besides its program. Runs may overlap; each has its own process, identity and folder."""

    recipe: Recipe
    groups: GroupHome | None
    limits: Limits = field(default_factory=Limits)
    slots: UidSlots = field(default_factory=UidSlots)
    source: str = field(default_factory=lambda: BOOTSTRAP.read_text(encoding="utf-8"), repr=False)

    async def run(self, code: str, files: Mapping[str, bytes]) -> Answer:
        """Run a program to its end or to a limit; cancelling kills it and waits until it is gone. Raises as ``ProgramRunner.run``."""
        stop = Stop()
        work = asyncio.ensure_future(asyncio.to_thread(self.run_blocking, code, files, stop))
        try:
            return await asyncio.shield(work)
        finally:
            if not work.done():
                stop.set()
                await asyncio.wait([work])
            stop.close()

    def run_blocking(self, code: str, files: Mapping[str, bytes], stop: Stop) -> Answer:
        """The same in the calling thread."""
        try:
            with ExitStack() as stack:
                uid = stack.enter_context(self.slots.take()) if self.recipe.is_root else None
                group = self.groups.open(self.limits.memory_bytes, self.limits.processes + 2) if self.groups else None
                if group is not None:
                    stack.callback(group.remove)
                process = SandboxProcess(self.limits, group, stop, seccomp_filter(platform.machine()))
                ended = process.run(lambda descriptors, reply: self._command(descriptors, reply, uid), _request(code, files))
        except BlockingIOError:
            raise
        except (OSError, KeyError) as error:
            raise SandboxUnavailable(f"the sandbox cannot be started: {error}; do without running programs until it is repaired") from error
        return _answer(ended)

    def _command(self, descriptors: Descriptors, reply: int, uid: int | None) -> list[str]:
        limits = self.limits
        settings = {
            "limits": limits.for_kernel(has_cgroup=self.groups is not None, is_own_namespace=uid is None),
            "uid": uid,
            "reply": reply,
            "packages": PACKAGES if self.recipe.packages else "",
            "max_files": limits.files,
            "max_file_bytes": limits.file_bytes,
        }
        return self.recipe.command(limits, descriptors, ("-c", self.source, json.dumps(settings)))


def _request(code: str, files: Mapping[str, bytes]) -> bytes:
    head = json.dumps({"code": code, "files": [[name, len(content)] for name, content in files.items()]}).encode()
    return b"".join((len(head).to_bytes(4, "big"), head, *files.values()))


def _answer(ended: Ended) -> Answer:
    printed = ended.printed.decode("utf-8", "replace")
    if ended.cause == "ended" and not ended.reply and printed.startswith("bwrap: "):
        raise SandboxUnavailable(f"the sandbox cannot be started: {printed.strip()[:300]}")
    plain = Answer(ended.cause, ended.status, printed=printed, is_cut=ended.is_printed_cut)
    if ended.cause != "ended":
        return plain
    try:
        return _told(ended.reply, plain)
    except ValueError:
        # No answer, or one that the program made up: both mean that it did not end the way programs do.
        return plain


def _told(reply: bytes, plain: Answer) -> Answer:
    at = 4 + int.from_bytes(reply[:4], "big")
    head = Head.read(reply[4:at])
    files: list[Made] = []
    for name, length in head.files:
        if not isinstance(length, int) or not 0 <= length <= len(reply) - at:
            raise ValueError(f"the reply announces a file {name!r} that it does not hold")
        files.append(Made(name, reply[at : at + length]))
        at += length
    return replace(
        plain,
        value=head.value,
        fault=head.fault,
        is_cut=plain.is_cut or head.is_cut,
        files=files,
        left_out=head.left_out,
        has_replied=True,
    )
