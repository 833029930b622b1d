"""The child's side for a module that is slow to import: imports it once, then gives birth to a fresh process for each piece of work.

A module may have ``prime``, which is called after the import, for what its libraries load at their first use.

This process itself never reads a byte of a request but the one that announces it, so nothing hostile reaches what later pieces inherit. It leaves
when its parent does, or when nothing is asked for a while; when a piece of work dies, it dies the same way, and the parent starts another.
"""

import gc
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import cast

from tools.confined.child import perform
from tools.confined.work import READY, Json, Work


def main() -> None:
    """``argv`` holds the module's name, the limits of each piece as JSON, and the seconds without work after which this ends."""
    module, limits, idle_s = sys.argv[1], cast("Json", json.loads(sys.argv[2])), float(sys.argv[3])
    loaded = import_module(module)
    work = cast("Work", loaded.work)
    if prime := cast("Callable[[], None] | None", getattr(loaded, "prime", None)):
        prime()
    # What is shared with the children stays shared: the collector would write to every object.
    gc.collect()
    gc.freeze()
    os.write(sys.stdout.fileno(), READY)
    while _is_asked(idle_s):
        _give_birth(work, limits)


def _is_asked(idle_s: float) -> bool:
    asked, _, _ = select.select([sys.stdin.fileno()], [], [], idle_s)
    return bool(asked) and bool(os.read(sys.stdin.fileno(), 1))


def _give_birth(work: Work, limits: Json) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            perform(work, limits)
            code = 0
        finally:
            # Without the clean-up of an interpreter, which belongs to the parent.
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if code:
        sys.exit(code)
