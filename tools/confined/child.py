"""The child's side: loads one module of ours, gives up what it does not need, reads the request, does the work, answers.

Covered: processor time, address space, size of files, number of descriptors, no core dump, an empty environment, no further process (which the kernel
does not hold root to), and an alarm, the kernel's own, that ends it also when the parent is gone. Not covered: it keeps the user and the network of
the worker, so a memory defect in a parser is contained by its process and these limits only; nearly all of what runs here is pure Python.
"""

import json
import math
import resource
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import BinaryIO, cast

from tools.confined.work import Done, Json, Work, WorkRefused

_NOFILE = 64


def main() -> None:
    """Do one piece of work: ``argv`` holds the module's name and the limits as JSON."""
    module, limits = sys.argv[1], json.loads(sys.argv[2])
    # Before the limits: importing may write compiled files, and none of it depends on what will be read.
    work = cast("Work", import_module(module).work)
    perform(work, limits)


def perform(work: Work, limits: Json) -> None:
    """Confine this process for good, then read one request from standard input and answer it on standard output."""
    _confine(limits)
    request, parts = _read(sys.stdin.buffer)
    answer = _answer(work, request, parts)
    sys.stdout.buffer.write(json.dumps({**answer.answer, "part": len(answer.part)}, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    sys.stdout.buffer.write(answer.part)
    sys.stdout.buffer.flush()


def _answer(work: Work, request: Json, parts: Sequence[bytes]) -> Done:
    try:
        done = work(request, parts)
    except WorkRefused as error:
        return _refusal(error.code, error.message)
    except MemoryError:
        return _refusal("too_large", "it needs more memory than a call may take; use a smaller file or ask for less")
    except RecursionError:
        return _refusal("too_deep", "it is nested too deeply; flatten it")
    except Exception as error:  # noqa: BLE001 - the boundary of a process: parsers raise anything on hostile content, and the parent reports it
        return _refusal("unreadable", f"it cannot be read ({type(error).__name__}: {str(error)[:200]}); it is damaged or not what its name says")
    return Done({"answer": done.answer}, done.part)


def _refusal(code: str, message: str) -> Done:
    return Done({"fault": {"code": code, "message": message}})


def _confine(limits: Json) -> None:
    seconds, memory, written = math.ceil(limits["seconds"]), int(limits["memory_bytes"]), int(limits["file_bytes"])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, float(limits["seconds"]))
    bounds = (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, written),
        (resource.RLIMIT_NOFILE, _NOFILE),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, bound in bounds:
        resource.setrlimit(kind, (bound, bound))


def _read(stream: BinaryIO) -> tuple[Json, Sequence[bytes]]:
    request = cast("Json", json.loads(stream.readline()))
    return request, [stream.read(size) for size in request["sizes"]]
