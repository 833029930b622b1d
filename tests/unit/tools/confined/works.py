"""Pieces of work that misbehave, loaded by the child."""

import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.confined.work import Done, Json, WorkRefused


def work(request: Json, parts: Sequence[bytes]) -> Done:
    if request["what"] == "reverse":
        return Done({"said": [part.decode() for part in parts]}, b"".join(reversed(parts)))
    return Done({"said": _WORKS[request["what"]]()})


def refuse() -> object:
    raise WorkRefused("no_text", "nothing here")


def throw() -> object:
    raise KeyError("/Root")


def recurse() -> object:
    return [recurse()]


def swell() -> object:
    return len([bytes(1024 * 1024) for _ in range(2_000)])


def flood() -> object:
    return "x" * 10_000_000


def crash() -> object:
    os.kill(os.getpid(), signal.SIGSEGV)
    return None


def spin() -> object:
    while True:
        pass


def sleep() -> object:
    time.sleep(60)
    return None


def deaf() -> object:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)


def look() -> object:
    # Without `dir` it tries to write first.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        try:
            Path(folder, "canary").write_text("x", encoding="ascii")
            can_write = True
        except OSError:
            can_write = False
    secrets = [name for name in os.environ if name != "LC_CTYPE"]
    return {
        "secrets": secrets,
        "can_write": can_write,
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }


_WORKS: Mapping[str, Callable[[], object]] = {
    "refuse": refuse,
    "raise": throw,
    "recurse": recurse,
    "swell": swell,
    "flood": flood,
    "crash": crash,
    "spin": spin,
    "sleep": sleep,
    "deaf": deaf,
    "look": look,
}
