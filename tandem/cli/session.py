"""What commands need to reach the platform: settings, the client with this machine's key, the database."""

import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from tandem.client import TandemClient
from tandem.errors import SettingsInvalid
from tandem.ids import IdFactory
from tandem.ports import Storage
from tandem.secrets import load_local_key
from tandem.settings import Settings
from tandem.storage import open_storage


def ids() -> IdFactory:
    """A factory on the machine's clock."""
    return IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)


@contextmanager
def open_client(settings: Settings) -> Generator[TandemClient]:
    """The client of the configured gateway.

    Raises:
        SettingsInvalid: There is no key to open it with.
    """
    key = load_local_key(settings)
    if key is None:
        raise SettingsInvalid(f"no API key in {str(settings.home)!r}: start `tandem up` once, or set TANDEM_API_KEY")
    with TandemClient(settings.gateway_url, key) as client:
        yield client


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncGenerator[Storage]:
    """The database, brought to this version's schema."""
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    storage = open_storage(settings)
    try:
        await storage.migrate()
        yield storage
    finally:
        await storage.close()
