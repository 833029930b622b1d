"""One of many processes that claim whatever job is next until none is left, and print the ids. Says when it is
ready, begins at the first line of its input, and gives the jobs back at the second."""

import asyncio
import os
import sys

from tandem.ports import Claim
from tandem.settings import Settings
from tandem.storage import open_storage

LEASE_S = 300.0
PAUSE_S = 0.02
"""After each claim: one process that is faster than all others must not have taken everything before they get a core."""


async def main() -> None:
    storage = open_storage(Settings.load())
    await storage.check()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    claims: list[Claim] = []
    while claim := await storage.work.claim(f"claimer:{os.getpid()}", LEASE_S, 4):
        claims.append(claim)
        sys.stdout.write(f"{claim.job_id}\n")
        await asyncio.sleep(PAUSE_S)
    sys.stdout.write("none\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for claim in claims:
        await storage.work.release(claim.job_id, claim.epoch)
    await storage.close()


if __name__ == "__main__":
    asyncio.run(main())
