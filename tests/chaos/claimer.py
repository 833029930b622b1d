"""One of many processes that claim whatever job is next until none is left, and print the ids. Begins at the first line of its input, and gives the
jobs back at the second."""

import asyncio
import os
import sys

from tandem.ports import Claim
from tandem.settings import Settings
from tandem.storage import open_storage

LEASE_S = 30.0


async def main() -> None:
    storage = open_storage(Settings.load())
    await storage.check()
    sys.stdin.readline()
    claims: list[Claim] = []
    while claim := await storage.work.claim(f"claimer:{os.getpid()}", LEASE_S, 4):
        claims.append(claim)
        sys.stdout.write(f"{claim.job_id}\n")
    sys.stdout.write("none\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for claim in claims:
        await storage.work.release(claim.job_id, claim.epoch)
    await storage.close()


if __name__ == "__main__":
    asyncio.run(main())
