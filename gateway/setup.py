"""``python -m gateway.setup``: once before a deployment starts. Brings the schema up to date and makes the local key the UI uses; may be repeated.

On one machine ``tandem up`` does the same by itself.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Final

from tandem.cli.keyring import ensure_local_key
from tandem.errors import StorageUnavailable, TandemError
from tandem.ids import IdFactory
from tandem.ports import Clock, Storage
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.telemetry.clock import SystemClock
from tandem.telemetry.logging import configure_logging, get_logger

WAIT_S: Final = 60.0
"""A database that starts at the same time gets this long."""
_log = get_logger(__name__)


async def set_up(settings: Settings, storage: Storage, clock: Clock) -> bool:
    """Migrate and make sure of the local key; returns whether a key was made. Raises ``StorageUnavailable`` after ``WAIT_S``."""
    ids = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)
    until = clock.monotonic() + WAIT_S
    while True:
        try:
            await storage.migrate()
            return await ensure_local_key(storage.keys, settings, ids) is not None
        except StorageUnavailable as error:
            if clock.monotonic() >= until:
                raise
            _log.warning("storage_away", error=error.message)
            await clock.sleep(1.0)


async def run(settings: Settings) -> None:
    """The whole life of the process."""
    storage = open_storage(settings)
    try:
        made_key = await set_up(settings, storage, SystemClock())
    finally:
        await storage.close()
    _log.info("set_up", made_local_key=made_key)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 2 and one clear line when whoever runs Tandem must act."""
    argparse.ArgumentParser(prog="python -m gateway.setup", description="Migrates the database and makes the local API key.").parse_args(argv)
    try:
        settings = Settings.load()
        configure_logging(settings.log, process="setup")
        asyncio.run(run(settings))
    except TandemError as error:
        sys.stderr.write(f"setup: {error.message}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
