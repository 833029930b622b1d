"""A process that runs programs in the sandbox as whoever it is: one JSON request per line in, one JSON answer per line out.

It is a process of its own, so that the same tests run as root and as an ordinary user, and so that its memory can be measured.
"""

import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tandem.errors import SandboxUnavailable
from tools.sandbox.answer import Answer
from tools.sandbox.limits import Limits
from tools.sandbox.probe import open_sandbox
from tools.sandbox.sandbox import Sandbox
from tools.sandbox.slots import UidSlots


def tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


def told(answer: Answer, seconds: float, grown: int) -> dict[str, Any]:
    fault = {"type": answer.fault.type, "message": answer.fault.message} if answer.fault else None
    files = {made.name: made.content.decode("utf-8", "replace") for made in answer.files}
    seen = {"value": answer.value, "fault": fault, "printed": answer.printed, "files": files, "has_replied": answer.has_replied}
    return seen | {"cause": answer.cause, "status": answer.status, "seconds": seconds, "grown_bytes": grown}


async def run(sandbox: Sandbox, request: dict[str, Any]) -> dict[str, Any]:
    limited = replace(sandbox, limits=replace(sandbox.limits, **request["limits"]))
    before, started = resident_bytes(), time.perf_counter()
    answer = await limited.run(request["code"], {})
    return told(answer, time.perf_counter() - started, resident_bytes() - before)


async def serve(packages: Path, uids: range) -> None:
    try:
        sandbox = replace(await open_sandbox(packages, Limits()), slots=UidSlots(uids=uids))
    except SandboxUnavailable as error:
        tell({"unavailable": error.message})
        return
    tell({"uid": os.getuid(), "has_groups": sandbox.groups is not None})
    while line := await asyncio.to_thread(sys.stdin.readline):
        many = await asyncio.gather(*(run(sandbox, request) for request in json.loads(line)))
        tell({"answers": many})


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3]))))
